"""Kills a run again and again: python killing.py SOURCE OUT TIMES SEED, prints what it saw as JSON.

Each run is a fork of a process that has its kernels loaded, and dies by SIGKILL at a random moment. After each death
the output must be absent or complete.
"""

import hashlib
import json
import os
import random
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import quantlib as ql
from quantlib import formats
from quantlib.jobs import pieces

pieces.CHUNK_WEIGHTS = 16_384  # many pieces, so that there are many moments


def once(plan: ql.Plan, out: Path, report: int | None = None) -> None:
    with ThreadPoolExecutor(2) as pool:
        result = ql.run(plan, out, executor=pool)
    if report is not None:
        os.write(report, bytes([min(255, result.resumed)]))


def child(plan: ql.Plan, out: Path, report: int) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            once(plan, out, report)
        finally:
            os._exit(0)
    return pid


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main(source: str, out: Path, times: int, seed: int) -> dict:
    moments = random.Random(seed)
    plan = ql.plan(ql.open_checkpoint(source), "Q4_K_M")
    formats.warm_up({t.target for t in plan.tensors})
    undisturbed = out.with_suffix(".whole")
    pid = child(plan, undisturbed, 1 << 20)  # compiles and loads what is left, in a process of its own
    os.waitpid(pid, 0)
    started = time.monotonic()
    pid = child(plan, undisturbed, 1 << 20)
    os.waitpid(pid, 0)
    takes, expected = time.monotonic() - started, sha(undisturbed)
    finished = killed = 0
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    for _ in range(times):
        pid = child(plan, out, writer)
        time.sleep(moments.uniform(0, takes))
        os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        killed += os.WIFSIGNALED(status)
        if out.exists():
            assert sha(out) == expected
            finished += 1
            out.unlink()
    pid = child(plan, out, writer)
    os.waitpid(pid, 0)
    assert sha(out) == expected
    return {
        "killed": killed,
        "finished": finished,
        "resumed": list(os.read(reader, 1000)),
        "left": sorted(p.name for p in out.parent.iterdir() if p != undisturbed),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
