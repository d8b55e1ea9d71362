"""How much memory the server finds, and how it treats memory that it has not filled."""

import os
from pathlib import Path

CGROUP = (  # a container's limit, by the second and by the first version of control groups
    Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)  # fmt: skip

ARROW_POOL = "ARROW_DEFAULT_MEMORY_POOL"  # read by pyarrow, which Streamlit imports for the first table


def reserve_nothing() -> None:
    """Let tables take memory as they need it; call it before pyarrow is imported.

    pyarrow's own allocator claims a gigabyte of addresses with the first table. None of it is used, but where the
    process has a limit (`ulimit -d`), it counts: of 4 GB, a quarter was gone, and the server died under load. Who named
    an allocator keeps it.
    """
    os.environ.setdefault(ARROW_POOL, "system")


def found() -> int:
    """Bytes of memory that this process may use: the machine's, or its container's limit where that is lower."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")] if hasattr(os, "sysconf") else []
    for path in CGROUP:
        try:
            limits.append(int(path.read_text()))
        except (OSError, ValueError):  # there is none, or it says "max"
            continue
    return min(limits, default=4 * 10**9)
