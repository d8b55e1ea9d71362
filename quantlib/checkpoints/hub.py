"""Checkpoints on the Hugging Face hub: headers, metadata and chosen rows by range requests, whole files on demand.

What a repository lists and sends is untrusted like any file. The huggingface_hub package finds addresses, keeps tokens
and the cache; it is imported when the first hf:// address is opened.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from quantlib.checkpoints.base import shown
from quantlib.errors import CheckpointError, QuantlibError

PREFIX = "hf://"
_NAME = r"[A-Za-z0-9][\w.-]{0,95}"
_PART = r"[\w][\w.-]*"  # of a revision: a branch such as refs/pr/1, a tag, a commit
_FILE = r"[\w@+ -][\w./@+ -]{0,255}\.(?:gguf|safetensors)"
_ADDRESS = re.compile(rf"hf://({_NAME}/{_NAME})(?:@({_PART}(?:/{_PART}){{0,4}}?))?(?:/({_FILE}))?/?", re.ASCII)
MOST_TEXT = 640  # characters of an address
PATIENCE = 20.0  # seconds that a busy server is waited for, in all
TRIES = 4
TIMEOUT = 20.0
SMALL = 64 * 2**20  # bytes; larger files are never fetched in passing

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Address:
    """hf://owner/name, with a revision (branch, tag or commit) and one file of it where they are given."""

    repository: str
    revision: str | None = None
    file: str | None = None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Raises CheckpointError for what is no such address."""
        found = _ADDRESS.fullmatch(text) if len(text) <= MOST_TEXT else None
        if not found or ".." in text or "//" in text.removeprefix(PREFIX) or len(found[2] or "") > 128:
            raise CheckpointError(
                f"{shown(text)} is no address on the hub; write hf://owner/name, hf://owner/name@revision, "
                "or hf://owner/name/file.gguf (or .safetensors)."
            )
        return cls(*found.groups())

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return PREFIX + self.repository + revision + (f"/{self.file}" if self.file else "")


@dataclass(frozen=True)
class Terms:
    """On which terms the hub is asked.

    public: without the token of whoever runs this process, so that only public names open. cache: where whole files are
    kept; huggingface_hub's own folder where it is None. room(nbytes): called before a whole file is fetched; raises
    where there is none for it.
    """

    public: bool = False
    cache: Path | None = None
    room: Callable[[int], None] = lambda nbytes: None


class Repository:
    """One commit of a repository: which files it has and how large they are, as the hub lists them."""

    def __init__(self, address: Address, terms: Terms = Terms()):
        """Asks the hub once. Raises CheckpointError where it does not answer, or has no such repository."""
        import huggingface_hub

        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it retries aloud; errors are told in a sentence
        self.address, self._hub, self._terms = address, huggingface_hub, terms
        self._token = False if terms.public else None  # None: the one that this process has, if any
        self._endpoint = os.environ.get("HF_ENDPOINT") or None
        api = huggingface_hub.HfApi(endpoint=self._endpoint, token=self._token, library_name="quantlib")
        info = self._asked(
            lambda: api.model_info(address.repository, revision=address.revision, files_metadata=True, timeout=TIMEOUT)
        )
        if not isinstance(info.sha, str):
            raise CheckpointError(f"The hub names no commit of {address}, so it cannot be read consistently.")
        self.commit: str = info.sha
        self.sizes: Mapping[str, int] = {
            file.rfilename: file.size
            for file in info.siblings or ()
            if isinstance(file.rfilename, str) and type(file.size) is int and file.size >= 0
        }

    def download(self, name: str) -> Path:
        """The path of a whole file in the local cache, fetched where it is not there yet."""
        cache = self._terms.cache or os.environ.get("HF_HUB_CACHE") or None
        self._terms.room(self.sizes[name])
        return Path(
            self._asked(
                lambda: self._hub.hf_hub_download(
                    self.address.repository,
                    name,
                    revision=self.commit,
                    endpoint=self._endpoint,
                    cache_dir=cache,
                    token=self._token,
                )
            )
        )

    def read(self, name: str, start: int, stop: int) -> bytearray:
        """The bytes start..stop of a file, by a range request; from a server without ranges, what comes before is read
        and dropped."""
        return self._asked(lambda: self._range(name, start, stop))

    @cached_property
    def _headers(self) -> dict[str, str]:
        from huggingface_hub import utils

        return utils.build_hf_headers(token=self._token, library_name="quantlib")

    def _range(self, name: str, start: int, stop: int) -> bytearray:
        from huggingface_hub.utils import get_session, hf_raise_for_status

        url = self._hub.hf_hub_url(self.address.repository, name, revision=self.commit, endpoint=self._endpoint)
        headers = self._headers | {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
        with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT, follow_redirects=True) as response:
            hf_raise_for_status(response)
            at = start if response.status_code == 206 else 0
            total = (
                response.headers.get("Content-Range", "").rpartition("/")[2]
                if at or response.status_code == 206
                else ""
            )
            if total.isdigit() and int(total) != self.sizes[name]:
                raise CheckpointError(
                    f"{self._file(name)} has {int(total):,} bytes, not the {self.sizes[name]:,} listed."
                )
            out = bytearray()
            for chunk in response.iter_bytes():
                out += chunk[max(0, start - at) : max(0, stop - at)]
                at += len(chunk)
                if at >= stop:
                    break
        if len(out) != stop - start:
            raise CheckpointError(f"{self._file(name)} came only up to byte {at:,} of the {stop:,} asked for.")
        return out

    def _file(self, name: str) -> str:
        return f"{shown(name)} of {self.address}"

    def _asked(self, request: Callable[[], Answer]) -> Answer:
        """The answer; a busy or failing server is asked again for a while, and every refusal becomes a sentence."""
        waited = 0.0
        for attempt in range(TRIES):
            try:
                return request()
            except QuantlibError:
                raise
            except Exception as error:  # of several packages below: what they mean is told here
                pause = _pause(error, attempt)
                if pause is None or waited + pause > PATIENCE or attempt == TRIES - 1:
                    raise CheckpointError(self._sentence(error)) from None
                waited += pause
                time.sleep(pause)
        raise AssertionError("unreachable")

    def _way(self, step: str) -> str:
        """What the reader can do; a guest of a server, which opens public names only, has no token to give it."""
        if self._terms.public:
            return "Here only what everybody may read is opened; download it, and bring the file."
        return f"{step}, and log in with `hf auth login` or set HF_TOKEN."

    def _sentence(self, error: Exception) -> str:
        from huggingface_hub import errors

        status, where = _status(error), self.address
        if isinstance(error, errors.GatedRepoError) or status == 403:
            return f"{where} is gated. {self._way('Accept its terms on its page')}"
        if isinstance(error, errors.RevisionNotFoundError):
            return f"{where} has no revision {shown(where.revision)}."
        if isinstance(error, errors.RepositoryNotFoundError) or status == 401:
            return f"{where} is not on the hub, or is private. {self._way('Check the name')}"
        if status == 404:
            return f"{where} lacks a file that it lists."
        if status == 429:
            after = _retry_after(error)
            return (
                f"The hub is asked too often and wants a pause{f' of {after:.0f} s' if after else ''} before {where}."
            )
        if status:
            return f"The hub answers with error {status} for {where}; try again later."
        if isinstance(error, OSError) and error.errno:
            return f"{where} cannot be kept in the cache: {(error.strerror or str(error)).lower()}."
        return (
            f"{where} cannot be reached: {shown(str(error).splitlines()[0] if str(error) else type(error).__name__)}."
        )


def _status(error: Exception) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _retry_after(error: Exception) -> float | None:
    said = getattr(getattr(error, "response", None), "headers", {}).get("Retry-After", "")
    return float(said) if said.isdigit() else None


def _pause(error: Exception, attempt: int) -> float | None:
    """Seconds to wait before the next try; None where another try is of no use."""
    status = _status(error)
    if status == 429:
        after = _retry_after(error)
        return 2.0**attempt if after is None else after
    if status is not None:
        return 0.5 * 2**attempt if status >= 500 else None
    network = type(error).__module__.split(".")[0] in ("httpx", "httpx2", "httpcore", "httpcore2", "requests")
    return 0.5 * 2**attempt if network else None
