"""How large the inputs of a model's matrices are: what importance-weighted pictures need of a running model."""

import numpy as np

from quantlib.architectures import ARCHITECTURES, PLAIN
from quantlib.checkpoints import Checkpoint
from quantlib.checkpoints.convert import gguf_name
from quantlib.errors import QuantlibError
from quantlib.lm import Tokenizer, imatrix, load, sums


def column_importance(checkpoint: Checkpoint, text: str, tokens: int, context: int) -> dict[str, np.ndarray]:
    """The mean square of what each column of each matrix is multiplied with, float32 (n,), by the checkpoint's names.

    The model runs once over the first `tokens` tokens of the text, in windows of `context`. Nothing where it
    cannot be run.
    """
    try:
        model, tokenizer = load(checkpoint), Tokenizer.of(checkpoint)
        means = imatrix(model, tokenizer.encode(text)[:tokens], context, tokenizer.bos).matrix("").entries
    except QuantlibError:
        return {}
    return _by_own_names(checkpoint, {name: mean[0] for name, mean in means.items()})


def importance_of_sums(checkpoint: Checkpoint, count: int = 100) -> dict[str, np.ndarray]:
    """The same over `count` sums of each grade, for a model that reads sums."""
    means = sums.importance(load(checkpoint), Tokenizer.of(checkpoint), count=count).entries
    return _by_own_names(checkpoint, {name: mean[0] for name, mean in means.items()})


def last_inputs(checkpoint: Checkpoint, text: str) -> dict[str, np.ndarray]:
    """What each matrix is multiplied with at the last token of a short text, float32 (n,), by the checkpoint's names.

    Nothing where the model cannot be run.
    """
    found: dict[str, np.ndarray] = {}
    try:
        load(checkpoint)(
            np.array(Tokenizer.of(checkpoint).encode(text)),
            observe=lambda name, x: found.__setitem__(name, x.reshape(-1, x.shape[-1])[-1].copy()),
        )
    except QuantlibError:
        return {}
    return _by_own_names(checkpoint, found)


def _by_own_names(checkpoint: Checkpoint, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    named = {tensor.name: gguf_of(checkpoint, tensor.name) for tensor in checkpoint}
    return {own: found[gguf] for own, gguf in named.items() if gguf in found}


def gguf_of(checkpoint: Checkpoint, name: str) -> str | None:
    """What GGUF, and so a running model, calls a tensor of this checkpoint."""
    if checkpoint.kind == "gguf":
        return name
    config = checkpoint.metadata.get("config")
    model_type = config.get("model_type") if isinstance(config, dict) else None
    return gguf_name(ARCHITECTURES.get(model_type, PLAIN), name)
