"""No looking for garbage while numba compiles.

Most of what the compiler makes is there to stay until it is done, and Python would look through all of it again and
again: a twelfth of the time. Other threads of the process make garbage meanwhile, for some seconds at most.

Leans on: numba.core.event and its event "numba:compile". Where they are gone, the collector goes on.
"""

import gc
import threading

from quantlib.numba_runtime.settings import PLAIN
from quantlib.numba_runtime.start import start

start()


class _Pause:
    """Halts the collector from the first start to the last end: functions are compiled within others."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.within = 0
        self.collecting = False

    def on_start(self, event) -> None:
        with self.lock:
            if not self.within:
                self.collecting = gc.isenabled()
                gc.disable()
            self.within += 1

    def on_end(self, event) -> None:
        with self.lock:
            self.within -= 1
            if not self.within and self.collecting:
                gc.enable()


def pause_while_compiling() -> None:
    """From now on, for all that numba compiles in this process."""
    if PLAIN:
        return
    try:
        from numba.core import event
    except ImportError:
        return

    class Listener(_Pause, event.Listener):
        """numba tells listeners of its own class only."""

    event.register("numba:compile", Listener())
