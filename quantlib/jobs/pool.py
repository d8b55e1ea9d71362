"""The one pool of threads that kernels run on; they release the interpreter lock."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import cache
from typing import TypeVar

Result = TypeVar("Result")


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def shared_pool() -> ThreadPoolExecutor:
    """A pool with a thread for each core, shared by all runs of this process."""
    return ThreadPoolExecutor(available_cores(), thread_name_prefix="quantlib")


def workers_of(executor: Executor) -> int:
    """How many chunks an executor works on at once."""
    return getattr(executor, "_max_workers", available_cores())


def in_order(executor: Executor, work: Callable[..., Result], calls: Iterable[tuple]) -> Iterator[Result]:
    """work(*call) of each call, in order, with no more of them under way than keep the workers busy."""
    waiting: deque[Future] = deque()
    limit = workers_of(executor) + 1
    try:
        for call in calls:
            waiting.append(executor.submit(work, *call))
            if len(waiting) >= limit:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
