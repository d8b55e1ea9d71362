"""A file on the hub that reads like a mapped one: its start is held, other ranges are fetched, or all of it at once."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from threading import Lock

import numpy as np

from quantlib.checkpoints.base import MappedFile, fault
from quantlib.checkpoints.hub import Repository

HELD = 32 * 2**20  # bytes of fetched ranges that are kept for a second look


class HubFile:
    """The file of that name in a repository. Headers are parsed in the bytes from its start on that are known."""

    def __init__(self, repository: Repository, name: str):
        self.repository, self.name = repository, name
        self.path = Path(name)
        self.size = repository.sizes[name]
        self.stamp = (self.size, 0)
        self._start: bytes | None = b""
        self._local: MappedFile | None = None
        self._held: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
        self._lock = Lock()

    @property
    def known(self) -> int:
        return len(self._open())

    @property
    def buffer(self) -> bytes:
        """The start of the file."""
        return self._open()

    def _open(self) -> bytes:
        if self._start is None:
            raise fault(self.path, "has been closed: open the checkpoint again to read from it.")
        return self._start

    def unmap(self) -> None:
        """Nothing is mapped here: the start that is held goes with the file."""

    def know(self, count: int) -> None:
        """Fetches the first `count` bytes, or all there are."""
        count = min(count, self.size)
        if count > self.known:
            self._start = self._open() + bytes(self.repository.read(self.name, self.known, count))

    def bytes(self, start: int, stop: int) -> np.ndarray:
        """A read-only view of the bytes start..stop of the part that is held: uint8 (stop - start,)."""
        return np.frombuffer(self._open(), np.uint8)[start:stop]

    def read(self, start: int, stop: int) -> np.ndarray:
        """The bytes start..stop, uint8 (stop - start,), read-only; fetched unless they are here."""
        if self._local is not None:
            return self._local.read(start, stop)
        if stop <= self.known:
            return self.bytes(start, stop)
        with self._lock:
            if (start, stop) in self._held:
                self._held.move_to_end((start, stop))
                return self._held[start, stop]
        data = np.frombuffer(self.repository.read(self.name, start, stop), np.uint8)
        data.flags.writeable = False
        with self._lock:
            self._held[start, stop] = data
            while sum(part.nbytes for part in self._held.values()) > HELD:
                self._held.popitem(last=False)
        return data

    def download(self) -> None:
        """Fetches the whole file into the cache, and reads it there from now on."""
        if self._local is None:
            self._local = MappedFile(self.repository.download(self.name))
            self.path, self.stamp = self._local.path, self._local.stamp
            if self._local.size != self.size:
                raise fault(self.path, f"came with {self._local.size:,} bytes, not the {self.size:,} listed.")
            self._held.clear()

    def changed(self) -> bool:
        """A commit's files never change; a cached copy may."""
        return self._local is not None and self._local.changed()

    def forget(self) -> None:
        """Lets go of fetched ranges."""
        with self._lock:
            self._held.clear()

    def close(self) -> None:
        self._start = None
        self._held.clear()
        if self._local is not None:
            self._local.close()
