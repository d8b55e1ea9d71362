"""GPTQ's codes in the blocks of a GGUF file: the format's own search finds scales, GPTQ chooses the codes on them.

A block format fixes what can be stored, not which of the storable values is taken. Its blocks stay what they are, and
every program that reads the format reads these.
"""

from dataclasses import dataclass

import numpy as np

from quantlib.errors import MethodError
from quantlib.formats.blocks.block import BlockFormat
from quantlib.methods.gptq import Gptq, Settings, gptq
from quantlib.methods.grids import Grid
from quantlib.methods.hessian import Gram

# Formats whose levels are evenly spaced within a block, with the code that stands for zero.
ZEROS = {"Q4_0": 8, "Q4_1": 0, "Q5_0": 16, "Q5_1": 0, "Q8_0": 0, "Q2_K": 0, "Q3_K": 4, "Q4_K": 0, "Q5_K": 0, "Q6_K": 32}


ACT_ORDER = Settings(act_order=True, static_groups=True)


@dataclass(frozen=True, eq=False)
class GptqBlocks:
    """Stored rows of a block format with GPTQ's codes. data: uint8 (outputs, bytes); found: how, with its trace."""

    format: BlockFormat
    data: np.ndarray
    found: Gptq


class BlockGrids:
    """The grids of a block format: scales and minima as its own search finds them for the weights it is given.

    importance: float32 (inputs,) or None. It remembers the fields of each block it chose, for packing.
    """

    def __init__(self, form: BlockFormat, importance: np.ndarray | None = None):
        if form.name not in ZEROS:
            raise MethodError(
                f"GPTQ's codes need evenly spaced levels, which {form.name} does not have; choose one of "
                f"{', '.join(ZEROS)}."
            )
        self.form, self.importance = form, importance
        self.zero, self.group = ZEROS[form.name], form.values
        field = form.layout.field("q")
        scales = next(f for f in form.layout.fields if f.role in ("scale", "sub-scale"))
        self.step = form.values // scales.count
        signed = field.stored.kind == "i"
        self.lowest: int = -127 if signed else 0
        self.highest: int = 127 if signed else 2**field.width - 1
        self.chosen: dict[int, dict[str, np.ndarray]] = {}

    def choose(self, columns: np.ndarray, first: int) -> Grid:
        importance = None if self.importance is None else self.importance[first : first + self.group]
        stored = self.form.quantize(np.ascontiguousarray(columns), importance)
        fields = self.chosen[first] = self.form.unpack(stored)  # {field: (outputs, count)}
        none = {f.name: fields[f.name] * 0 for f in self.form.layout.fields if f.role in ("minimum", "super-minimum")}
        scale = self._level(fields | none, self.zero + 1)
        return Grid(scale, np.full(scale.shape, self.zero, np.int32), -self._level(fields, self.zero))

    def pack(self, codes: np.ndarray) -> np.ndarray:
        """Stored rows of codes (outputs, inputs) on the grids that were chosen: uint8 (outputs, bytes)."""
        parts = [
            self.form.pack({**fields, "q": codes[:, first : first + self.group]})
            for first, fields in sorted(self.chosen.items())
        ]
        return np.concatenate(parts, axis=1)

    def _level(self, fields: dict[str, np.ndarray], code: int) -> np.ndarray:
        """What a code decodes to in each group of weights with one scale: float32 (outputs, groups)."""
        everywhere = np.full_like(fields["q"], code)
        return self.form.decode({**fields, "q": everywhere})[:, :: self.step]


def gptq_blocks(
    weight: np.ndarray, gram: Gram, form: BlockFormat, how: Settings = ACT_ORDER, trace: bool = False
) -> GptqBlocks:
    """Choose the codes of a weight (outputs, inputs) by GPTQ within blocks of a format, for calibrated inputs.

    how: by default the columns of the largest activations first, on scales chosen beforehand for all blocks, since the
    blocks of a file hold neighbours. Scales heed the calibration's importance where the format's search does.
    Raises MethodError for a format without evenly spaced levels, and as `gptq` does.
    """
    if how.act_order and not how.static_groups:
        raise MethodError("Blocks of a file hold neighbours, so act-order needs static groups here.")
    grids = BlockGrids(form, gram.mean_squares if form.uses_importance else None)
    found = gptq(weight, gram.hessian, grids, how, trace=trace)
    return GptqBlocks(form, grids.pack(found.codes), found)
