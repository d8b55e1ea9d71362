"""The file layout of GPTQ checkpoints, first version: what AutoGPTQ, GPTQModel, transformers and vLLM read.

    x̂[o, i] = scales[g_idx[i], o] · (code[o, i] − zero[g_idx[i], o])

`qweight` int32 (inputs · bits / 32, outputs): codes packed along the inputs. `qzeros` int32 (groups,
outputs · bits / 32): each zero point less one, packed along the outputs. `scales` FP16 (groups, outputs). `g_idx` int32
(inputs,).
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from quantlib.errors import MethodError
from quantlib.exports.stored import Stored
from quantlib.exports.words import WORD, words

BITS = (2, 3, 4, 8)  # that loaders have kernels for


def gptq(codes: np.ndarray, scales: np.ndarray, zeros: np.ndarray, g_idx: np.ndarray, bits: int) -> Stored:
    """The four tensors of a layer.

    codes (outputs, inputs) and zeros (outputs, groups): without a sign, 0 … 2^bits − 1. scales: (outputs, groups), are
    rounded to FP16. Raises MethodError where the codes of a row or column do not fill whole words.
    """
    outputs, inputs = codes.shape
    for what, count in (("inputs", inputs), ("outputs", outputs)):
        if count * bits % WORD:
            raise MethodError(
                f"The GPTQ layout packs {bits}-bit codes into words of {WORD} bits, and {count:,} {what} do not fill "
                f"them; leave this layer out or choose another scheme."
            )
    less_one = (zeros.T.astype(np.int64) - 1) & ((1 << bits) - 1)  # (groups, outputs); loaders add the one back
    halves = scales.astype(np.float16)
    tensors = {
        "qweight": np.ascontiguousarray(words(codes, bits).T),
        "qzeros": words(less_one, bits),
        "scales": np.ascontiguousarray(halves.T),
        "g_idx": np.ascontiguousarray(g_idx, np.int32),
    }
    steps = codes.astype(np.float32) - zeros[:, g_idx].astype(np.float32)
    return Stored(tensors, steps * halves[:, g_idx].astype(np.float32))


def gptq_config(bits: int, group: int | None, symmetric: bool, act_order: bool, damping: float) -> Mapping[str, object]:
    """The `quantization_config` that goes with it."""
    return {
        "quant_method": "gptq",
        "bits": bits,
        "group_size": -1 if group is None else group,
        "desc_act": act_order,
        "sym": symmetric,
        "damp_percent": damping,
        "true_sequential": True,
        "lm_head": False,
        "checkpoint_format": "gptq",
    }


def leaving(settings: Mapping[str, object], quantized: Sequence[str], left: Sequence[str]) -> Mapping[str, object]:
    """The `quantization_config` of a folder in which some modules stay as they are: for loaders that ask which are
    quantized, and for those that ask which are not.
    """
    not_these: dict[str, object] = {f"-:^{re.escape(module)}$": {} for module in left}
    return {**settings, "modules_in_block_to_quantize": [list(quantized)], "dynamic": not_these}
