"""Codebooks in use: the levels of five formats, and what each format loses on a tensor, everything included."""

from dataclasses import dataclass

import numpy as np

from quantlib.formats import FORMATS, Format
from quantlib.formats.blocks.search import VALUES
from quantlib.formats.integers import IntegerFormat
from quantlib.metrics import compare

EVEN = IntegerFormat(4, symmetric=True, restricted=False, group=32)


@dataclass(frozen=True, eq=False)
class Ruler:
    """The values a format can store, as shares of the largest magnitude of a block: float32 (entries,), rising."""

    name: str
    entries: np.ndarray
    scale: str
    format: Format


@dataclass(frozen=True)
class Lost:
    """A ruler's format, what it costs, how its scales are found and its relative error."""

    name: str
    bpw: float
    scale: str
    relative: float


def rulers() -> list[Ruler]:
    """Five ways to place sixteen levels."""
    e2m1 = np.unique(FORMATS["FP4_E2M1"].numbers())
    places = {
        "INT4": (np.arange(-8, 8, dtype=np.float32) / 8, "FP16 for 32 weights, from the largest"),
        "NF4": (np.sort(FORMATS["NF4"].entries), "FP32 for 64 weights, from the largest"),
        "IQ4_NL": (np.asarray(VALUES, np.float32) / 127, "FP16 for 32 weights, searched"),
        "MXFP4": (e2m1 / 6, "a power of two for 32 weights"),
        "NVFP4": (e2m1 / 6, "FP8 for 16 weights"),
    }
    return [
        Ruler(name, np.unique(entries.astype(np.float32)), scale, EVEN if name == "INT4" else FORMATS[name])
        for name, (entries, scale) in places.items()
    ]


def lost(x: np.ndarray) -> list[Lost]:
    """What each ruler loses on x (rows, n), the whole way into its format and back, the least first."""
    found = [
        Lost(r.name, r.format.bpw, r.scale, compare(x, r.format.dequantize(r.format.quantize(x))).relative)
        for r in rulers()
    ]
    return sorted(found, key=lambda one: one.relative)
