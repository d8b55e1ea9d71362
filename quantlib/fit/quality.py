"""What a recipe costs: published where it was measured for the model's family, and elsewhere a range from there.

The cost is the mean KL divergence of the model's predictions from the original's. One model has it published for every
recipe, Llama-3-8B. Two other families have their perplexity published: there the logarithm of the perplexity's ratio
is between `LEAST` and all of Llama-3-8B's for the same recipe. A model of another family is expected in that range.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import exp, log

from quantlib.architectures import PLAIN
from quantlib.checkpoints import Checkpoint
from quantlib.fit.published import AGREEMENT, LLAMA_3_8B, LLAMA_3_8B_BPW, MISTRAL_7B, QUALITY_SOURCE
from quantlib.fit.weighing import Weighed

F16_PERPLEXITY = 6.2332  # of Llama-3-8B in the same table
MOSTLY = 0.25  # share of weights in formats that stand in, above which a recipe's name says little
KEPT = "the weights as they are published"
FAMILIES = {"Llama-3": "Llama-3-8B", "Llama-2": "Llama-2-7B", "Mistral": "Mistral-7B"}


@dataclass(frozen=True)
class Cost:
    """KL divergence in nats: the value that options are compared by, and the range it is expected in.

    source: where it comes from. published: whether for this family. top: % of places where the likeliest next token
    changes, about, from the same source.
    """

    kl: float
    low: float
    high: float
    source: str
    published: bool
    top: float

    @property
    def words(self) -> str:
        """The cost in a few words."""
        if not self.kl:
            return "nothing is lost"
        if self.published:
            return f"KL {digits(self.kl)}; another likeliest word at {self.top:.2g}% of places"
        return f"KL {digits(self.low)} to {digits(self.high)}, from other models"


def digits(value: float) -> str:
    """Two digits, without an exponent."""
    return f"{value:.{max(0, 1 - int(f'{value:e}'.partition('e')[2]))}f}" if value > 0 else "0"


def family_of(view: Checkpoint) -> str | None:
    """The family with published figures that a model belongs to, by architecture and vocabulary; None for others."""
    embedding = view.tensors.get("token_embd.weight")
    vocabulary = embedding.shape[0] if embedding is not None and embedding.shape else 0
    layers, forward = (view.value(f"{view.architecture}.{key}", 0) for key in ("block_count", "feed_forward_length"))
    if view.architecture != PLAIN.name:
        return None
    if vocabulary == 128_256:
        return "Llama-3"
    if vocabulary in (32_000, 32_001) and (layers, forward) in ((32, 11_008), (40, 13_824), (80, 28_672)):
        return "Llama-2"
    return "Mistral" if vocabulary in (32_000, 32_768, 131_072) and forward in (14_336, 32_768, 28_672) else None


def cost_of(weighed: Weighed, family: str | None) -> Cost:
    """What a recipe costs a model of this family."""
    if weighed.recipe == "MXFP4_MOE":
        return Cost(0.0, 0.0, 0.0, KEPT, True, 0.0)
    recipe = "F16" if weighed.recipe in ("BF16", "F32") else weighed.recipe
    mixed = weighed.fallback > MOSTLY
    kl = _on_curve(weighed.bpw) if mixed else _published(recipe, weighed.imatrix) or _on_curve(weighed.bpw)
    if family == "Llama-3" and not mixed:
        return Cost(kl, kl, kl, QUALITY_SOURCE, True, changed_at(kl))
    if family in ("Llama-2", "Mistral") and not mixed and (ratio := _ratio(recipe, family)) is not None:
        return Cost(kl * ratio, kl * ratio, kl * ratio, _source(family), True, _top(recipe, family, kl * ratio))
    source = f"estimated from Llama-3-8B ({QUALITY_SOURCE}); other families lost {LEAST:.2g} to 1 times as much"
    return Cost(kl, LEAST * kl, kl, source, False, changed_at(kl))


def _published(recipe: str, imatrix: bool) -> float | None:
    rows = sorted((q for q in LLAMA_3_8B if q.recipe == recipe), key=lambda q: q.imatrix != imatrix)
    return rows[0].kl if rows else None


def _on_curve(bpw: float) -> float:
    """KL of Llama-3-8B at so many bits per weight, between the best published recipes: linear in its logarithm."""
    points = sorted((LLAMA_3_8B_BPW[q.recipe], q.kl) for q in LLAMA_3_8B if q.recipe in LLAMA_3_8B_BPW)
    best = [(x, kl) for i, (x, kl) in enumerate(points) if kl == min(other for _, other in points[: i + 1])]
    return _between(best, bpw)


def _between(points: list[tuple[float, float]], x: float) -> float:
    """Linear in the logarithm of y between the points, and flat beyond them."""
    if x <= points[0][0]:
        return points[0][1]
    for (x0, y0), (x1, y1) in pairwise(points):
        if x <= x1:
            return exp(log(y0) + (log(y1) - log(y0)) * (x - x0) / (x1 - x0))
    return points[-1][1]


def changed_at(kl: float) -> float:
    """% of places where the likeliest token changes at this divergence, by Llama-3-8B's published pairs of the two."""
    if kl <= 0:
        return 0.0
    rows = [(a, _published(a.recipe, False)) for a in AGREEMENT if a.model == "Llama-3-8B"]
    points = sorted((log(known), 100 - a.same_top) for a, known in rows if known)
    return _between(points, log(kl))


def _logarithms(family: str) -> dict[str, float]:
    """Logarithm of a recipe's perplexity over the original's, by recipe."""
    if family == "Mistral":
        return {row.recipe: row.log_ratio for row in MISTRAL_7B}
    return {a.recipe: log(a.ratio) for a in AGREEMENT if a.model == FAMILIES[family]}


def _of_llama_3(recipe: str, imatrix: bool) -> float | None:
    rows = sorted((q for q in LLAMA_3_8B if q.recipe == recipe), key=lambda q: q.imatrix != imatrix)
    return log(1 + rows[0].delta / F16_PERPLEXITY) if rows else None


def _ratio(recipe: str, family: str) -> float | None:
    """How much of Llama-3-8B's loss a family had in this recipe; for a recipe not measured, at the nearest size."""
    known = _logarithms(family)
    imatrix = family == "Mistral"
    ratios = {
        name: value / theirs
        for name, value in known.items()
        if value > 0.002 and (theirs := _of_llama_3(name, imatrix)) and name in LLAMA_3_8B_BPW
    }
    if not ratios:
        return None
    size = LLAMA_3_8B_BPW.get(recipe, 16.0)
    return ratios[min(ratios, key=lambda name: abs(LLAMA_3_8B_BPW[name] - size))]


def _top(recipe: str, family: str, kl: float) -> float:
    """The family's own published share of changed tokens, where there is one for the recipe."""
    if family == "Mistral":
        return next((100 * row.top_differs for row in MISTRAL_7B if row.recipe == recipe), changed_at(kl))
    rows = (a for a in AGREEMENT if a.model == FAMILIES[family] and a.recipe == recipe)
    return next((100 - a.same_top for a in rows), changed_at(kl))


def _source(family: str) -> str:
    return f"{FAMILIES[family]}'s published perplexity beside Llama-3-8B's, whose KL is published ({QUALITY_SOURCE})"


LEAST = min(
    value / theirs
    for family in ("Llama-2", "Mistral")
    for name, value in _logarithms(family).items()
    if value > 0.01 and (theirs := _of_llama_3(name, family == "Mistral"))
)
