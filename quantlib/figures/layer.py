"""What the pictures of a layer need: its weight, and the activations that it really reads."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from quantlib.lm import Model
from quantlib.methods.hessian import Gram

TOKENS = 1024
WINDOW = 256
MOST_INPUTS = 4096  # wider layers take their time


@dataclass(frozen=True, eq=False)
class Layer:
    """A matrix of a model at work. weight: float32 (outputs, inputs). x: its inputs, float32 (tokens, inputs)."""

    name: str
    weight: np.ndarray
    x: np.ndarray

    @property
    def gram(self) -> Gram:
        """The sums over its inputs that methods calibrate on."""
        return Gram.of(self.x)


def layer_at_work(model: Model, tokens: Sequence[int], name: str) -> Layer:
    """Let the model read at most TOKENS tokens, in windows, and keep what this matrix was multiplied with."""
    return layers_at_work(model, tokens, [name])[name]


def layers_at_work(model: Model, tokens: Sequence[int], names: Collection[str]) -> dict[str, Layer]:
    """The same for several matrices in one reading; those that read the same share it."""
    windows = max(1, min(TOKENS, len(tokens)) // WINDOW)
    text = np.asarray(tokens[: windows * WINDOW])
    rows = text.reshape(windows, -1) if text.size == windows * WINDOW else text[None]
    seen: dict[str, np.ndarray] = {}
    last: tuple[np.ndarray | None, np.ndarray | None] = (None, None)

    def observe(matrix: str, x: np.ndarray) -> None:
        nonlocal last
        if matrix in names:
            last = last if last[0] is x else (x, np.array(x))
            seen[matrix] = last[1]

    model(rows, observe=observe)
    return {name: Layer(name, model.weight(name), seen[name]) for name in names}


def matrices(model: Model) -> list[str]:
    """The matrices inside a model's layers whose inputs can be watched, by GGUF name."""
    return [
        name
        for name, w in model.weights.items()
        if name.startswith("blk.") and len(w.shape) == 2 and min(w.shape) > 1 and w.shape[1] <= MOST_INPUTS
    ]
