"""Compiled functions that stay on disk and come back from there in half of numba's usual time.

Before numba loads a function from its cache it registers how each of its own is compiled, which takes 0.2 s for the
first one in a process: a fifth of a short command. Machine code needs none of that, only the memory routines of
numba's runtime, and the compiler registers the rest by itself when something is compiled.

Leans on: FunctionCache._load_overload and _guard_against_spurious_io_errors, rtsys.initialize, Dispatcher._cache. Where
one of them is gone, numba's own cache loads the function.
"""

import contextlib
from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any

from quantlib.numba_runtime.settings import PLAIN
from quantlib.numba_runtime.start import start

start()

from numba import njit  # noqa: E402
from numba.core.caching import FunctionCache  # noqa: E402
from numba.core.runtime.nrt import rtsys  # noqa: E402

LEANS_ON = (
    (FunctionCache, "_load_overload"),
    (FunctionCache, "_guard_against_spurious_io_errors"),
    (rtsys, "initialize"),
)


class _QuickCache(FunctionCache):
    """numba's cache, without its readiness to compile; what it cannot use is compiled again, never an error.

    Two processes that save different signatures of one function at once may give both files one name, and a machine
    that lost its power leaves half a file. So code is taken only if it can be read and is for the types asked for; and
    where a disk is full, compiled code is used without being kept.
    """

    def load_overload(self, sig, target_context):
        rtsys.initialize(target_context)
        try:
            with self._guard_against_spurious_io_errors():
                loaded = self._load_overload(sig, target_context)
        except Exception:  # whatever half a pickle may raise
            return None
        return loaded if loaded is not None and tuple(loaded.signature.args) == tuple(sig) else None

    def save_overload(self, sig, data):
        with contextlib.suppress(OSError, EOFError, UnpicklingError):  # saving reads the index first
            super().save_overload(sig, data)


def possible() -> bool:
    """Whether this numba has what quick loading leans on."""
    return not PLAIN and all(hasattr(owner, name) for owner, name in LEANS_ON)


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """The decorator njit(nogil=True, cache=True, **options), whose functions load quickly where that is possible."""

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = njit(nogil=True, cache=True, **options)(function)
        if possible() and hasattr(dispatcher, "_cache"):
            dispatcher._cache = _QuickCache(function)
        return dispatcher

    return decorate
