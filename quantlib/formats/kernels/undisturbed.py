"""No looking for garbage while numba compiles.

Most of what the compiler makes is there to stay until it is done, and Python would look through all of it again and
again: a twelfth of the time.
"""

import gc

from numba.core import event


class _Undisturbed(event.Listener):
    """Halts the collector from the first start to the last end; functions are compiled within others."""

    def __init__(self) -> None:
        self.within = 0
        self.collecting = False

    def on_start(self, event) -> None:
        if not self.within:
            self.collecting = gc.isenabled()
            gc.disable()
        self.within += 1

    def on_end(self, event) -> None:
        self.within -= 1
        if not self.within and self.collecting:
            gc.enable()


def compile_undisturbed() -> None:
    """From now on, for all that numba compiles in this process; it compiles one function at a time."""
    event.register("numba:compile", _Undisturbed())
