"""The compiled loops of the methods, each equal bit for bit to a readable reference."""

import numpy as np

from quantlib.formats.kernels.scalar import kernel


@kernel
def round_block(w, upper, steps, scale, zero, minimum, lowest, highest, codes, errors):
    """GPTQ within a block of columns; see `quantlib.methods.gptq.round_block`.

    Rows do not touch each other, so each is taken through all its columns while it is in the cache.
    """
    rows, columns = w.shape
    work = np.empty(columns, np.float32)
    for row in range(rows):
        work[:] = w[row]
        for i in range(columns):
            s, z, m = scale[row, steps[i]], zero[row, steps[i]], minimum[row, steps[i]]
            rounded = np.rint((work[i] + m) / s) if s != np.float32(0) else np.float32(0)
            code = min(max(rounded + np.float32(z), np.float32(lowest)), np.float32(highest))
            value = s * np.float32(code - np.float32(z)) - m
            error = (work[i] - value) / upper[i, i]
            codes[row, i] = np.int16(code)
            errors[row, i] = error
            for j in range(i + 1, columns):
                work[j] -= error * upper[i, j]
