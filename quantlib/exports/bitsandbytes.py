"""The file layout of bitsandbytes checkpoints, as transformers writes it: NF4 and FP4 blockwise, and LLM.int8().

Four bits: `weight` uint8 (weights / 2, 1), `weight.absmax`, `weight.quant_map`, and a JSON text as bytes in
`weight.quant_state.bitsandbytes__…`; with double quantization also `weight.nested_absmax` and
`weight.nested_quant_map`.
Eight bits: `weight` int8 (outputs, inputs), `SCB` float32 (outputs,), the largest magnitude of each row, and
`weight_format`, a byte that is 0 for rows as they are. x̂ = weight · SCB / 127.
"""

import json
from collections.abc import Mapping, Sequence

import numpy as np

from quantlib.exports.stored import Stored
from quantlib.formats.codebooks import DYNAMIC8, NESTED_BLOCK, Blockwise, NestedScales
from quantlib.methods.llm_int8 import Int8Weight

KINDS = {"NF4": "nf4", "FP4_BNB": "fp4"}  # our names of the tables, and theirs


def four_bits(stored: Blockwise, dtype: str) -> Stored:
    """The tensors of a weight. dtype: of the weight before, as torch spells it ("bfloat16")."""
    scales = stored.scales
    state: dict[str, object] = {
        "quant_type": KINDS[stored.format.name],
        "blocksize": stored.format.block,
        "dtype": dtype,
        "shape": list(stored.shape),
    }
    tensors = {
        "weight": stored.packed.reshape(-1, 1),
        "weight.absmax": scales.codes if isinstance(scales, NestedScales) else scales,
        "weight.quant_map": stored.format.entries,
    }
    if isinstance(scales, NestedScales):
        state |= {"nested_blocksize": NESTED_BLOCK, "nested_dtype": "float32"}
        state |= {"nested_offset": float(scales.offset)}
        tensors |= {"weight.nested_absmax": scales.absmax, "weight.nested_quant_map": DYNAMIC8.entries}
    text = np.frombuffer(json.dumps(state).encode(), np.uint8)
    tensors[f"weight.quant_state.bitsandbytes__{KINDS[stored.format.name]}"] = text
    return Stored(tensors, stored.decode())


def four_bit_config(kind: str, double: bool, compute: str) -> Mapping[str, object]:
    """The `quantization_config` of a four-bit model; compute: the dtype that weights are multiplied in."""
    return _config(four=True) | {
        "bnb_4bit_quant_type": kind,
        "bnb_4bit_use_double_quant": double,
        "bnb_4bit_compute_dtype": compute,
        "bnb_4bit_quant_storage": "uint8",
    }


def eight_bits(weight: Int8Weight) -> Stored:
    """The tensors of a weight of LLM.int8()."""
    tensors = {"weight": weight.codes, "SCB": weight.largest, "weight_format": np.array(0, np.uint8)}
    return Stored(tensors, weight.decode())


def eight_bit_config(threshold: float) -> Mapping[str, object]:
    """The `quantization_config` of a LLM.int8() model; activations of this size and above are kept out."""
    return _config(four=False) | {"llm_int8_threshold": threshold}


def leaving(settings: Mapping[str, object], quantized: Sequence[str], left: Sequence[str]) -> Mapping[str, object]:
    """The `quantization_config` of a folder in which some modules stay as they are."""
    return {**settings, "llm_int8_skip_modules": ["lm_head", *left]}


def _config(four: bool) -> dict[str, object]:
    return {
        "quant_method": "bitsandbytes",
        "load_in_4bit": four,
        "load_in_8bit": not four,
        "llm_int8_skip_modules": ["lm_head"],
        "llm_int8_enable_fp32_cpu_offload": False,
        "llm_int8_has_fp16_weight": False,
        "llm_int8_threshold": 6.0,
    }
