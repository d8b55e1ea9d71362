"""All that touches numba: its import, its cache on disk, its compiler, and vectors as a type of its own.

numba is imported by the modules of this package and by no other, each of which calls `start` first: so the folder of
compiled code is known before the first kernel is declared, and threads that come at once wait for one another.

Two modules lean on parts of numba that its documentation does not promise: `quick_loading` and `linked_functions`.
Each says what it saves and what takes its place where a numba lacks the part. QUANTLIB_NUMBA=plain in the environment
turns both off. `docs/upgrading.md` says what to run before another numba is allowed.
"""
