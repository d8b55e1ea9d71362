"""python -m quantlib"""

import contextlib
import gc
import os
import sys

gc.set_threshold(100_000)  # what starting makes is there to stay: looking through it for garbage takes a tenth of it

from quantlib.cli import main  # noqa: E402

status = main()
for stream in (sys.stdout, sys.stderr):
    with contextlib.suppress(OSError, ValueError):  # closed, or nobody reads any more: `main` has said so
        stream.flush()
os._exit(status)  # the compiler takes half a second to tear itself down, and the system frees its memory anyway
