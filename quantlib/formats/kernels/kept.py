"""Compiled functions that stay on disk and come back from there in half of numba's usual time."""

from collections.abc import Callable

from numba import njit
from numba.core.caching import FunctionCache
from numba.core.runtime import rtsys


class _Quick(FunctionCache):
    """numba's cache, without its readiness to compile.

    Before numba loads a function it registers how each of its own is compiled; for the first in a process that takes
    0.2 s. Machine code needs only the memory routines of numba's runtime, and the compiler registers the rest itself.
    """

    def load_overload(self, sig, target_context):
        rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


def kept(**options) -> Callable:
    """The decorator njit(nogil=True, cache=True, **options)."""

    def decorate(function: Callable) -> Callable:
        compiled = njit(nogil=True, cache=True, **options)(function)
        if hasattr(FunctionCache, "_load_overload"):  # a numba that has no such step keeps its own cache
            compiled._cache = _Quick(function)
        return compiled

    return decorate
