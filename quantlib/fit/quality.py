"""What a recipe costs: published where it was measured for the model, and elsewhere a range from other models.

The cost is the mean KL divergence of the model's predictions from the original's. One model has it published for every
recipe, Llama-3-8B. Others have their perplexity published, or the divergence of a few recipes: there the loss is
Llama-3-8B's times a ratio, that of the logarithms of their perplexities' growth or of the divergences themselves. A
model of which nothing is published is expected between the least and the largest of these ratios; one of a family with
two measured sizes, between theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from math import exp, log, sqrt

from quantlib.architectures import by_name
from quantlib.checkpoints import Checkpoint
from quantlib.fit.published import (
    AGREEMENT,
    LLAMA_3_8B,
    LLAMA_3_8B_BPW,
    MISTRAL_7B,
    MISTRAL_SOURCE,
    ON_OTHER_TEXTS,
    PERPLEXITIES,
    PERPLEXITY_SOURCE,
    QUALITY_SOURCE,
    QWEN_36_27B,
    QWEN_36_SOURCE,
    SCOUT,
    SCOUT_SOURCE,
    SMALL,
    TRAINED,
)
from quantlib.fit.weighing import Weighed

F16_PERPLEXITY = 6.2332  # of Llama-3-8B in the same table
MOSTLY = 0.25  # share of weights in formats that stand in, above which a recipe's name says little
SAME_SIZE = 1.1  # a model within 10% of a measured one's size, and of its family, is taken as that one
KEPT = "the weights as they are published"


@dataclass(frozen=True)
class Loss:
    """What is published of one model. kl: mean divergence by recipe and whether an importance matrix was used; ratios:
    its loss over Llama-3-8B's, by recipe; top: % of places where the likeliest next token changes, by recipe."""

    model: str
    family: str
    parameters: float
    source: str
    kl: Mapping[tuple[str, bool], float] = field(default_factory=dict, hash=False)
    ratios: Mapping[str, float] = field(default_factory=dict, hash=False)
    top: Mapping[str, float] = field(default_factory=dict, hash=False)

    def ratio(self, recipe: str) -> float | None:
        """Of Llama-3-8B's loss; for a recipe that was not measured, between the next sizes that were."""
        if recipe in self.ratios:
            return self.ratios[recipe]
        known = sorted((LLAMA_3_8B_BPW[name], ratio) for name, ratio in self.ratios.items() if name in LLAMA_3_8B_BPW)
        return _between(known, LLAMA_3_8B_BPW.get(recipe, 16.0)) if known else None


@dataclass(frozen=True)
class Kin:
    """A model among those that were measured: its family, "" where there is none, and its weights."""

    family: str
    parameters: int


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
        return f"KL {digits(self.low)} to {digits(self.high)}, estimated"

    @property
    def sourced(self) -> str:
        """The cost with where it comes from, as one or two sentences."""
        joined = f"{self.words}. Source: " if self.published else f"{self.words.removesuffix(' estimated')} "
        return f"{joined}{self.source}."


def digits(value: float) -> str:
    """Two digits, without an exponent."""
    return f"{value:.{max(0, 1 - int(f'{value:e}'.partition('e')[2]))}f}" if value > 0 else "0"


def kin_of(view: Checkpoint) -> Kin:
    """The family with published figures that a model belongs to, by architecture and vocabulary, and its size."""
    embedding = view.tensors.get("token_embd.weight")
    vocabulary = embedding.shape[0] if embedding is not None and embedding.shape else 0
    layers, forward = (view.value(f"{view.architecture}.{key}", 0) for key in ("block_count", "feed_forward_length"))
    known = by_name(view.architecture or "")
    if known is None:
        return Kin("", view.size)
    family = known.generation(vocabulary, layers, forward) if known.generation else None
    return Kin(known.title if family is None else family, view.size)


def on_other_texts(kin: Kin, cache_format: str) -> list[str]:
    """What was published of this family on texts that do not compare with the figures here: a sentence each."""
    found = ON_OTHER_TEXTS.get(kin.family)
    if found is None:
        return []
    said = [f"On other texts more is lost: {found.weights}."]
    return said if cache_format == "FP16" else [*said, f"So it is with the cache: {found.cache}."]


def cost_of(weighed: Weighed, kin: Kin) -> Cost:
    """What a recipe costs such a model."""
    if weighed.recipe == "MXFP4_MOE":
        return Cost(0.0, 0.0, 0.0, KEPT, True, 0.0)
    recipe = "F16" if weighed.recipe in ("BF16", "F32") else weighed.recipe
    if weighed.fallback > MOSTLY:
        return _elsewhere(_on_curve(weighed.bpw))
    kl = _published(recipe, weighed.imatrix) or _on_curve(weighed.bpw)
    family = [loss for loss in losses() if loss.family == kin.family]
    for loss in family:
        if 1 / SAME_SIZE < loss.parameters / kin.parameters < SAME_SIZE:
            return _of_model(loss, recipe, weighed.imatrix, kl) or _elsewhere(kl)
    ratios = [ratio for loss in family if (ratio := loss.ratio(recipe)) is not None]
    return _of_family(family, ratios, kl) if len(ratios) > 1 else _elsewhere(kl)


def _of_model(loss: Loss, recipe: str, imatrix: bool, kl: float) -> Cost | None:
    """The measured model's own figure, or by the growth of its perplexity."""
    direct, ratio = loss.kl.get((recipe, imatrix)), loss.ratio(recipe)
    if direct is None and ratio is None:
        return None
    known = direct if direct is not None else kl * (ratio or 1.0)
    if direct is None and recipe not in loss.ratios:
        low, high = min(spread()[0] * kl, known), max(kl, known)
        source = f"estimated from the recipes of {loss.model} that were measured ({loss.source})"
        return Cost(known, low, high, source, False, changed_at(known))
    beside = "" if direct is not None else f" beside Llama-3-8B’s, whose KL is published ({QUALITY_SOURCE})"
    return Cost(known, known, known, f"{loss.source}{beside}", True, loss.top.get(recipe, changed_at(known)))


def _of_family(family: list[Loss], ratios: list[float], kl: float) -> Cost:
    names = " and ".join(loss.model for loss in family)
    low, high = min(ratios) * kl, max(ratios) * kl
    source = f"estimated from {names} ({family[0].source})"
    return Cost(sqrt(low * high), low, high, source, False, changed_at(sqrt(low * high)))


def _elsewhere(kl: float) -> Cost:
    least, most = spread()
    said = f"other models lost {least:.2g} to {most:.2g} times as much"
    source = f"estimated from Llama-3-8B ({QUALITY_SOURCE}); {said}"
    return Cost(kl, least * kl, most * kl, source, False, changed_at(kl))


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


def _of_llama_3(recipe: str, imatrix: bool) -> float | None:
    """Logarithm of Llama-3-8B's perplexity in this recipe over the original's."""
    rows = sorted((q for q in LLAMA_3_8B if q.recipe == recipe), key=lambda q: q.imatrix != imatrix)
    return log(1 + rows[0].delta / F16_PERPLEXITY) if rows else None


def _over_llama_3(logarithms: Mapping[str, float], imatrix: bool) -> dict[str, float]:
    """Growth of a perplexity over that of Llama-3-8B's, by recipe; where it is too small to tell, nothing."""
    return {
        name: value / theirs
        for name, value in logarithms.items()
        if value > 0.002 and (theirs := _of_llama_3(name, imatrix))
    }


@cache
def losses() -> tuple[Loss, ...]:
    """Every model of which a loss is published."""
    llama_2 = [a for a in AGREEMENT if a.model == "Llama-2-7B"]
    return (
        Loss("Llama-3-8B", "Llama-3", 8.03e9, QUALITY_SOURCE, {(q.recipe, q.imatrix): q.kl for q in LLAMA_3_8B}),
        Loss(
            "Llama-2-7B", "Llama-2", 6.74e9, "Llama-2-7B’s published perplexity",
            ratios=_over_llama_3({a.recipe: log(a.ratio) for a in llama_2}, False),
            top={a.recipe: 100 - a.same_top for a in llama_2},
        ),
        Loss(
            "Mistral-7B", "Mistral", 7.24e9, f"Mistral-7B’s published perplexity ({MISTRAL_SOURCE})",
            ratios=_over_llama_3({row.recipe: row.log_ratio for row in MISTRAL_7B}, True),
            top={row.recipe: 100 * row.top_differs for row in MISTRAL_7B},
        ),
        *(
            Loss(
                known.model, known.family, known.parameters,
                f"{known.model}’s published perplexity ({PERPLEXITY_SOURCE})",
                ratios=_over_llama_3({name: log(value / known.base) for name, value in known.rows.items()}, True),
            )
            for known in PERPLEXITIES
        ),
        Loss(
            "Qwen3.6-27B", "Qwen3.5", 27.3e9, QWEN_36_SOURCE,
            {(name, True): kl for name, (kl, _) in QWEN_36_27B.items()},
            {name: kl / known for name, (kl, _) in QWEN_36_27B.items() if (known := _published(name, True))},
            {name: top for name, (_, top) in QWEN_36_27B.items()},
        ),
        Loss(
            "Llama-4-Scout", "Llama 4", 107.8e9, SCOUT_SOURCE, {(name, True): kl for name, kl in SCOUT.items()},
            {name: kl / known for name, kl in SCOUT.items() if (known := _published(name, True))},
        ),
    )  # fmt: skip


@cache
def spread() -> tuple[float, float]:
    """The least and the largest loss of a measured model over Llama-3-8B's in the same recipe."""
    # From four bits down: above, the differences are of the size of their errors.
    ratios = [loss.ratios[name] for loss in losses() for name in loss.ratios if LLAMA_3_8B_BPW.get(name, 16.0) < 5]
    direct = [(kl, _published(name, True)) for name, kl in TRAINED.items() if LLAMA_3_8B_BPW[name] < 5]
    direct += [(kl, _published(name, imatrix)) for (name, imatrix), kl in SMALL.items()]
    ratios += [kl / known for kl, known in direct if known]
    return min(ratios), max(ratios)
