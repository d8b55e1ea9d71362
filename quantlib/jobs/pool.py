"""The one pool of threads that kernels run on; they release the interpreter lock."""

import os
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import cache


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
