"""Mixtures of experts: a router chooses, for each token, which few of many feed-forward parts it goes through.

Shazeer et al., "Outrageously Large Neural Networks", 2017; DeepSeek-AI, "DeepSeek-V3 Technical Report", 2024 (groups,
and a bias that balances the choice).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from quantlib.lm.shape import Experts


def route(scores: np.ndarray, experts: Experts, balance: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Which experts each token uses and with what weight: int and float32 (tokens, used).

    scores: what the router puts out, float32 (tokens, experts). balance: added for the choice only.
    """
    if experts.scoring == "sigmoid":
        scores = 1 / (1 + np.exp(-scores))
    elif experts.scoring == "softmax":
        scores = _softmax(scores)
    choice = scores if balance is None else scores + balance
    if experts.groups > 1 and experts.groups_used < experts.groups:
        choice = _best_groups(choice, experts, balance is not None)
    chosen = np.argsort(-choice, axis=-1, kind="stable")[:, : experts.used]
    weights = np.take_along_axis(scores, chosen, axis=-1)
    if experts.scoring == "softmax of the chosen":
        weights = _softmax(weights)
    elif experts.normalized:
        weights = weights / (weights.sum(axis=-1, keepdims=True) + np.float32(1e-20))
    return chosen, (weights * np.float32(experts.scale)).astype(np.float32)


def _best_groups(choice: np.ndarray, experts: Experts, balanced: bool) -> np.ndarray:
    """The scores with those of all but the best groups out of reach: a group is as good as its best two experts, or
    without a balance as its best one.
    """
    grouped = choice.reshape(len(choice), experts.groups, -1)
    best = np.sort(grouped, axis=-1)[..., -2 if balanced else -1 :].sum(axis=-1)
    kept = np.argsort(-best, axis=-1, kind="stable")[:, : experts.groups_used]
    out = np.full_like(grouped, -np.inf)
    rows = np.arange(len(choice))[:, None]
    out[rows, kept] = grouped[rows, kept]
    return out.reshape(choice.shape)


def mixed(
    x: np.ndarray, chosen: np.ndarray, weights: np.ndarray, apply: Callable[[int, np.ndarray], np.ndarray]
) -> np.ndarray:
    """Each token's sum over its experts' outputs, float32 (tokens, hidden); apply(expert, x) -> outputs."""
    out = np.zeros_like(x)
    for expert in np.unique(chosen).tolist():
        tokens, place = np.nonzero(chosen == expert)
        out[tokens] += apply(expert, x[tokens]) * weights[tokens, place][:, None]
    return out


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)
