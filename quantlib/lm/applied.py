"""A model with the weights that a plan's file would hold: quantized and read back, without the file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor

import numpy as np

from quantlib import formats
from quantlib.errors import RecipeError
from quantlib.jobs import Plan, PlannedTensor
from quantlib.jobs.pool import shared_pool
from quantlib.lm.model import Model

CHUNK = 1 << 18  # weights that a thread takes at once


def applied(model: Model, plan: Plan, executor: Executor | None = None) -> Model:
    """The model as it would be after this plan. The plan must be of the checkpoint that the model is of.

    Raises RecipeError where the plan lacks an importance matrix.
    """
    if plan.lacking:
        raise RecipeError(f"{plan.recipe.name} needs an importance matrix for {plan.lacking[0]}.")
    changed = [t for t in plan.tensors if not t.copied and t.name in model.weights]
    return model.replaced(read_back(changed, model.weight, executor))


def read_back(
    tensors: Iterable[PlannedTensor], weight: Callable[[str], np.ndarray], executor: Executor | None = None
) -> dict[str, np.ndarray]:
    """What these planned tensors would be read back as: float32 by name, chunks of rows quantized side by side."""
    pool, out, waiting = executor or shared_pool(), {}, []
    for planned in tensors:
        x = weight(planned.name)
        rows = x.reshape(-1, x.shape[-1])  # (rows, n)
        out[planned.name] = np.empty_like(rows)
        expert = len(rows) // planned.experts
        step = max(1, min(CHUNK // rows.shape[1], expert))
        for start in range(0, len(rows), step):
            stop = min(start + step, len(rows))
            target = out[planned.name][start:stop]
            waiting.append(pool.submit(_chunk, planned, rows[start:stop], start, target))
    for future in waiting:
        future.result()
    return {t: array.reshape(weight(t).shape) for t, array in out.items()}


def _chunk(planned: PlannedTensor, x: np.ndarray, start: int, out: np.ndarray) -> None:
    form = formats.get(planned.target)
    out[:] = form.dequantize(form.quantize(x, planned.importance_of(start), planned.effort))
