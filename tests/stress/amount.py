"""How much the stress tests do: a little with every test run, all of it with QUANTLIB_STRESS=full."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Amount:
    """warm, cold: starts of the command line with and without compiled kernels on disk; servers: fresh ones."""

    warm: int
    cold: int
    servers: int


FULL = os.environ.get("QUANTLIB_STRESS") == "full"
AMOUNT = Amount(200, 10, 20) if FULL else Amount(12, 4, 1)
AT_ONCE = 4


@contextmanager
def busy_processor() -> Iterator[None]:
    """Two processes that only use the processor, as long as the block lasts: threads then change at other places."""
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()
