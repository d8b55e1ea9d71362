"""The quantizers that do the work: numba kernels, each equal bit for bit to a readable reference in `blocks`.

The searches are serial within a group of weights and independent across groups, so kernels work on eight groups at
once, one in each lane of a vector (`lanes`). Nothing here reorders or fuses float32 operations. Only calling a kernel
compiles it.
"""
