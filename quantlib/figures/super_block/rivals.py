"""The same 256 weights in three formats of about four bits."""

from dataclasses import dataclass

import numpy as np

from quantlib.formats import FORMATS
from quantlib.metrics import compare

RIVALS = ("Q4_0", "Q4_1", "Q4_K")


@dataclass(frozen=True)
class Rival:
    """A format's way with 256 weights. step: the mean distance between two neighbouring levels, over the weights."""

    name: str
    bpw: float
    nbytes: int
    step: float
    relative: float


def rivals(block: np.ndarray, names: tuple[str, ...] = RIVALS) -> list[Rival]:
    """Store 256 weights in each format and measure what is lost."""
    found = []
    for form in (FORMATS[name] for name in names):
        data = form.quantize(block)
        codes = form.unpack(data.reshape(-1, form.nbytes))
        low, high = (form.decode({**codes, "q": np.full_like(codes["q"], q)}).reshape(-1) for q in (0, 1))
        step = float(np.abs(high - low).mean(dtype=np.float64))
        found.append(
            Rival(form.name, form.bpw, data.size, step, compare(block, form.dequantize(data).reshape(-1)).relative)
        )
    return found


def best(found: list[Rival]) -> str:
    """The name of the one that loses least."""
    return min(found, key=lambda rival: rival.relative).name
