"""Windows of a text side by side on the shared pool, with a BLAS that stays in its caller's thread.

Half of a forward pass is not matrix products, so threads inside the products leave cores idle; and when several
sessions compute at once, a BLAS's own threads wait for one another in busy loops.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from quantlib.jobs.pool import shared_pool, workers_of

T, R = TypeVar("T"), TypeVar("R")


class _SingleThreaded:
    """Limits BLAS to one thread while anybody is inside: the first one in sets the limit, the last one out lifts it."""

    def __init__(self) -> None:
        self._lock, self._inside, self._limit = threading.Lock(), 0, None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                from threadpoolctl import ThreadpoolController  # importing it sets a variable of the environment

                self._limit = ThreadpoolController().limit(limits=1, user_api="blas")
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self._limit.restore_original_limits()


single_threaded_blas = _SingleThreaded()


def side_by_side(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """function(item) for each, in order; no more results wait in memory than the pool has workers."""
    pool, waiting = shared_pool(), deque()
    with single_threaded_blas():
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > workers_of(pool):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
