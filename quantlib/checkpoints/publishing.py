"""Uploading finished files to the Hugging Face hub, with a token from the environment that is kept nowhere.

The token is read when an upload is prepared, is sent to the hub and to nobody else, and is in no message.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quantlib.checkpoints.base import shown
from quantlib.errors import JobError

NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")  # variables, the first that is set counts
CARD = "README.md"


@dataclass(frozen=True)
class Target:
    """A repository of the hub that may be written to. Made by `prepared`."""

    repository: str
    url: str
    files: frozenset[str]
    _api: Any = field(repr=False, compare=False)

    def send(self, files: Mapping[str, Path | bytes], message: str) -> str:
        """Upload files under these names in one commit; returns the repository's address.

        A model card that is there already stays: its owner wrote it. Raises JobError where the hub refuses or is away.
        """
        from huggingface_hub import CommitOperationAdd

        chosen = {name: content for name, content in files.items() if not (name == CARD and CARD in self.files)}
        additions = [
            CommitOperationAdd(
                path_in_repo=name, path_or_fileobj=content if isinstance(content, bytes) else str(content)
            )
            for name, content in chosen.items()
        ]
        _asked(
            lambda: self._api.create_commit(self.repository, operations=additions, commit_message=message),
            self.repository,
        )
        return self.url


def prepared(repository: str, private: bool = False) -> Target:
    """A repository to upload to, made where there is none: asked for before the work, so that it is not done in vain.

    Raises JobError where the name is none, no token is in the environment, or the hub refuses it.
    """
    if not NAME.fullmatch(repository) or ".." in repository or "--" in repository:
        raise JobError(f"{shown(repository)} is no name of a repository; write owner/name.")
    token = next((value for name in TOKENS if (value := os.environ.get(name, "").strip())), "")
    if not token:
        raise JobError(f"Uploading to {repository} needs a token with write access in the variable {TOKENS[0]}.")
    import huggingface_hub

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # errors are told in a sentence
    api = huggingface_hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=token, library_name="quantlib")
    url = _asked(lambda: api.create_repo(repository, private=private or None, exist_ok=True), repository)
    info = _asked(lambda: api.model_info(repository), repository)
    return Target(repository, str(url), frozenset(file.rfilename for file in info.siblings or ()), api)


def _asked(request: Any, repository: str) -> Any:
    """The hub's answer, or what is wrong in a sentence, without the token."""
    try:
        return request()
    except Exception as error:  # of several packages below: what they mean is told here
        raise JobError(_sentence(error, repository)) from None


def _sentence(error: Exception, repository: str) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 401:
        return f"The hub does not take the token in {TOKENS[0]}; make one with write access to {repository}."
    if status == 403:
        return f"The token in {TOKENS[0]} may not write to {repository}."
    if status == 404:
        return f"The hub knows no {repository}, and it could not be made; check the owner's name."
    if status:
        return f"The hub answers with error {status} to an upload to {repository}; try again later."
    if isinstance(error, OSError) and error.errno:
        return f"A file for {repository} cannot be read: {(error.strerror or 'unknown reason').lower()}."
    return f"The hub cannot be reached for an upload to {repository}; nothing was published."
