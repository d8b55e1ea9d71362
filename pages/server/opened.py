"""Checkpoints that people opened: uploads, paths the operator allows, names of the hub, results of jobs.

A token stands for each; it is in the address, so a reload finds the checkpoint again and a link shares it.
"""

import os
import re
import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import quantlib as ql
from pages.server import files, uploads, viewing
from pages.server.announced import folder_of
from pages.server.descriptors import budget
from pages.server.limits import LIMITS
from pages.server.visits import VISITS
from quantlib import tables
from quantlib.checkpoints.hub import Terms
from quantlib.checkpoints.hub_opening import open_hub
from quantlib.destinations import portable
from quantlib.errors import CheckpointError, JobError

if TYPE_CHECKING:  # what is offered needs the catalogue of models, which few pages do
    from pages.server.offered import Offered

HUB = "hf://"
HUB_PAGE = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/", re.IGNORECASE)
HUB_PART = re.compile(
    r"([^/]+/[^/]+)/(?:tree|blob|resolve)/([^/]+)(?:/(.+\.(?:gguf|safetensors)))?(?:/.*)?"
)  # of a page: its revision, a file
MOST_LISTED = 300
DEEPEST = 4
MOST_TENSORS = 2**19  # of everyone together, half of them of one visit: each takes most of a kilobyte


@dataclass(frozen=True, eq=False)
class Opened:
    """An opened checkpoint. name: what people call it. source: how a command names it. identity: the key of caches."""

    token: str
    checkpoint: ql.Checkpoint
    name: str
    source: str
    identity: str
    origin: str
    folder: Path | None = None
    plans: dict = field(default_factory=dict, repr=False)  # made by `model.plan_of`; they go when this goes

    @property
    def stem(self) -> str:
        """What a file made from it is called, before the recipe."""
        plain = "".join(c if c.isalnum() or c in "._-" else "-" for c in Path(self.source).name)
        return portable(plain.removesuffix(".gguf").removesuffix(".safetensors").strip(".-"))


class Shelf:
    """All opened checkpoints of this server, by token."""

    def __init__(self):
        self._opened: dict[str, Opened] = {}
        self._lock = threading.Lock()

    def get(self, token: str | None) -> Opened | None:
        return self._opened.get(token or "")

    def holder(self, checkpoint: ql.Checkpoint) -> Opened | None:
        """What was opened as this checkpoint."""
        return next((o for o in list(self._opened.values()) if o.checkpoint is checkpoint), None)

    def upload(self, visit: str, token: str) -> Opened:
        """Open what came complete under an upload's token. Raises CheckpointError; the files are gone then."""
        if sum(o.origin == "upload" for o in self.of(visit)) >= LIMITS.uploads_per_session:
            raise CheckpointError(
                f"You hold {LIMITS.uploads_per_session} uploads already; close one of them before you bring another."
            )
        path, announced, folder = uploads.registry().take(token)
        try:
            checkpoint = ql.open_checkpoint(path)
        except BaseException:
            files.remove(folder)
            raise
        weights = [f.name for f in announced if f.weights]
        name = weights[0] if len(weights) == 1 else f"{weights[0]} and {len(weights) - 1} more"
        brought = folder_of(announced)
        if brought and not weights[0].lower().endswith(".gguf"):
            return self._put(visit, checkpoint, brought, brought, "upload", folder)
        return self._put(visit, checkpoint, name, path.name, "upload", folder)

    def path(self, visit: str, path: str) -> Opened:
        """Open a path under one of the allowed directories. Raises CheckpointError for every other."""
        allowed = allowed_path(path)
        return self._put(visit, ql.open_checkpoint(allowed), allowed.name, str(allowed), "directory")

    def own(self, visit: str, source: str) -> Opened:
        """Open any path of this machine, or a name of the hub, for the person who started the server by `view`.

        Raises CheckpointError, also for everybody else.
        """
        if not viewing.at_home(visit):
            raise CheckpointError("Paths are opened only for the person who started this app by `quantlib view`.")
        if source.startswith(HUB):
            return self.hub(visit, source)
        checkpoint = ql.open_checkpoint(Path(source).expanduser())
        path = Path(checkpoint.source).resolve()
        return self._put(visit, checkpoint, path.name or str(path), str(path), "directory")

    def hub(self, visit: str, name: str) -> Opened:
        """Open a name of the hub, owner/name; only headers are read. Raises CheckpointError."""
        if not LIMITS.hub:
            raise CheckpointError("This server does not open checkpoints of the hub.")
        source, folder = hub_address(name), files.new_folder()  # what is fetched goes when the visit goes
        try:
            checkpoint = open_hub(source, Terms(not LIMITS.hub_token, folder, files.check_room))
        except BaseException:
            files.remove(folder)
            raise
        return self._put(visit, checkpoint, source.removeprefix(HUB), source, "hub", folder)

    def named(self, visit: str, wanted: "Offered") -> Opened:
        """Open a model that the server offers by name. Raises CheckpointError."""
        if wanted.path is None:
            return self.hub(visit, wanted.hub)
        return self._put(visit, ql.open_checkpoint(wanted.path), wanted.name, wanted.path.name, "directory")

    def result(self, visit: str, token: str, path: Path, name: str) -> Opened:
        """Open the file that a job made; it shares the job's token, and lasts as long."""
        found = self.get(token)
        if found is None:
            found = self._put(visit, ql.open_checkpoint(path), name, name, "result", token=token)
        return found

    def attach(self, visit: str, token: str | None) -> Opened | None:
        """What a token in the address stands for. A reload by its owner's browser holds it on; a guest only sees it."""
        found = self.get(token)
        if found is not None:
            VISITS.take_over(_key(found.token), visit)
        return found

    def close(self, visit: str, token: str) -> None:
        """Its owner closes it, for all who see it. What a job made goes with the job."""
        if VISITS.holds(_key(token), visit):
            VISITS.end(_key(token))

    def of(self, visit: str) -> list[Opened]:
        """What a visit holds, in the order of opening."""
        return [o for o in list(self._opened.values()) if VISITS.holds(_key(o.token), visit)]

    def _put(self, visit, checkpoint, name, source, origin, folder=None, token=None) -> Opened:
        try:
            self._check_share(visit, checkpoint)
        except JobError:
            checkpoint.close()
            files.remove(folder)
            raise
        token = token or secrets.token_urlsafe(18)
        made = Opened(token, checkpoint, name, source, identity(checkpoint), origin, folder)
        with self._lock:
            self._opened[token] = made
        VISITS.keep(_key(token), lambda: self._release(token), visit)
        return made

    def _check_share(self, visit: str, checkpoint: ql.Checkpoint) -> None:
        """Raise JobError where an address, or everyone together, would hold too many files or tensors."""
        neighbours = {o for v in VISITS.of_same_address(visit) for o in self.of(v)}
        for what, most, count in (
            ("files", budget().files, lambda o: len(o.files)),
            ("tensors", MOST_TENSORS, lambda o: len(o.tensors)),
        ):
            new = count(checkpoint)
            own = sum(count(o.checkpoint) for o in neighbours) + new
            everyone = sum(count(o.checkpoint) for o in list(self._opened.values())) + new
            if own > most // 2 or everyone > most:
                raise JobError(
                    f"This checkpoint has {new:,} {what}, and with it you would have {own:,} open; this server opens "
                    f"{most // 2:,} for one visit or network address and {most:,} in all. Close another one first."
                )

    def _release(self, token: str) -> None:
        """Forget a checkpoint and delete its files. Jobs that still read it keep its mapping until they end."""
        with self._lock:
            found = self._opened.pop(token, None)
        if found is not None:
            files.remove(found.folder)


def hub_address(text: str) -> str:
    """hf://owner/name of what a visitor wrote: a name, an address, or the address of a model's or file's page."""
    text = text.strip()
    if page := HUB_PAGE.match(text):
        where = re.split("[?#]", text[page.end() :])[0].rstrip("/")
        parts = HUB_PART.fullmatch(where)
        return HUB + (f"{parts[1]}@{parts[2]}/{parts[3] or ''}".strip("/") if parts else where)
    return HUB + text.removeprefix(HUB).rstrip("/")


def _key(token: str) -> str:
    return f"opened/{token}"


@cache
def shelf() -> Shelf:
    """The one shelf of this server."""
    return Shelf()


def identity(checkpoint: ql.Checkpoint) -> str:
    """A text that changes with what is read: the files with their sizes and times, or the source as it was named."""
    parts = [checkpoint.origin or str(checkpoint.source)]
    for file in checkpoint.files:
        try:
            found = os.stat(file.path)
            parts.append(f"{file.path.name}:{found.st_size}:{found.st_mtime_ns}:{found.st_ino}")
        except (OSError, AttributeError):
            parts.append(f"{file.size}")
    return "|".join(parts)


def check_fetchable(checkpoint: ql.Checkpoint) -> None:
    """Raise JobError where reading all weights would fetch more from the hub than people may upload."""
    if checkpoint.origin and checkpoint.nbytes > LIMITS.upload_bytes:
        raise JobError(
            f"Reading all of this model would fetch {tables.size(checkpoint.nbytes)} from the hub, and this server "
            f"takes at most {tables.size(LIMITS.upload_bytes)}; its headers can be looked at, and tensors one by one."
        )


def allowed_path(path: str, directories: Iterable[Path] | None = None) -> Path:
    """The path with its symbolic links resolved, if it and what is read beside it lie under an allowed directory.

    Raises CheckpointError, in the same words for what is not there and what is not allowed: nobody learns from it
    what lies elsewhere.
    """
    directories = LIMITS.directories if directories is None else directories
    roots = [d.resolve() for d in directories]
    refusal = CheckpointError("There is no checkpoint of that path under the directories that this server opens.")
    try:
        found = Path(path)
        candidates = [found] if found.is_absolute() else [root / found for root in roots]
        resolved = [c.resolve(strict=True) for c in candidates if _under(c, roots)]
        if not resolved:
            raise refusal
        folder = resolved[0] if resolved[0].is_dir() else resolved[0].parent
        model = (folder / "config.json").exists()  # of a model folder, files in inner folders are read, too
        if not all(_under(link, roots) for link in _links(folder, DEEPEST if model else 0)):
            raise CheckpointError("This folder holds links that lead out of the allowed directories; it is not opened.")
    except (OSError, ValueError, RuntimeError):
        raise refusal from None
    return resolved[0]


def _links(folder: Path, depth: int) -> Iterable[Path]:
    """The symbolic links in a folder and, so many folders deep, in those below it."""
    for here, below, names in os.walk(folder):
        yield from (Path(here) / name for name in (*below, *names) if os.path.islink(os.path.join(here, name)))
        if len(Path(here).relative_to(folder).parts) >= depth:
            below.clear()


def _under(path: Path, roots: Iterable[Path]) -> bool:
    try:
        resolved = path.resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        return False
    return any(resolved.is_relative_to(root) for root in roots)


def listed(directories: Iterable[Path] | None = None) -> list[str]:
    """Checkpoints under the allowed directories, as paths below them: folders with a config.json, and single files."""
    found: list[str] = []
    for root in LIMITS.directories if directories is None else directories:
        for folder, below, names in os.walk(root):
            here = Path(folder)
            if len(here.relative_to(root).parts) >= DEEPEST:
                below.clear()
            below[:] = sorted(d for d in below if not d.startswith("."))
            if "config.json" in names and any(n.endswith(".safetensors") for n in names):
                found.append(str(here))
            parts = [n for n in sorted(names) if n.endswith(".gguf") and _first_part(n)]
            found += [str(here / n) for n in parts]
            if "config.json" not in names:
                found += [str(here / n) for n in sorted(names) if n.endswith(".safetensors")]
            if len(found) >= MOST_LISTED:
                return found[:MOST_LISTED]
    return found


def _first_part(name: str) -> bool:
    return "-of-" not in name or "-00001-of-" in name
