"""What of a run is on disk already: a partial file and a journal beside the output, so that a killed run goes on.

The journal is a line of JSON that says which run it is of, then one for each tensor whose bytes are in the partial
file. The two belong to one process at a time; a run that fails by itself removes both.
"""

import errno
import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from quantlib.checkpoints.gguf_writer import Layout
from quantlib.destinations import open_own
from quantlib.errors import JobError
from quantlib.jobs import pieces
from quantlib.jobs.planning import Plan
from quantlib.metrics import Loss

try:
    import fcntl
except ImportError:  # no locks of this kind on Windows: two runs to one file are then not told apart
    fcntl = None  # type: ignore[assignment]  # a module's place, empty

LONGEST = 200  # bytes of a file name that are kept in the names beside it


@dataclass(frozen=True)
class Written:
    """A tensor whose bytes are in the file: the CRC of each piece, and the loss."""

    crcs: tuple[int, ...]
    loss: Loss


def fingerprint(plan: Plan, layout: Layout) -> str:
    """A digest of all that decides the bytes of the output: what is read, what is made of it, how it is laid out."""
    digest = hashlib.sha256(layout.header)
    digest.update(f"{pieces.stamp(plan.checkpoint)} {pieces.CHUNK_WEIGHTS}".encode())
    for planned in plan.tensors:
        digest.update(f"{planned.name} {planned.source} {planned.target} {planned.effort};".encode())
        if planned.importance is not None:
            digest.update(planned.importance.tobytes())
    return digest.hexdigest()


def beside(out: Path, ending: str) -> Path:
    """A hidden name beside the output."""
    encoded = out.name.encode("utf-8", "surrogateescape")
    name = out.name if len(encoded) <= LONGEST else hashlib.sha256(encoded).hexdigest()
    return out.with_name(f".{name}.{ending}")


class Journal:
    """The journal of one output, held by this process until remove(). file: the partial one, open and empty where no
    killed run has left one.
    """

    def __init__(self, out: Path):
        """Takes the journal beside an output. Raises JobError while another run holds it, or where it is no run's."""
        self.partial, self._path = beside(out, "partial"), beside(out, "journal")
        self._descriptor = self._taken(out)
        try:
            self.file = os.fdopen(open_own(self.partial), "r+b")
        except BaseException:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            raise

    def _taken(self, out: Path) -> int:
        while True:
            descriptor = open_own(self._path, 0o600)
            try:
                _lock(descriptor)
            except BlockingIOError:
                os.close(descriptor)
                raise JobError(
                    f"Another run is writing {out} at this moment; wait for it or choose another name."
                ) from None
            with suppress(FileNotFoundError):
                if os.path.samestat(os.stat(self._path), os.fstat(descriptor)):
                    return descriptor
            os.close(descriptor)  # its last holder removed it between the two steps

    def read(self, run: str) -> list[Written]:
        """What an earlier, killed run of the same fingerprint noted; nothing where it was another run."""
        size = os.fstat(self._descriptor).st_size
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        lines = os.read(self._descriptor, size).split(b"\n")[:-1]  # a line without its end was cut by the kill
        found = []
        with suppress(ValueError, TypeError, KeyError):
            if lines and json.loads(lines[0]) == {"run": run}:
                for line in lines[1:]:
                    entry = json.loads(line)
                    found.append(Written(tuple(entry["crcs"]), Loss(**entry["loss"])))
        return found

    def start(self, run: str, done: list[Written]) -> None:
        """Begin anew for a run, with the tensors that are taken over."""
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self._append({"run": run})
        for written in done:
            self.add(written)

    def add(self, written: Written) -> None:
        """Note that the next tensor's bytes are in the partial file."""
        self._append({"crcs": written.crcs, "loss": asdict(written.loss)})

    def _append(self, entry: dict[str, object]) -> None:
        line = json.dumps(entry).encode() + b"\n"
        if os.write(self._descriptor, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def remove(self) -> None:
        """Leave nothing beside the output."""
        with suppress(OSError):  # what it still holds may find no room
            self.file.close()
        for path in (self.partial, self._path):
            with suppress(OSError):
                path.unlink()
        self.close()

    def close(self) -> None:
        """Let go, for another run to go on from here."""
        with suppress(OSError):
            os.close(self._descriptor)


def _lock(descriptor: int) -> None:
    """Lock or raise BlockingIOError; a file system without locks is taken as it is."""
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return
