"""Writing on: one token after the other, each drawn from what the model expects."""

from collections.abc import Iterator, Sequence

import numpy as np

from quantlib.lm.cache import Cache
from quantlib.lm.model import Model
from quantlib.lm.nonlinear import softmax

TEMPERATURE, SEED = 0.6, 9  # of texts that are to be compared: warm enough not to go in circles


def generate(
    model: Model, tokens: Sequence[int], most: int, temperature: float = 0.0, seed: int = 0, stop: int | None = None
) -> Iterator[int]:
    """New tokens after these, at most so many and not beyond the model's context.

    temperature 0 takes the likeliest token each time; above, a token is drawn from softmax(logits / temperature) with
    a generator of that seed. Ends before the token `stop`.
    """
    most = min(most, model.shape.context - len(tokens))
    cache, rng = Cache(model.shape, len(tokens) + max(0, most)), np.random.default_rng(seed)
    fresh = np.asarray(tokens)
    for _ in range(most):
        logits = model.logits(model.hidden(fresh, cache)[-1])
        if temperature > 0:
            token = int(rng.choice(len(logits), p=softmax(logits.astype(np.float64) / temperature)))
        else:
            token = int(logits.argmax())
        if token == stop:
            return
        yield token
        fresh = np.array([token])
