"""What each format would cost each tensor, measured on a sample of its rows: the table that budget recipes spend by."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from math import prod, sqrt

import numpy as np

from quantlib import formats
from quantlib.architectures.diffusion import BY_NAME as IMAGE_MODELS
from quantlib.architectures.diffusion import UNPACKED_FAST
from quantlib.checkpoints import Checkpoint, ImportanceMatrix, Tensor, gguf_view
from quantlib.errors import ScaleError
from quantlib.jobs.pool import in_order, shared_pool
from quantlib.recipes import RECIPES, Role, quantizable, role_of

SAMPLE_WEIGHTS = 1 << 15  # of a tensor; twice as many change the relative error by about a hundredth of itself
OUTPUT_COUNTS = 4.0  # times what a weight elsewhere does: no later layer evens out the output matrix's errors
PLACES = 4  # runs of rows that the sample is made of, evenly spread
# Formats that no recipe gives to a matrix without an importance matrix.
NEED_IMPORTANCE = (
    frozenset()
    .union(*(r.needs_imatrix for r in RECIPES.values()))
    .difference(*(r.formats - r.needs_imatrix for r in RECIPES.values()))
)
TRAINED_FOR = ("Q1_0", "Q2_0", "TQ1_0", "TQ2_0")  # they ruin models that were not trained to stand them
CANDIDATES = tuple(
    name
    for name in formats.FORMATS
    if any(name in r.formats for r in RECIPES.values()) and name not in ("FP32", *TRAINED_FOR)
)  # what recipes use


@dataclass(frozen=True)
class Measured:
    """A tensor in a format: its bytes, and sqrt(sum i (x - x̂)² / sum i x²) on the sample, i the importance or 1.

    sensitivity: what a squared relative error of this tensor costs.
    """

    name: str
    format: str
    nbytes: int
    relative_error: float
    sensitivity: float

    @property
    def cost(self) -> float:
        """sensitivity · relative_error²: what budget recipes keep small, summed over the tensors."""
        return self.sensitivity * self.relative_error**2


def measure(
    checkpoint: Checkpoint,
    imatrix: ImportanceMatrix | None = None,
    sensitivity: Mapping[str, float] | None = None,
    candidates: Iterable[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    executor: Executor | None = None,
    effort: str = "standard",
) -> tuple[Measured, ...]:
    """Every quantizable tensor of a checkpoint, under its GGUF name, in every candidate format that its rows fill.

    candidates: by default what recipes use, for an image model those of them that its loader unpacks fast.
    imatrix: weighs the squared errors by the importance of their columns. sensitivity: what a squared relative error
    of a tensor costs, by GGUF name, in any unit; tensors that it leaves out follow the default, which is the number of
    weights, four times that for the output matrix. progress: called with tensors done and tensors in all. effort: as
    `BlockFormat.quantize` takes it. The format that a tensor has now costs nothing.
    Raises CheckpointError where the checkpoint has no GGUF view or cannot be read.
    """
    view = gguf_view(checkpoint)
    if candidates is None:
        candidates = [name for name in CANDIDATES if view.architecture not in IMAGE_MODELS or name in UNPACKED_FAST]
    candidates = tuple(formats.get(name).name for name in candidates)
    tensors = [t for t in view.tensors.values() if t.decodable and quantizable(t.name, t.shape, view.architecture)]
    calls = ((t, imatrix.of(t.name, tuple(t.shape)) if imatrix else None) for t in tensors)
    rows: list[Measured] = []
    costs = _sensitivities(tensors, sensitivity or {})
    work = partial(_measured, candidates=candidates, sensitivity=costs, effort=effort)
    for done, found in enumerate(in_order(executor or shared_pool(), work, calls), start=1):
        rows += found
        if progress:
            progress(done, len(tensors))
    return tuple(rows)


def _sensitivities(tensors: Sequence[Tensor], given: Mapping[str, float]) -> dict[str, float]:
    """What is given, and for the other tensors the default in the unit of what is given."""
    tied = all(role_of(t.name) is not Role.OUTPUT for t in tensors)
    counting = (Role.OUTPUT, Role.EMBEDDING) if tied else (Role.OUTPUT,)
    default = {t.name: t.size * (OUTPUT_COUNTS if role_of(t.name) in counting else 1.0) for t in tensors}
    both = default.keys() & given.keys()
    unit = sum(given[name] for name in both) / sum(default[name] for name in both) if both else 1.0
    return {name: float(given.get(name, unit * value)) for name, value in default.items()}


def _measured(
    tensor: Tensor,
    importance: np.ndarray | None,
    *,
    candidates: tuple[str, ...],
    sensitivity: Mapping[str, float],
    effort: str,
) -> list[Measured]:
    weight = sensitivity[tensor.name]
    samples = [(tensor.rows(start, stop), _of_row(importance, tensor, start)) for start, stop in _places(tensor)]
    as_it_is = Measured(tensor.name, tensor.format, tensor.nbytes, 0.0, weight)
    rows = [as_it_is] if _of_ggml(tensor.format) else []
    for name in candidates:
        form = formats.get(name)
        unsteered = importance is None and (name in NEED_IMPORTANCE or form.requires_importance)
        if name == tensor.format or unsteered or tensor.n % form.values:
            continue
        try:
            lost = sum((np.array(_sums(form, x, i, effort)) for x, i in samples), start=np.zeros(2))
        except ScaleError:
            continue  # weights beyond what this format can store
        error = sqrt(lost[0] / lost[1]) if lost[1] else 0.0
        nbytes = prod(tensor.shape[:-1]) * form.row_bytes(tensor.n)
        rows.append(Measured(tensor.name, name, nbytes, error, weight))
    return rows


def _of_ggml(name: str) -> bool:
    return name in formats.FORMATS and formats.FORMATS[name].ggml_type is not None


def _places(tensor: Tensor) -> list[tuple[int, int]]:
    """Row ranges of the sample: a few runs, evenly spread, none across two experts' matrices."""
    rows = min(tensor.nrows, max(PLACES, SAMPLE_WEIGHTS // max(1, tensor.n)))
    if rows == tensor.nrows and len(tensor.shape) < 3:
        return [(0, rows)]
    run, matrix = max(1, rows // PLACES), tensor.shape[-2]
    starts = {int((i + 0.5) * tensor.nrows / PLACES) for i in range(PLACES)}
    return [(start, min(start + run, (start // matrix + 1) * matrix)) for start in sorted(starts)]


def _of_row(importance: np.ndarray | None, tensor: Tensor, row: int) -> np.ndarray | None:
    return None if importance is None else importance[row * len(importance) // tensor.nrows]


def _sums(form: formats.Format, x: np.ndarray, importance: np.ndarray | None, effort: str) -> tuple[float, float]:
    """Sums of squared errors and of squares, weighted."""
    xhat = form.dequantize(form.quantize(x, importance, effort))
    error = np.square(x.astype(np.float64) - xhat).sum(axis=0)  # (n,)
    square = np.square(x.astype(np.float64)).sum(axis=0)
    weight = 1.0 if importance is None else importance.astype(np.float64)
    return float(np.sum(weight * error)), float(np.sum(weight * square))
