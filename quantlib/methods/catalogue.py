"""Methods as values: each chooses the codes of matrices that read the same inputs, whoever walks the layers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from quantlib import formats
from quantlib.errors import MethodError
from quantlib.formats import (
    BlockFormat,
    CodebookFormat,
    IntegerFormat,
    PerChannel,
    PerGroup,
    block_format,
    quantize_blockwise,
)
from quantlib.methods.awq import ALPHAS, AffineGroups, awq
from quantlib.methods.gptq import Settings, gptq
from quantlib.methods.grids import IntegerGrids
from quantlib.methods.hessian import Gram
from quantlib.methods.hqq import hqq
from quantlib.methods.mixed import Effort, Inputs, fitted_blocks, usual
from quantlib.methods.rtn import round_to_nearest


@dataclass(frozen=True, eq=False)
class Chosen:
    """A matrix whose codes are chosen. decoded: what it is read back as, float32 (outputs, inputs); bpw: all counted,
    in the smallest layout that loaders read: even grids as GPTQ and AWQ store them, zero points as small as codes.

    result: the method's own, with the codes: Rounded, Gptq, Awq (of all matrices together), Hqq, Blockwise, or the
    stored rows of a block format, uint8 (outputs, bytes).
    """

    decoded: np.ndarray
    bpw: float
    result: object = field(repr=False)


IN_ORDER = Settings()
Choose = Callable[[Sequence[np.ndarray], Gram | None], Sequence[Chosen]]


@dataclass(frozen=True)
class ByRows:
    """A method whose rows do not touch each other: a matrix may be given in parts, to several threads.

    effort: how its inputs are made ready, once for all matrices that read them. choose(rows, inputs).
    """

    effort: Effort
    choose: Callable[[np.ndarray, Inputs], Chosen] = field(repr=False)

    def whole(self, weight: np.ndarray, gram: Gram | None) -> Chosen:
        return self.choose(weight, Inputs.of(needed(gram), self.effort))


@dataclass(frozen=True)
class Method:
    """name: as tables show it. family: what it is a case of. bits: of a code. calibrated: whether it needs a text.

    choose(matrices, gram): the matrices float32 (outputs, inputs) read the same inputs, which `gram` sums up; it is
    None where nothing was calibrated. Raises FormatError and MethodError, as the method does.
    unscaled: what takes its place where it scales inputs and nothing that makes them could take these scales.
    rows: the same choice for some rows of a matrix, in a method whose rows do not touch each other.
    """

    name: str
    family: str
    bits: int
    calibrated: bool
    choose: Choose = field(repr=False)
    unscaled: "Method | None" = field(default=None, repr=False)
    rows: ByRows | None = field(default=None, repr=False)


def nearest(bits: int, group: int | None = None) -> Method:
    """Round to nearest on an asymmetric grid, with one scale for `group` weights, or for each channel."""
    form = IntegerFormat(bits, symmetric=False)
    granularity = PerGroup(group) if group else PerChannel()

    def choose(weight: np.ndarray, gram: Gram | None) -> Chosen:
        done = round_to_nearest(weight, form, granularity)
        return Chosen(done.decoded, AffineGroups(bits, group or weight.shape[1]).bpw, done)

    return Method(f"round to nearest, {granularity}", "round to nearest", bits, False, _each(choose))


def block(name: str, important: bool = False, effort: str = "standard") -> Method:
    """A ggml block format, encoded as llama-quantize does, or with best effort; with importance from the calibration
    text if so.
    """
    form = block_format(name)

    def choose(weight: np.ndarray, gram: Gram | None) -> Chosen:
        data = form.quantize(weight, needed(gram).mean_squares if important else None, effort)
        return Chosen(form.dequantize(data), form.bpw, data)

    label = name + " + imatrix" * important + f", {effort} effort" * (effort != "standard")
    return Method(label, "imatrix" if important else "block format", _bits(form), important, _each(choose))


def codebook(name: str = "NF4") -> Method:
    """A codebook format as bitsandbytes stores it, blocks running over the flattened tensor."""
    form = formats.get(name)
    if not isinstance(form, CodebookFormat):
        raise MethodError(f"{name} has no codebook; choose NF4, FP4_BNB or DYNAMIC8.")

    def choose(weight: np.ndarray, gram: Gram | None) -> Chosen:
        done = quantize_blockwise(weight, form)
        return Chosen(done.decode(), done.bpw, done)

    return Method(f"{name}, block of {form.block}", name, form.bits, False, _each(choose))


def half_quadratic(bits: int, group: int = 64) -> Method:
    """HQQ: zero points without calibration."""
    grid = AffineGroups(bits, group)

    def choose(weight: np.ndarray, gram: Gram | None) -> Chosen:
        done = hqq(weight, grid)
        return Chosen(done.dequantized(), done.bpw, done)

    return Method(f"HQQ, per group of {group}", "HQQ", bits, False, _each(choose))


def gptq_groups(
    bits: int,
    group: int | None = 128,
    symmetric: bool = False,
    how: Settings = IN_ORDER,
    grids: type[IntegerGrids] = IntegerGrids,
) -> Method:
    """GPTQ on the grid of an integer format, one scale for `group` weights, or for each channel.

    grids: how a group's scale and zero point are chosen.
    """
    form = IntegerFormat(bits, symmetric=symmetric, restricted=False)

    def choose(weight: np.ndarray, gram: Gram | None) -> Chosen:
        done = gptq(weight, needed(gram).hessian, grids(form, group or weight.shape[1]), how)
        return Chosen(done.dequantized(), AffineGroups(bits, group or weight.shape[1]).bpw, done)

    order = ", act-order" if how.act_order else ""
    grouped = f"per group of {group}" if group else "per channel"
    return Method(f"GPTQ, {grouped}{order}", "GPTQ", bits, True, _each(choose))


def gptq_block(name: str, how: Effort | None = None) -> Method:
    """The blocks of a format chosen for the layer's output: a GGUF file's own blocks, filled better."""
    form = block_format(name)
    how = how or usual(form)

    def choose(rows: np.ndarray, inputs: Inputs) -> Chosen:
        data = fitted_blocks(rows, inputs, form, how)
        return Chosen(form.dequantize(data), form.bpw, data)

    rows = ByRows(how, choose)
    return Method(f"{name} + GPTQ", "GPTQ in blocks", _bits(form), True, _each(rows.whole), rows=rows)


def activation_aware(bits: int, group: int = 128, alphas: Sequence[float] = ALPHAS) -> Method:
    """AWQ with the matrices' own output error, and clipping; where inputs cannot be scaled it only clips."""
    grid = AffineGroups(bits, group)

    def choose(weights: Sequence[np.ndarray], gram: Gram | None) -> Sequence[Chosen]:
        done = awq(weights, needed(gram), grid, alphas=alphas)
        return [Chosen(decoded, grid.bpw, done) for decoded in done.dequantized()]

    unscaled = activation_aware(bits, group, (0.0,)) if len(alphas) > 1 else None
    return Method(f"AWQ, per group of {group}", "AWQ", bits, True, choose, unscaled)


K_QUANTS = {8: "Q8_0", 6: "Q6_K", 5: "Q5_K", 4: "Q4_K", 3: "Q3_K", 2: "Q2_K"}


def compared(bits: int, group: int = 64) -> Iterator[Method]:
    """The methods that a comparison at so many bits takes, the simplest first."""
    yield nearest(bits)
    yield nearest(bits, group)
    yield half_quadratic(bits, group)
    if bits == 4:
        yield codebook("NF4")
    yield activation_aware(bits, group)
    yield gptq_groups(bits, group)
    yield gptq_groups(bits, group, how=Settings(act_order=True))
    if bits in K_QUANTS:
        form = block_format(K_QUANTS[bits])
        yield block(form.name)
        if form.uses_importance:
            yield block(form.name, important=True)
            yield block(form.name, important=True, effort="best")
            yield gptq_block(form.name)


def _each(choose: Callable[[np.ndarray, Gram | None], Chosen]) -> Choose:
    """A method for one matrix as one for several."""
    return lambda weights, gram: [choose(weight, gram) for weight in weights]


def needed(gram: Gram | None) -> Gram:
    """The sums over a text that a calibrated method works on; MethodError where nothing was calibrated."""
    if gram is None:
        raise MethodError("This method chooses codes by the inputs of a layer: calibrate on a text first.")
    return gram


def _bits(form: BlockFormat) -> int:
    return int(form.bpw)
