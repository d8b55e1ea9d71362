"""numba's first import, in whichever thread it comes."""

import threading
from pathlib import Path

from quantlib.numba_runtime.cache_folder import cache_folder

_LOCK = threading.Lock()


def start() -> Path:
    """Import numba and tell it where compiled code is kept; the first time only, others wait for it.

    Python lets a thread import a module of a package that another thread has not finished importing. So the order is
    not left to imports: without the lock, one thread could use numba while another had imported half of it. Call this
    before work is handed to threads, for then none of them waits for the import. Returns the folder of compiled code.
    """
    with _LOCK:
        import numba

        folder = cache_folder(numba.__version__)
        numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]  # numba makes its settings as it starts
        return folder
