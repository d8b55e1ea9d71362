"""How a process of the command line treats its memory."""

import ctypes
import sys

KEEP = 128 << 20  # bytes that stay with the process when they are free
MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # glibc's M_MMAP_THRESHOLD and M_TRIM_THRESHOLD
LARGEST = 32 << 20  # bytes of an array that is taken from what was freed, glibc's own limit


def keep_freed_memory() -> None:
    """Let arrays of a few MB reuse the pages of those before them.

    glibc gives such arrays back to the system at once, and the system clears every page of the next ones: a third of
    the processor time of a run that copies more than it computes. Other C libraries stay as they are.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if set_option:
        set_option(MMAP_THRESHOLD, LARGEST)
        set_option(TRIM_THRESHOLD, KEEP)
