"""What ggml turns activations into while it multiplies: Q8_1 and Q8_K. No file stores weights so.

A matrix product adds up code · code in whole numbers. Weights that are d · q − m want Σ of the activations beside that
sum, for m; so a block brings the sums of its codes along, which say nothing that the codes do not say.

>>> print(Q8_1.describe())
Q8_1: 32 weights in 36 bytes, 9 bpw
  byte 0: bits 0–7 of d
  byte 1: bits 8–15 of d
  byte 2: bits 0–7 of s
  byte 3: bits 8–15 of s
  bytes 4–35: q[0], …
  x̂ = d · q

>>> print(Q8_K.describe())
Q8_K: 256 weights in 292 bytes, 9.125 bpw
  byte 0: bits 0–7 of d
  byte 1: bits 8–15 of d
  byte 2: bits 16–23 of d
  byte 3: bits 24–31 of d
  bytes 4–259: q[0], …
  byte 260: bits 0–7 of s[0]
  byte 261: bits 8–15 of s[0]
  bytes 262–291: and so on
  x̂ = d · q
"""

import numpy as np

from quantlib.formats.blocks.block import BlockFormat, Choice, Formula, Kernels
from quantlib.formats.blocks.legacy import choose_q8_0, decode_q8_0, only_choice, round_away
from quantlib.formats.blocks.search import nearest_int
from quantlib.formats.layout import Field, Layout, run, word

F32 = np.float32


class ActivationFormat(BlockFormat):
    """A block format of activations: ggml makes it in memory, during a matrix product."""

    kind = "activation"


def choose_q8_1(x: np.ndarray, importance: np.ndarray | None = None) -> Choice:
    """The codes of Q8_0, and d times their sum.

    x: float32 (blocks, 32). Source: quantize_row_q8_1_ref.
    """
    codes = dict(choose_q8_0(x).codes)
    d = np.abs(x).max(axis=-1, keepdims=True) / F32(127)
    codes["s"] = (codes["q"].sum(axis=-1, keepdims=True, dtype=np.int32).astype(F32) * d).astype(np.float16)
    return only_choice(x, codes, decode_q8_0(codes), d, np.zeros_like(d))


def choose_q8_k(x: np.ndarray, importance: np.ndarray | None = None) -> Choice:
    """The value of largest magnitude becomes −127, everything else is rounded to that grid.

    1 / d = −127 / largest, q = round(x / d), s = the sum of each sixteen codes. x: float32 (blocks, 256).
    Source: quantize_row_q8_K_ref, which leaves the sums of a block of zeros as they were; here they are 0.
    """
    place = np.abs(x).argmax(axis=-1)[:, None]
    largest = np.take_along_axis(x, place, axis=-1)  # (blocks, 1)
    zeros = largest == 0
    inverse = F32(-127) / largest
    q = np.where(zeros, 0, np.minimum(nearest_int(inverse * x), 127)).astype(np.int8)
    s = q.reshape(len(x), 16, 16).sum(axis=-1, dtype=np.int16)
    codes = {"d": np.where(zeros, F32(0), F32(1) / inverse), "q": q, "s": s}
    return only_choice(x, codes, decode_q8_0(codes), codes["d"], np.zeros_like(codes["d"]))


def _load_q8_1() -> Kernels:
    from quantlib.formats.kernels import activations

    return Kernels(activations.encode_q8_1, None, activations.decode_q8_1)


def _load_q8_k() -> Kernels:
    from quantlib.formats.kernels import activations

    return Kernels(activations.encode_q8_k, None, activations.decode_q8_k)


Q8_1 = ActivationFormat(
    name="Q8_1",
    ggml_type=9,
    summary="Activations in a product with Q4_1 or Q5_1: blocks of 32 signed bytes, their scale and their sum.",
    layout=Layout(
        32,
        (
            Field("d", word(0, 1, 2), "scale", "The block's scale, a half-precision float.", "f2"),
            Field("s", word(2, 1, 2), "sum", "The sum of the decoded values, for the other side's minimum.", "f2"),
            Field("q", run(4, 32, 8), "code", "One signed byte for each value.", "i1"),
        ),
    ),
    formula=Formula("{d}", "", "{d} · {q}"),
    choose=choose_q8_1,
    decode=decode_q8_0,
    load_kernels=_load_q8_1,
    reference=(choose_q8_1, choose_q8_0, round_away, only_choice),
    uses_importance=False,
)
Q8_K = ActivationFormat(
    name="Q8_K",
    ggml_type=15,
    summary="Activations in a product with k-quants and i-quants: 256 signed bytes, one scale, a sum of each sixteen.",
    layout=Layout(
        256,
        (
            Field("d", word(0, 1, 4), "scale", "The block's scale, in single precision.", "f4"),
            Field("q", run(4, 256, 8), "code", "One signed byte for each value.", "i1"),
            Field("s", word(260, 16, 2), "sum", "The sum of sixteen codes, for the other side's sub-minima.", "i2"),
        ),
    ),
    formula=Formula("{d}", "", "{d} · {q}"),
    choose=choose_q8_k,
    decode=decode_q8_0,
    load_kernels=_load_q8_k,
    reference=(choose_q8_k, nearest_int, only_choice),
    uses_importance=False,
)
