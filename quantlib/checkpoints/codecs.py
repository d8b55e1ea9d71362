"""Which decoder a file's spelling of a dtype means: the catalogue of formats first, then plain machine types."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import ml_dtypes
import numpy as np

from quantlib import formats

Decoder = Callable[[np.ndarray], np.ndarray]

# Machine types that are no weight formats of the catalogue, by the spellings of safetensors and ggml.
PLAIN = {
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("u1"),
    "F8_E4M3FNUZ": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "F8_E5M2FNUZ": np.dtype(ml_dtypes.float8_e5m2fnuz),
}

# safetensors' spelling -> the catalogue's format with the same bits, packed in the same order.
FLOATS = {
    **{name: name for name in ("F32", "F16", "BF16")},
    **{f"F{code}": f"FP{code}" for code in ("8_E4M3", "8_E5M2", "8_E8M0", "6_E2M3", "6_E3M2")},
    "F4": "FP4_E2M1",
}


def _plain(dtype: np.dtype) -> Decoder:
    def decode(data: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinity, as a cast does
            return np.ascontiguousarray(data).view(dtype).astype(np.float32)  # (rows, n)

    return decode


@cache  # of a few dozen spellings that the readers know; asked for every tensor
def codec(spelling: str, ggml_type: int | None = None) -> tuple[str, Decoder | None]:
    """The catalogue's name and decoder of a stored type, or its own spelling and None where nothing decodes it."""
    if ggml_type is not None:
        found = formats.by_ggml_type(ggml_type)
    else:
        found = formats.get(FLOATS[spelling]) if spelling in FLOATS else None
    if found is not None:
        return found.name, found.dequantize
    if spelling in PLAIN:
        return spelling, _plain(PLAIN[spelling])
    return spelling, None
