"""What a model's matrices are multiplied with, summed up over a text: the importance matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from quantlib.checkpoints import ImportanceSums
from quantlib.lm.model import Model
from quantlib.lm.windows import cut


def imatrix(
    model: Model,
    tokens: Sequence[int],
    context: int = 512,
    bos: int | None = None,
    output: bool = False,
    dataset: str = "",
    progress: Callable[[float], None] | None = None,
) -> ImportanceSums:
    """Sums of squares of each input channel of every matrix inside the layers, as llama-imatrix collects them,
    those of experts each over the tokens that it was given.

    The text is cut into windows of `context` tokens, a rest is dropped, and each window's first token becomes `bos`
    where the model has one. output: collect for the output matrix too. dataset: the text's name, for the file.
    Raises CheckpointError where the text is shorter than a window.
    Source: IMatrixCollector::collect_imatrix() in llama.cpp's tools/imatrix.
    """
    windows = cut(model, tokens, context, bos)
    sums: dict[str, np.ndarray] = {}
    counts: dict[str, np.ndarray] = {}

    def observe(name: str, x: np.ndarray) -> None:
        name, _, expert = name.partition("#")
        if name not in sums:
            matrices = model.weights[name].shape[0] if expert else 1
            sums[name], counts[name] = np.zeros((matrices, x.shape[-1])), np.zeros(matrices, np.float32)
        sums[name][int(expert or 0)] += np.einsum("ti,ti->i", x, x, dtype=np.float64)
        counts[name][int(expert or 0)] += len(x)

    for some in windows.batches():
        hidden = model.hidden(windows.shown(some), observe=observe)
        if output:
            observe(model.output_name, hidden.reshape(-1, hidden.shape[-1]))
        if progress:
            progress(some.stop / len(windows))
    return ImportanceSums(
        {name: total.astype(np.float32) for name, total in sorted(sums.items())},
        {name: counts[name] for name in sorted(sums)},
        (dataset,) if dataset else (),
        len(windows),
        context,
    )
