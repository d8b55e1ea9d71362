"""The numbers of GGUF: value types of the metadata, and names and block sizes of the ggml types of tensors."""

from __future__ import annotations

import gguf
import numpy as np

# Metadata value types by id. Source: enum gguf_type in ggml's gguf.h.
VALUE_TYPES = {
    0: "uint8",
    1: "int8",
    2: "uint16",
    3: "int16",
    4: "uint32",
    5: "int32",
    6: "float32",
    7: "bool",
    8: "string",
    9: "array",
    10: "uint64",
    11: "int64",
    12: "float64",
}
VALUE_IDS = {name: number for number, name in VALUE_TYPES.items()}
STRING, ARRAY = VALUE_IDS["string"], VALUE_IDS["array"]

# How the fixed-size ones lie in the file; a bool is a byte.
NUMBER_DTYPES = {
    number: np.dtype("u1" if name == "bool" else name).newbyteorder("<")
    for number, name in VALUE_TYPES.items()
    if number not in (STRING, ARRAY)
}

# ggml type id -> (name, weights of a block, bytes of a block).
GGML_TYPES: dict[int, tuple[str, int, int]] = {
    **{int(kind): (kind.name, *sizes) for kind, sizes in gguf.GGML_QUANT_SIZES.items()},
    42: ("Q2_0", 64, 18),  # newer than the constants of some gguf releases; block_q2_0 in ggml-common.h
}

# Format name as the catalogue or ggml spells it -> ggml type id.
GGML_IDS = {name: number for number, (name, _, _) in GGML_TYPES.items()} | {"FP32": 0, "FP16": 1}

DEFAULT_ALIGNMENT = 32
MAX_NAME = 63  # bytes of a tensor's name that ggml can hold
MAX_DIMS = 4
