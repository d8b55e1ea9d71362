"""Sending a file's bytes to the disk beside the work that makes them, so that its end need not wait for all of them."""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

EVERY = 64 << 20  # bytes between two flushes


class Flushing:
    """Flushes an open file to its disk in a thread of its own, from wrote() to wrote() and at finish().

    A context: leaving it waits for the flush that is under way, so that the file may be closed.
    """

    def __init__(self, file: BinaryIO):
        self._file, self._waiting = file, 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="quantlib-flush")
        self._flush: Future[None] | None = None

    def wrote(self, nbytes: int) -> None:
        """So many bytes more are in the file. Raises OSError where an earlier flush failed."""
        self._waiting += nbytes
        if self._waiting >= EVERY and (self._flush is None or self._flush.done()):
            self._begin()

    def finish(self) -> Future[None]:
        """A last flush, of all that is in the file by now; its result raises OSError where one failed."""
        self._file.flush()
        return self._begin()

    def _begin(self) -> Future[None]:
        before, self._waiting = self._flush, 0
        self._flush = self._thread.submit(_flush, self._file.fileno(), before)
        return self._flush

    def __enter__(self) -> "Flushing":
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()


def _flush(descriptor: int, before: Future[None] | None) -> None:
    if before is not None:
        before.result()  # the system tells of a failed write once: it must not be lost
    os.fsync(descriptor)
