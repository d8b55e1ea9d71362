"""GPTQ on three weights that can be followed by eye, and eight real ones whose rounding the reader chooses."""

from dataclasses import dataclass
from itertools import product

import numpy as np

from quantlib.methods.gptq import Settings, gptq
from quantlib.methods.grids import Grid, IntegerGrids
from quantlib.methods.hessian import Gram

WEIGHTS = np.array([-0.3, 0.7, 1.6], np.float32)
INPUTS = np.array([[1, 3, 2], [2, 3, 3], [3, 2, 3], [2, 3, 3]], np.float32)
COUNT = 8  # weights of the puzzle
ROWS = 64  # rows of a matrix among which the puzzle is looked for


@dataclass(frozen=True)
class WholeNumbers:
    """Levels at the whole numbers from −8 to 7."""

    group: int
    lowest: int = -8
    highest: int = 7

    @property
    def step(self) -> int:
        return self.group

    def choose(self, columns: np.ndarray, first: int) -> Grid:
        ones = np.ones((len(columns), 1), np.float32)
        return Grid(ones, np.zeros(ones.shape, np.int32), np.zeros_like(ones))


@dataclass(frozen=True, eq=False)
class Step:
    """Where the weights (3,) are. rounded: how many are on a level for good. moved: whether others have just moved."""

    weights: np.ndarray
    rounded: int
    moved: bool
    relative: float


@dataclass(frozen=True, eq=False)
class Toy:
    """Three weights on whole numbers, step by step. nearest: each rounded to the nearest, (3,), with its error."""

    steps: tuple[Step, ...]
    nearest: np.ndarray
    nearest_relative: float


def output_relative(weights: np.ndarray, stored: np.ndarray, inputs: np.ndarray) -> float:
    """The relative error of the outputs X w: weights and stored (n,), inputs X (tokens, n)."""
    wide = inputs.astype(np.float64)
    exact = np.linalg.norm(wide @ weights)
    return float(np.linalg.norm(wide @ (stored.astype(np.float64) - weights)) / exact) if exact else 0.0


def toy(weights: np.ndarray = WEIGHTS, inputs: np.ndarray = INPUTS) -> Toy:
    """Round weights (n,) one after the other with GPTQ, without damping, and keep every step."""
    count = len(weights)
    done = gptq(weights[None], Gram.of(inputs).hessian, WholeNumbers(count), Settings(damping=0.0), trace=True)
    rows, final = done.trace.row(0), done.dequantized()[0]
    steps = [Step(weights, 0, False, 0.0)]
    for at in range(count):
        just = rows[at].copy()
        just[: at + 1] = final[: at + 1]
        steps.append(Step(just, at + 1, False, output_relative(weights, just, inputs)))
        if at + 1 < count:
            after = rows[at + 1].copy()
            after[: at + 1] = final[: at + 1]
            steps.append(Step(after, at + 1, True, output_relative(weights, after, inputs)))
    nearest = np.rint(weights) + np.float32(0)
    return Toy(tuple(steps), nearest, output_relative(weights, nearest, inputs))


@dataclass(frozen=True, eq=False)
class Puzzle:
    """Eight neighbouring weights of a real matrix, each of which may go to the level below or above it.

    lower, upper: those levels, float32 (8,). inputs: float32 (8, 8) that give the same errors as all that the weights
    met. nearest, best: what each way chooses, with the relative error of the part of the output that they make.
    """

    row: int
    column: int
    weights: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    inputs: np.ndarray
    nearest: np.ndarray
    best: np.ndarray
    nearest_relative: float
    best_relative: float


def puzzle(weight: np.ndarray, gram: Gram, grids: IntegerGrids) -> Puzzle:
    """Find the eight neighbours of a weight (outputs, inputs) for which rounding to nearest leaves the most to gain."""
    rows, n = weight[:ROWS], weight.shape[1]
    parts = [grids.choose(rows[:, at : at + grids.group], at) for at in range(0, n, grids.group)]
    scale, zero = (np.concatenate([getattr(p, name) for p in parts], 1) for name in ("scale", "zero"))
    spread = np.arange(n) // grids.group
    scale, zero = scale[:, spread], zero[:, spread]  # (rows, n)
    with np.errstate(divide="ignore", invalid="ignore"):
        code = np.where(scale > 0, np.floor(rows / scale) + zero, zero)
    lower, upper = (scale * (np.clip(code + up, grids.lowest, grids.highest) - zero) for up in (0, 1))
    choices = np.array(list(product((0, 1), repeat=COUNT)), np.float32)  # (256, 8)
    found: tuple | None = None
    for at in range(0, n - n % COUNT, COUNT):
        part = slice(at, at + COUNT)
        h = gram.hessian[part, part].astype(np.float64)
        low, up, w = lower[:, part], upper[:, part], rows[:, part]
        stored = low[:, None] + choices * (up - low)[:, None]  # (rows, 256, 8)
        miss = (stored - w[:, None]).astype(np.float64)
        errors = np.einsum("rci,ij,rcj->rc", miss, h, miss)  # (rows, 256)
        nearest = (up - w <= w - low).astype(np.float32)
        own = errors[np.arange(len(w)), (nearest @ (2 ** np.arange(COUNT - 1, -1, -1))).astype(int)]
        gain = own / np.maximum(errors.min(-1), 1e-30) * (own > 0)
        row = int(gain.argmax())
        if found is None or gain[row] > found[0]:
            found = (gain[row], row, at, nearest[row], choices[errors[row].argmin()], h)
    _, row, at, nearest, best, h = found
    part = slice(at, at + COUNT)
    low, up, w = (x[row, part].astype(np.float32) for x in (lower, upper, rows))
    inputs = _root(h)
    chosen = [low + choice * (up - low) for choice in (nearest, best)]
    errors = [output_relative(w, stored, inputs) for stored in chosen]
    return Puzzle(row, at, w, low, up, inputs, *chosen, *errors)


def _root(h: np.ndarray) -> np.ndarray:
    """R with Rᵀ R = H for a positive semidefinite H (n, n): float32 (n, n)"""
    values, vectors = np.linalg.eigh(h)
    return (np.sqrt(np.maximum(values, 0))[:, None] * vectors.T).astype(np.float32)
