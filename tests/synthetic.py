"""Checkpoints that can be made again anywhere: values follow from the tensor's name by integer arithmetic."""

import json
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import ml_dtypes
import numpy as np

DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16, "F8_E4M3": ml_dtypes.float8_e4m3fn}


def values(name: str, shape: Iterable[int]) -> np.ndarray:
    """About normal with standard deviation 0.018, one value in a thousand eight times as large: float32.

    Value i is made of the splitmix64 hash of (crc32(name) << 32) + i: its four 16-bit parts added up.
    """
    shape = tuple(shape)
    count = int(np.prod(shape))
    with np.errstate(over="ignore"):
        z = np.arange(count, dtype=np.uint64) + np.uint64((zlib.crc32(name.encode()) << 32) + 1)
        z *= np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
        z ^= z >> np.uint64(31)
    parts = sum((z >> np.uint64(shift) & np.uint64(0xFFFF)).astype(np.int64) for shift in (0, 16, 32, 48))
    x = (parts - 131070) / 2.0**21
    return np.where(z % np.uint64(1021) == 0, 8 * x, x).astype(np.float32).reshape(shape)


def save(path: Path, tensors: Iterable[tuple[str, str, Iterable[int]]], prefix: str = "") -> None:
    """Write a safetensors file of (name, dtype, shape), in this order; values follow from names without the prefix."""
    header, blobs, at = {}, [], 0
    for name, dtype, shape in tensors:
        blob = values(name.removeprefix(prefix), shape).astype(DTYPES[dtype]).tobytes()
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + len(blob)]}
        at += len(blob)
        blobs.append(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))
