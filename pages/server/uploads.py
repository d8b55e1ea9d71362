"""Uploads in slices: a browser announces its files, then sends them piece by piece to our own route.

Nothing is held in memory but a small part of the piece on its way, and everything is refused before it is written: a
name that is no part of a checkpoint, a size above the limit, a full disk, an offset that is not where the file ends.
Room is taken by what has come, not by what was announced, and what stops coming is forgotten.
"""

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from pages.server import files
from pages.server.announced import Announced, of_checkpoint
from pages.server.gate import Places
from pages.server.limits import LIMITS
from pages.server.visits import VISITS
from quantlib import tables
from quantlib.errors import CheckpointError, JobError

SLICE_BYTES = 16 << 20
MOST_SLICES = 64  # on their way at once; one address gets at most half of them
FORGET_SECONDS = 900  # after which an upload that nothing more came of is deleted


@dataclass(frozen=True)
class Kind:
    """What an upload is for: how large it may be in all, and what its files may be called."""

    name: str
    most_bytes: int
    one_file: bool = False

    def announced(self, said: Sequence[tuple[str, int]]) -> tuple[Announced, ...]:
        """The files as they will be stored. Raises CheckpointError for names and sizes that are not taken."""
        if self.one_file:
            if len(said) != 1:
                raise CheckpointError("Bring one file here.")
            found = (Announced(*said[0], self.name),)
        else:
            found = of_checkpoint(said)
        total = sum(f.size for f in found)
        if total > self.most_bytes:
            raise CheckpointError(
                f"These files have {tables.size(total)}; at most {tables.size(self.most_bytes)} are taken here."
            )
        return found


KINDS = {
    kind.name: kind
    for kind in (
        Kind("checkpoint", LIMITS.upload_bytes),
        Kind("imatrix", min(LIMITS.upload_bytes, 10**9), one_file=True),
        Kind("text", min(LIMITS.upload_bytes, 4 * 10**6), one_file=True),
        Kind("picture", min(LIMITS.upload_bytes, 20 * 10**6), one_file=True),
    )
}


@dataclass
class Incoming:
    """An upload on its way. written: bytes so far, by the file's number; slice: the one that may add to them."""

    kind: Kind
    visit: str
    files: tuple[Announced, ...] = ()
    folder: Path | None = None
    written: list[int] = field(default_factory=list)
    busy: threading.Lock = field(default_factory=threading.Lock)
    slice: "Slice | None" = None
    moved: float = field(default_factory=time.monotonic)

    @property
    def missing(self) -> int:
        """Bytes that were announced and have not come yet."""
        return sum(f.size for f in self.files) - sum(self.written)

    @property
    def complete(self) -> bool:
        return self.folder is not None and not self.missing

    @property
    def path(self) -> Path:
        """What to open: the one file that may hold weights or begins with them, or the folder of several."""
        weights = [f for f in self.files if self.kind.one_file or (f.weights and not f.continues)]
        first = Path(weights[0].stored)
        return self.folder / (first if len(weights) == 1 else first.parts[0])


class Misplaced(Exception):
    """A slice that does not start where the file ends; `offset` is where it does."""

    def __init__(self, offset: int):
        super().__init__(offset)
        self.offset = offset


class Slice:
    """A piece of one file while it comes. `stop` ends the request that brings it, once another takes its place."""

    def __init__(self, incoming: Incoming, number: int, stop: Callable[[], None]):
        self.incoming, self.number, self.stop, self.left = incoming, number, stop, SLICE_BYTES

    @property
    def end(self) -> int:
        """Where the file ends so far."""
        return self.incoming.written[self.number] if self.number < len(self.incoming.written) else 0

    def close(self) -> None:
        """No more of it comes."""
        with self.incoming.busy:
            if self.incoming.slice is self:
                self.incoming.slice = None

    def write(self, data: bytes) -> None:
        """Add what has come. Raises CheckpointError for more than was announced, JobError on a full disk."""
        with self.incoming.busy:
            if self.incoming.slice is not self:
                raise CheckpointError("This slice was sent again meanwhile.")
            file, at = self.incoming.files[self.number], self.end
            self.left -= len(data)
            if at + len(data) > file.size or self.left < 0:
                raise CheckpointError(f"{file.name!r} turned out larger than announced; choose the files again.")
            try:
                with open(self.incoming.folder / file.stored, "r+b") as target:
                    target.seek(at)
                    target.write(data)
            except OSError as error:
                raise JobError("The server could not store this file: its disk is full or failing.") from error
            self.incoming.written[self.number] = at + len(data)
            self.incoming.moved = time.monotonic()


class Uploads:
    """All uploads on their way, by token: the only key to one."""

    def __init__(self):
        self._incoming: dict[str, Incoming] = {}
        self._lock = threading.Lock()
        self.places = Places(MOST_SLICES)
        self._senders: dict[Path, str] = {}  # from which address the files of a folder came

    def expect(self, kind: str, visit: str) -> str:
        """A token under which this visit may bring something."""
        token = secrets.token_urlsafe(18)
        with self._lock:
            self._incoming[token] = Incoming(KINDS[kind], visit)
        VISITS.keep(token, lambda: self._abandon(token), visit)
        return token

    def get(self, token: str | None) -> Incoming | None:
        return self._incoming.get(token or "")

    def complete(self, token: str) -> bool:
        """Whether all that was announced under this token has come."""
        incoming = self.get(token)
        return incoming is not None and incoming.complete

    def announce(self, token: str, said: Sequence[tuple[str, int]], address: str = "") -> Incoming:
        """The files that will come; an announcement under the same token takes the place of the one before.

        Raises CheckpointError for names and sizes that are not taken, JobError where there is no room.
        """
        incoming = self._known(token)
        announced = incoming.kind.announced(said)
        with self._lock, incoming.busy:
            self._known(token)  # its visit may have ended since; then nobody would delete a folder made now
            _empty(incoming)
            self._check_room(sum(f.size for f in announced), address)
            try:
                incoming.folder = files.new_folder()
                for file in announced:
                    path = incoming.folder / file.stored
                    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                    path.touch(0o600, exist_ok=False)
            except OSError as error:
                _empty(incoming)
                raise JobError("The server could not keep these files: its disk is full or failing.") from error
            incoming.files, incoming.written = announced, [0] * len(announced)
            self._senders[incoming.folder] = address
        return incoming

    def begin(self, token: str, number: int, offset: int, stop: Callable[[], None] = lambda: None) -> Slice:
        """A slice of file `number`, which takes the place of one that is still on its way under this token.

        Raises CheckpointError for what was not announced, JobError on a full disk, Misplaced for another offset.
        """
        incoming = self._known(token)
        with incoming.busy:
            if not 0 <= number < len(incoming.files):
                raise CheckpointError("This file was not announced; choose the files again.")
            if offset != incoming.written[number]:
                raise Misplaced(incoming.written[number])
            before, incoming.slice = incoming.slice, Slice(incoming, number, stop)
            coming = min(SLICE_BYTES, incoming.files[number].size - offset)
            address, begun = self._senders.get(incoming.folder, ""), incoming.slice
        if before is not None:
            before.stop()
        with self._lock:
            self._check_room(coming, address)
        return begun

    def _check_room(self, needed: int, address: str) -> None:
        """Raise JobError unless `needed` more bytes fit on the disk, and in what one address may take of it."""
        files.check_room(needed)
        self._senders = {folder: sender for folder, sender in self._senders.items() if folder.exists()}
        own = sum(files.size_of(folder) for folder, sender in self._senders.items() if sender == address)
        if own + needed > max(LIMITS.disk_bytes // 2, LIMITS.upload_bytes):
            raise JobError("Your network address holds its share of this server's room already; close an upload first.")

    def expire(self, seconds: float) -> None:
        """Delete what has come of uploads that nothing more came of for so long."""
        now = time.monotonic()
        for incoming in list(self._incoming.values()):
            with incoming.busy:
                if incoming.folder is not None and not incoming.complete and now - incoming.moved > seconds:
                    _empty(incoming)

    def take(self, token: str) -> tuple[Path, tuple[Announced, ...], Path]:
        """What came complete under this token: what to open, its files, and the folder, the caller's from now on.

        Raises CheckpointError where something is missing.
        """
        incoming = self._known(token)
        if not incoming.complete:
            raise CheckpointError("The upload is not complete; choose the files again.")
        path, announced, folder = incoming.path, incoming.files, incoming.folder
        incoming.folder = None
        VISITS.drop(token, incoming.visit)
        return path, announced, folder

    def _known(self, token: str) -> Incoming:
        incoming = self.get(token)
        if incoming is None:
            raise CheckpointError("This upload is not known (any more); reload the page and choose the files again.")
        return incoming

    def _abandon(self, token: str) -> None:
        with self._lock:
            incoming = self._incoming.pop(token, None)
        if incoming is not None:
            files.remove(incoming.folder)


def _empty(incoming: Incoming) -> None:
    files.remove(incoming.folder)
    incoming.folder, incoming.files, incoming.written, incoming.slice = None, (), [], None
    incoming.moved = time.monotonic()


@cache
def registry() -> Uploads:
    """The one registry of this server."""
    return Uploads()
