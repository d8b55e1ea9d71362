"""The file layout of AWQ checkpoints, version "gemm": what AutoAWQ, transformers and vLLM read.

    x̂[o, i] = scales[i // group, o] · (code[o, i] − zero[i // group, o])

`qweight` int32 (inputs, outputs / 8) and `qzeros` int32 (groups, outputs / 8): eight 4-bit codes a word, in an order
that suits the kernels' loads. `scales` FP16 (groups, outputs).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from quantlib.errors import MethodError
from quantlib.exports.stored import Stored
from quantlib.exports.words import words

BITS = 4
ORDER = (0, 2, 4, 6, 1, 3, 5, 7)  # the output, of eight that follow each other, whose code is nibble 0, 1, …


def awq(codes: np.ndarray, scales: np.ndarray, zeros: np.ndarray) -> Stored:
    """The three tensors of a layer.

    codes: (outputs, inputs), 0 … 15. scales, zeros: (outputs, groups). Raises MethodError where the outputs are no
    multiple of eight.
    """
    if codes.shape[0] % len(ORDER):
        raise MethodError(
            f"The AWQ layout packs eight outputs into a word, and {codes.shape[0]:,} is no multiple of eight; leave "
            f"this layer out or choose another scheme."
        )
    halves = scales.astype(np.float16)
    tensors = {
        "qweight": words(_ordered(codes.T), BITS),
        "qzeros": words(_ordered(zeros.T), BITS),
        "scales": np.ascontiguousarray(halves.T),
    }
    group = codes.shape[1] // zeros.shape[1]
    zero, scale = (np.repeat(part.astype(np.float32), group, axis=1) for part in (zeros, halves))
    return Stored(tensors, (codes.astype(np.float32) - zero) * scale)


def _ordered(codes: np.ndarray) -> np.ndarray:
    """(n, outputs) with each eight outputs in the order of the nibbles."""
    return codes.reshape(len(codes), -1, len(ORDER))[..., ORDER].reshape(codes.shape)


def awq_config(group: int) -> Mapping[str, object]:
    """The `quantization_config` that goes with it."""
    return {"quant_method": "awq", "bits": BITS, "group_size": group, "zero_point": True, "version": "gemm"}


def leaving(settings: Mapping[str, object], quantized: Sequence[str], left: Sequence[str]) -> Mapping[str, object]:
    """The `quantization_config` of a folder in which some modules stay as they are."""
    return {**settings, "modules_to_not_convert": list(left)}
