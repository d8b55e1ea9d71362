"""The one pool of threads that kernels run on; they release the interpreter lock."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

from quantlib.errors import JobError
from quantlib.numba_runtime.start import start

Result = TypeVar("Result")
AHEAD = 3  # calls done or waiting beside those worked on: results are taken in order, and one may take twice as long


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_limit: list[int] = []  # of threads, where one is wanted


def limit_threads(count: int) -> None:
    """Let the shared pool have so many threads. Called before its first use."""
    _limit[:] = [count]


@cache
def shared_pool() -> ThreadPoolExecutor:
    """A pool with a thread for each core, or as many as are wanted, shared by all runs of this process."""
    start()  # so that no worker is the first to import compiled code
    return ThreadPoolExecutor(_limit[0] if _limit else available_cores(), thread_name_prefix="quantlib")


def workers_of(executor: Executor) -> int:
    """How many calls an executor of this machine works on at once."""
    return getattr(executor, "_max_workers", available_cores())


def window_of(executor: Executor) -> int:
    """How many calls an executor is given before the first result is taken: enough that no worker waits for one.

    Those far away get more, for their calls take time on the way.
    """
    client = getattr(executor, "_client", None)  # of a Dask cluster
    if client is not None:
        return 4 * max(1, sum(client.nthreads().values()))
    return workers_of(executor) + AHEAD


@contextmanager
def scheduler_pool(address: str) -> Iterator[Executor]:
    """The executor of a running Dask cluster, whose workers see the same files under the same paths.

    A piece whose worker dies is given to another. Raises JobError where Dask is not installed, no scheduler answers at
    the address, or one piece has cost too many workers their lives.
    """
    try:
        from distributed import Client
        from distributed.comm import CommClosedError
        from distributed.scheduler import KilledWorker
    except ImportError:
        raise JobError("A Dask scheduler needs the package distributed: pip install 'dask[distributed]'.") from None
    try:
        client = Client(address, timeout=10, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise JobError(f"No Dask scheduler answers at {address}: {str(error) or 'it timed out'}.") from None
    try:
        if not client.nthreads():
            raise JobError(f"The Dask scheduler at {address} has no workers; start some and run again.")
        yield client.get_executor(retries=3)
    except KilledWorker:
        raise JobError(f"Too many workers of {address} died on the same piece; look at their logs.") from None
    except CommClosedError:
        raise JobError(f"The Dask scheduler at {address} went away during the run; run again.") from None
    finally:
        client.close()


def in_order(executor: Executor, work: Callable[..., Result], calls: Iterable[tuple[Any, ...]]) -> Iterator[Result]:
    """work(*call) of each call, in order, with no more of them under way than keep the workers busy."""
    waiting: deque[Future[Result]] = deque()
    limit = window_of(executor)
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
