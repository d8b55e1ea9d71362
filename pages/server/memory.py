"""How the server treats memory that it has not filled."""

import os

ARROW_POOL = "ARROW_DEFAULT_MEMORY_POOL"  # read by pyarrow, which Streamlit imports for the first table


def reserve_nothing() -> None:
    """Let tables take memory as they need it; call it before pyarrow is imported.

    pyarrow's own allocator claims a gigabyte of addresses with the first table. None of it is used, but where the
    process has a limit (`ulimit -d`), it counts: of 4 GB, a quarter was gone, and the server died under load. Who named
    an allocator keeps it.
    """
    os.environ.setdefault(ARROW_POOL, "system")
