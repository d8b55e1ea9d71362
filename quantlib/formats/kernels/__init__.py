"""The quantizers that do the work: numba kernels, each equal bit for bit to a readable reference in `blocks`.

Kernels take 128 groups of weights at once, transposed, with the innermost loop over the groups: the searches are serial
within a group and independent across groups, so that is the loop a compiler can vectorize. Nothing here reorders or
fuses float32 operations. Importing this package prepares numba's cache; only calling a kernel compiles it.
"""

from quantlib.formats.kernels.cache import prepare_cache

prepare_cache()
