"""Which decoder a file's spelling of a dtype means: the catalogue of formats first, then plain machine types."""

from __future__ import annotations

from collections.abc import Callable

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
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "F8_E4M3FNUZ": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "F8_E5M2FNUZ": np.dtype(ml_dtypes.float8_e5m2fnuz),
    "F8_E8M0": np.dtype(ml_dtypes.float8_e8m0fnu),
}


def _plain(dtype: np.dtype) -> Decoder:
    def decode(data: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinity, as a cast does
            return np.ascontiguousarray(data).view(dtype).astype(np.float32)  # (rows, n)

    return decode


def codec(spelling: str, ggml_type: int | None = None) -> tuple[str, Decoder | None]:
    """The catalogue's name and decoder of a stored type, or its own spelling and None where nothing decodes it."""
    found = formats.by_ggml_type(ggml_type) if ggml_type is not None else _float(spelling)
    if found is not None:
        return found.name, found.dequantize
    if spelling in PLAIN:
        return spelling, _plain(PLAIN[spelling])
    return spelling, None


def _float(spelling: str) -> object | None:
    """The catalogue's format of a safetensors dtype: only the three whose bits mean the same in both."""
    return formats.get(spelling) if spelling in ("F32", "F16", "BF16") else None
