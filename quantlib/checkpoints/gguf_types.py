"""The numbers of GGUF: value types of the metadata, and names and block sizes of the ggml types of tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib import formats
from quantlib.architectures import diffusion

if TYPE_CHECKING:
    from quantlib.checkpoints.base import MetadataValue

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

# ggml types that the catalogue of formats lacks: plain machine types.
_BESIDE_FORMATS = {
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
}

# ggml type id -> (ggml's name, weights of a block, bytes of a block). Source: enum ggml_type, type_traits in ggml.c.
GGML_TYPES: dict[int, tuple[str, int, int]] = _BESIDE_FORMATS | {
    form.ggml_type: ({"FP32": "F32", "FP16": "F16"}.get(form.name, form.name), form.values, form.nbytes)
    for form in formats.FORMATS.values()
    if form.ggml_type is not None
}

# Format name as the catalogue or ggml spells it -> ggml type id.
GGML_IDS = {name: number for number, (name, _, _) in GGML_TYPES.items()} | {"FP32": 0, "FP16": 1}

INTEGERS = ("I8", "I16", "I32", "I64")  # no weights: copied as they are

# Types that no file of today's llama.cpp has: numbers that were taken back, and numbers of forks.
FOREIGN_TYPES = {
    4: "Q4_2, which llama.cpp removed in 2023",
    5: "Q4_3, which llama.cpp removed in 2023",
    31: "Q4_0_4_4, which llama.cpp removed in 2024",
    32: "Q4_0_4_8, which llama.cpp removed in 2024",
    33: "Q4_0_8_8, which llama.cpp removed in 2024",
    36: "I2_S of bitnet.cpp, or IQ4_NL_4_4, which llama.cpp removed",
    37: "IQ4_NL_4_8, which llama.cpp removed",
    38: "IQ4_NL_8_8, which llama.cpp removed",
}
FIRST_OF_FORKS = 97  # from here on ik_llama.cpp numbers its own


def foreign_type(kind: int) -> str:
    """What is known of a ggml type that the catalogue lacks: how `Tensor.format` names it."""
    fork = "a type of a fork such as ik_llama.cpp" if kind >= FIRST_OF_FORKS else "which is not known"
    return f"ggml type {kind} ({FOREIGN_TYPES.get(kind, fork)})"


QUANTIZATION_VERSION = 2  # of the block formats; GGML_QNT_VERSION
DEFAULT_ALIGNMENT = 32
MAX_NAME = 63  # bytes of a tensor's name that ggml can hold
MAX_CONTAINER_NAME = 1024  # in a file without an architecture
MAX_DIMS = 4
MOST_DIMS = max(MAX_DIMS, diffusion.MAX_DIMS)


@dataclass(frozen=True)
class Limits:
    """What the loader of a file can hold. exact: it takes the count of dimensions as it is, ones in front included."""

    name: int = MAX_NAME
    dims: int = MAX_DIMS
    exact: bool = False


def limits_of(metadata: Mapping[str, MetadataValue]) -> Limits:
    """llama.cpp's limits, or those of the loader of image and video models."""
    architecture = metadata.get("general.architecture")
    if architecture is None:  # no loader of models reads it: a container of tensors
        return Limits(MAX_CONTAINER_NAME, diffusion.MAX_DIMS)
    known = str(architecture.value) in diffusion.BY_NAME
    return Limits(diffusion.MAX_NAME, diffusion.MAX_DIMS, exact=True) if known else Limits()
