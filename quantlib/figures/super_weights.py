"""Super weights: the single weights whose products are largest, and what the model does without one.

Yu et al., "The Super Weight in Large Language Models", 2024: in models of some billion weights, removing one such
weight of an early down projection can ruin the text that the model writes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantlib.lm import Model, perplexity


@dataclass(frozen=True)
class SuperWeight:
    """One weight. product: the largest |w x| that it contributes on the text. perplexity: of the model without it."""

    matrix: str
    row: int
    column: int
    value: float
    product: float
    perplexity: float


def candidates(model: Model, tokens: np.ndarray, count: int) -> list[tuple[float, str, int, int]]:
    """The weights of largest |w| · max|x| over a text, one for each matrix at most: (product, matrix, row, column)."""
    reach: dict[str, np.ndarray] = {}

    def observe(name: str, x: np.ndarray) -> None:
        reach[name] = np.maximum(reach.get(name, 0), np.abs(x).max(0))

    model(tokens, observe=observe)
    found = []
    for name, largest in reach.items():
        if name.startswith("blk."):
            products = np.abs(model.weight(name)) * largest
            row, column = np.unravel_index(products.argmax(), products.shape)
            found.append((float(products[row, column]), name, int(row), int(column)))
    return sorted(found, reverse=True)[:count]


def without(model: Model, matrix: str, row: int, column: int) -> Model:
    """The model with one weight set to zero."""
    w = model.weight(matrix).copy()
    w[row, column] = 0
    return model.replaced({matrix: w})


def super_weights(
    model: Model, tokens: Sequence[int], bos: int | None, count: int = 8, context: int = 256
) -> tuple[float, float, list[SuperWeight]]:
    """Perplexity as it is, without a weight of typical size, and without each of the `count` largest products."""
    base = perplexity(model, tokens, context, bos).value
    rows = []
    for product, name, row, column in candidates(model, np.asarray(tokens[: 2 * context]), count):
        found = perplexity(without(model, name, row, column), tokens, context, bos).value
        rows.append(SuperWeight(name, row, column, float(model.weight(name)[row, column]), product, found))
    matrix = rows[0].matrix
    size = np.abs(model.weight(matrix))
    row, column = np.unravel_index(np.argsort(size, axis=None)[size.size // 2], size.shape)
    typical = perplexity(without(model, matrix, int(row), int(column)), tokens, context, bos).value
    return base, typical, sorted(rows, key=lambda w: -w.perplexity)
