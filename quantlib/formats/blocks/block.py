"""A ggml block format as a value: what it stores, how codes are chosen, and what they decode to."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, SupportsFloat

import numpy as np

from quantlib.errors import FormatError
from quantlib.formats.blocks.best_scale import OneScale
from quantlib.formats.blocks.best_super import SuperBlock
from quantlib.formats.blocks.improving import Codes, Steps, improved
from quantlib.formats.blocks.stretch import moments
from quantlib.formats.finite import HALF_MAX, check_finite, check_scales
from quantlib.formats.layout import Layout
from quantlib.formats.rows import check_importance, check_row, check_rows, check_stored_rows, read_only

EFFORTS = ("standard", "best")


@dataclass(frozen=True)
class Formula:
    """How a weight is decoded, in three pieces; names in braces are fields of the layout, or terms of the format.

    minimum is "" in a format that has none.
    """

    scale: str
    minimum: str
    value: str

    def __iter__(self) -> Iterator[str]:
        return iter((self.scale, self.minimum, self.value))


@dataclass(frozen=True)
class Term:
    """A number in a formula that is no stored code but follows from codes, often by a table.

    symbol: how it is written. of(codes of this weight {field: number}, weight) -> number.
    """

    symbol: str
    of: Callable[[Mapping[str, Any], int], SupportsFloat]


@dataclass(frozen=True, eq=False)
class Kernels:
    """Compiled work, filling `out`: encode(x, out), encode_important(x, importance, out), decode(data, out).

    encode_important is None in a format whose codes importance does not change. sizes: `encode` gives back the largest
    magnitude that it met, infinite or NaN if need be, which spares a look at every weight beforehand.
    """

    encode: Callable[[np.ndarray, np.ndarray], float | None]
    encode_important: Callable[[np.ndarray, np.ndarray, np.ndarray], None] | None
    decode: Callable[[np.ndarray, np.ndarray], None]
    sizes: bool = False


@dataclass(frozen=True, eq=False)
class Choice:
    """How the codes of blocks were chosen: the codes, and per group every candidate tried.

    codes: {field: (blocks, count)}. Groups are (blocks, groups): weights, float32 (blocks, groups, n), is what an error
    counts; scales, minima, errors are (blocks, groups, candidates); winner is (blocks, groups). tried: what else makes
    up a candidate, by name, (blocks, groups, candidates, ...); in the i-quants its grid points. measure: what an error
    sums up, "squared" or "absolute" differences.
    """

    codes: Codes
    weights: np.ndarray
    scales: np.ndarray
    minima: np.ndarray
    errors: np.ndarray
    winner: np.ndarray
    tried: Mapping[str, np.ndarray] = field(default_factory=dict)
    measure: str = "squared"


@dataclass(frozen=True, eq=False)
class Trace:
    """How one block was quantized, step by step.

    x: the weights (values,). weights: what each error counts (groups, n).
    scales, minima, errors: every candidate of every group (groups, candidates), value = scale · code − minimum; an
    error is the weighted sum over the group of differences by `measure`, "squared" or "absolute"; NaN where the
    candidate could not be used. winner: (groups,).
    codes: {field: (count,)}. data: the stored bytes (nbytes,). decoded: (values,).
    tried: what else makes up a candidate, by name, (groups, candidates, ...); in the i-quants its grid points.
    """

    format: str
    x: np.ndarray
    weights: np.ndarray
    scales: np.ndarray
    minima: np.ndarray
    errors: np.ndarray
    winner: np.ndarray
    codes: Codes
    data: np.ndarray
    decoded: np.ndarray
    tried: Mapping[str, np.ndarray] = field(default_factory=dict)
    measure: str = "squared"

    @property
    def groups(self) -> int:
        """Groups of weights with a scale of their own."""
        return self.scales.shape[0]


@dataclass(frozen=True, eq=False, repr=False)
class BlockFormat:
    """A block format: one declaration, from which everything else follows.

    choose(x (blocks, values), importance (blocks, values) or None) -> Choice, in readable numpy.
    decode(codes {field: (..., count)}) -> float32 (..., values): the formula. load_kernels() gives the compiled work of
    the same meaning.
    reference: the functions that make up the readable encoder, in reading order; their source is worth showing.
    terms: what the formula names beside fields. requires_importance: nothing can be stored without one.
    importance_by_row: with importance a block's codes depend on its whole row, so choose is given the blocks of a row.
    better: how far a search goes on from ggml's choice, see `blocks.best`; None in a format that has no such search.
    """

    name: str
    ggml_type: int
    summary: str
    layout: Layout
    formula: Formula
    choose: Callable[[np.ndarray, np.ndarray | None], Choice]
    decode: Callable[[Codes], np.ndarray]
    load_kernels: Callable[[], Kernels]
    reference: tuple[Callable[..., object], ...]
    uses_importance: bool = True
    importance_by_row: bool = False
    requires_importance: bool = False
    terms: Mapping[str, Term] = field(default_factory=dict)
    better: SuperBlock | OneScale | None = None
    kind = "block"

    def __repr__(self) -> str:
        return f"<BlockFormat {self.name}: {self.values} weights in {self.nbytes} bytes>"

    @property
    def values(self) -> int:
        """Weights in a block."""
        return self.layout.values

    @property
    def nbytes(self) -> int:
        """Bytes of a block."""
        return self.layout.nbytes

    @property
    def bpw(self) -> float:
        """Bits per weight, everything counted."""
        return self.layout.bpw

    def describe(self) -> str:
        """The format in a few lines: size, what every byte holds (of bytes of a kind, the first), formula."""
        lines = [f"{self.name}: {self.values} weights in {self.nbytes} bytes, {self.bpw:g} bpw"]
        for first, last, codes in self.layout.byte_map():
            place = f"byte {first}" if first == last else f"bytes {first}–{last}"
            lines.append(f"  {place}: {codes}")
        names = {f.name: f.name for f in self.layout.fields} | {name: t.symbol for name, t in self.terms.items()}
        return "\n".join([*lines, f"  x̂ = {self.formula.value.format(**names)}".replace("+ ±", "± ")])

    def row_bytes(self, n: int) -> int:
        """Bytes of a row of n weights; FormatError where n is not a multiple of `values`."""
        check_row(self, n)
        return n // self.values * self.nbytes

    def quantize(self, x: np.ndarray, importance: np.ndarray | None = None, effort: str = "standard") -> np.ndarray:
        """Quantize rows: (..., n) -> uint8 (..., row_bytes(n)), ggml's bytes.

        x: any float type, worked on as float32. importance: float32 (n,), not negative, or None. effort: "best"
        searches on from ggml's choice to a lower error Σ importance · (x − x̂)², and takes out what makes all weights
        too small (`stretch`), in formats that have such a search (`better`); the bytes of others stay ggml's.
        Raises FormatError on a row that blocks do not divide, NaN, infinity, a wrong importance and another effort;
        ScaleError, with the row, where a scale is beyond FP16's range.
        """
        if effort not in EFFORTS:
            raise FormatError(f"An effort is {' or '.join(EFFORTS)}, not {effort!r}.")
        data, largest = self._encoded(x, importance)
        if largest > HALF_MAX / 2:  # where it is known and smaller, no scale can be as large as that
            check_scales(self.name, self.layout.overflowed(data.reshape(-1, self.nbytes)), np.asarray(x), importance)
        if effort == "standard" or self.better is None:
            return data
        return self._improved(data, x, importance, self._compiled_steps(self.better))

    def _improved(self, data: np.ndarray, x: np.ndarray, importance: np.ndarray | None, steps: Steps) -> np.ndarray:
        blocks, importance, shape = self._blocks(x, importance, finite=False)  # the first encoder has looked
        return improved(data.reshape(-1, self.nbytes), blocks, importance, self.layout, steps).reshape(shape)

    def _compiled_steps(self, better: SuperBlock | OneScale) -> Steps:
        from quantlib.formats.kernels import packing, stretch

        unpack, pack = partial(packing.unpack, self.layout), partial(packing.pack, self.layout)
        return Steps(better.load_kernel(), unpack, pack, self.dequantize, stretch.moments)

    def ggml_bytes(self, x: np.ndarray, importance: np.ndarray | None = None) -> np.ndarray:
        """As `quantize`, and as ggml also where a scale is beyond FP16's range: infinite."""
        return self._encoded(x, importance)[0]

    def _encoded(self, x: np.ndarray, importance: np.ndarray | None) -> tuple[np.ndarray, float]:
        """ggml's bytes, and the largest magnitude in x, infinite where the kernel does not look for it."""
        kernels = self.load_kernels()
        weighed = kernels.encode_important if importance is not None and self.uses_importance else None
        look_first = weighed is not None or not kernels.sizes
        blocks, importance, shape = self._blocks(x, importance, look_first)
        out = np.empty((len(blocks), self.nbytes), np.uint8)
        size: float | None = None
        if weighed is not None and importance is not None:
            weighed(read_only(blocks), read_only(importance), out)
        else:
            size = kernels.encode(read_only(blocks), out)
            if not look_first and (size is None or not np.isfinite(size)):
                check_finite(self.name, blocks.reshape(np.shape(x)))
        return out.reshape(shape), np.inf if look_first or size is None else size

    def quantize_reference(
        self, x: np.ndarray, importance: np.ndarray | None = None, effort: str = "standard"
    ) -> np.ndarray:
        """As `quantize`, by the readable reference: the same bytes, about a hundred times slower."""
        data = self.ggml_bytes_reference(x, importance)
        check_scales(self.name, self.layout.overflowed(data.reshape(-1, self.nbytes)), np.asarray(x), importance)
        if effort == "standard" or self.better is None:
            return data
        with np.errstate(all="ignore"):
            steps = Steps(self.better.improve, self.unpack, self.pack, self._decoded, moments)
            return self._improved(data, x, importance, steps)

    def ggml_bytes_reference(self, x: np.ndarray, importance: np.ndarray | None = None) -> np.ndarray:
        """As `ggml_bytes`, by the readable reference."""
        blocks, importance, shape = self._blocks(x, importance)
        if importance is None or not len(blocks):
            return self.pack(self.choose_reference(blocks, None)).reshape(shape)
        together = len(importance) if self.importance_by_row else len(blocks)
        tiled = np.tile(importance, (together // len(importance), 1))
        parts = [self.choose_reference(blocks[at : at + together], tiled) for at in range(0, len(blocks), together)]
        return np.concatenate([self.pack(codes) for codes in parts]).reshape(shape)

    def dequantize(self, data: np.ndarray, n: int | None = None) -> np.ndarray:
        """Decode stored rows: uint8 (..., row_bytes) -> float32 (..., n). Raises FormatError on a broken row."""
        data, n = check_stored_rows(self, data, n)
        out = np.empty((data.size // self.nbytes, self.values), np.float32)
        self.load_kernels().decode(read_only(data.reshape(-1, self.nbytes)), out)
        return out.reshape(*data.shape[:-1], n)

    def choose_reference(self, x: np.ndarray, importance: np.ndarray | None = None) -> Codes:
        """The codes of blocks x (blocks, values), chosen by the readable reference: {field: (blocks, count)}."""
        with np.errstate(all="ignore"):
            return self.choose(x, importance).codes

    def pack(self, codes: Codes) -> np.ndarray:
        """Bytes of codes: {field: (..., count)} -> uint8 (..., nbytes)."""
        return self.layout.pack(codes)

    def unpack(self, data: np.ndarray) -> dict[str, np.ndarray]:
        """Codes of bytes: uint8 (..., nbytes) -> {field: (..., count)}."""
        return self.layout.unpack(data)

    def _decoded(self, data: np.ndarray) -> np.ndarray:
        """Weights of blocks, by the reference: uint8 (blocks, nbytes) -> float32 (blocks, values)."""
        return self.decode(self.unpack(data))

    def trace(self, x: np.ndarray, importance: np.ndarray | None = None) -> Trace:
        """How one block x (values,) is quantized: every candidate tried, its error, the winner, and the codes."""
        blocks, importance, _ = self._blocks(np.asarray(x).reshape(-1), importance)
        if len(blocks) != 1:
            raise FormatError(f"A trace follows one block of {self.values} weights, not {np.size(x):,}.")
        with np.errstate(all="ignore"):
            choice = self.choose(blocks, importance)
            decoded = self.decode(choice.codes)[0]
        codes = {name: code[0] for name, code in choice.codes.items()}
        return Trace(
            format=self.name,
            x=blocks[0],
            weights=choice.weights[0],
            scales=choice.scales[0],
            minima=choice.minima[0],
            errors=choice.errors[0],
            winner=choice.winner[0],
            codes=codes,
            data=self.pack(codes),
            decoded=decoded,
            tried={name: candidates[0] for name, candidates in choice.tried.items()},
            measure=choice.measure,
        )

    def spell(self, codes: Codes, weight: int) -> tuple[str, str, str]:
        """Decoding one weight of a block in three lines: symbols, this weight's numbers, the result.

        codes: {field: (count,)} of one block, as `Trace.codes` or `unpack` of one block give them.
        """
        numbers = {f.name: codes[f.name][self.layout.element(f.name, weight)] for f in self.layout.fields}
        symbols = {name: name for name in numbers}
        symbols |= {name: term.symbol for name, term in self.terms.items()}
        numbers |= {name: term.of(numbers, weight) for name, term in self.terms.items()}
        written = {name: f"{float(number):.5g}".replace("-", "−") for name, number in numbers.items()}
        value = self.decode(codes)[weight]
        return (
            self.formula.value.format(**symbols),
            self.formula.value.format(**written),
            f"{value:.6g}".replace("-", "−"),
        )

    def _blocks(
        self, x: np.ndarray, importance: np.ndarray | None, finite: bool = True
    ) -> tuple[np.ndarray, np.ndarray | None, tuple[int, ...]]:
        """Checked input: float32 (blocks, values), importance (blocks of a row, values), the shape of the result.

        finite: whether to look for NaN and infinity here.
        """
        x = check_rows(self, x, finite)
        n = x.shape[-1]
        shape = (*x.shape[:-1], self.row_bytes(n))
        if importance is None and self.requires_importance:
            raise FormatError(
                f"{self.name} has so few bits that it needs an importance matrix, and there is none for this tensor: "
                f"give one, or choose a larger format."
            )
        if importance is not None:
            importance = check_importance(importance, n).reshape(-1, self.values)
        return x.reshape(-1, self.values), importance, shape
