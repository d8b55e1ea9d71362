"""A stored matrix times activations, by the two ways that programs have.

    expand:    decode some rows to floats, multiply these, forget them:      y = x Ŵᵀ
    integers:  round the activations to Q8_0, multiply codes with codes:     y = Σ d da Σ q a   (blocks of 32)

The first costs a decoding for every row, whatever the tokens; the second costs none, and rounds the activations too.
Source of the second: ggml_vec_dot_q4_0_q8_0 and ggml_vec_dot_q8_0_q8_0.
"""

from __future__ import annotations

import numpy as np

from quantlib import formats
from quantlib.errors import MethodError
from quantlib.formats import BlockFormat
from quantlib.formats.rows import as_float32

TILE = 32  # rows that are decoded at once: a few hundred KB, which stay in the processor's cache
IN_INTEGERS = ("Q8_0", "Q4_0")
BLOCK = 32
Q8 = formats.get("Q8_0")


def expanded(data: np.ndarray, form: BlockFormat, x: np.ndarray) -> np.ndarray:
    """x Ŵᵀ by decoding: data uint8 (rows, bytes), x float32 (tokens, n) -> float32 (tokens, rows)."""
    x = as_float32(x)
    out = np.empty((len(x), len(data)), np.float32)
    for start in range(0, len(data), TILE):
        out[:, start : start + TILE] = x @ form.dequantize(data[start : start + TILE]).T
    return out


def in_integers(data: np.ndarray, form: BlockFormat, x: np.ndarray) -> np.ndarray:
    """x̂ Ŵᵀ by whole numbers, x̂ being x in Q8_0; shapes as in `expanded`.

    Raises MethodError for a format without such a kernel here, and where the widths differ.
    """
    from quantlib.formats.kernels import products

    kernels = {"Q8_0": products.multiply_q8_0, "Q4_0": products.multiply_q4_0}
    if form.name not in kernels:
        raise MethodError(f"{form.name} is not multiplied in integers here; {' and '.join(kernels)} are.")
    read = Q8.unpack(Q8.quantize(as_float32(x)).reshape(-1, Q8.nbytes))
    codes, scales = read["q"].reshape(len(x), -1), np.asarray(read["d"], np.float32).reshape(len(x), -1)
    if scales.shape[1] != data.shape[-1] // form.nbytes:
        raise MethodError(f"Rows of {data.shape[-1]} bytes in {form.name} do not fit activations of {x.shape[-1]}.")
    out = np.empty((len(x), len(data)), np.float32)
    kernels[form.name](np.ascontiguousarray(data), np.ascontiguousarray(codes, np.int8), scales, out)
    return out


def in_integers_reference(data: np.ndarray, form: BlockFormat, x: np.ndarray) -> np.ndarray:
    """As `in_integers`, to read: codes times codes block by block, each sum scaled by both scales."""
    both = form.unpack(data.reshape(-1, form.nbytes)), Q8.unpack(Q8.quantize(as_float32(x)).reshape(-1, Q8.nbytes))
    shift = 8 if form.name == "Q4_0" else 0
    q = (both[0]["q"].astype(np.int64) - shift).reshape(len(data), -1, BLOCK)  # (rows, blocks, 32)
    a = both[1]["q"].astype(np.int64).reshape(len(x), -1, BLOCK)  # (tokens, blocks, 32)
    d, da = (np.asarray(c["d"], np.float32).reshape(len(v), -1) for c, v in zip(both, (data, x), strict=True))
    sums = np.einsum("rbi,tbi->trb", q, a)
    return np.einsum("trb,rb,tb->tr", sums.astype(np.float64), d.astype(np.float64), da.astype(np.float64))
