"""One recipe of each size, measured here and as published for a model a thousand times as large, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import hypot

from quantlib.fit.published import LLAMA_3_8B_BPW, QUALITY_SOURCE, quality_of
from quantlib.lm import Measured, Sweep

LADDER = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")  # by falling size


@dataclass(frozen=True)
class Ladder:
    """rows: a table of plain values. words: where the order of losses is clear, where it is not, and the sources."""

    rows: list[dict]
    words: list[str]


def ladder(sweep: Sweep) -> Ladder:
    """The recipes of LADDER in a sweep with their losses, beside the published ones of Llama-3-8B."""
    found = [m for name in LADDER if (m := sweep.of(name)) is not None]
    words = [_step(larger, smaller) for larger, smaller in pairwise(found)]
    words.append(
        f"Measured: {sweep.source.replace('_', ' ')}, {found[0].total.tokens:,} tokens of {' and '.join(sweep.texts)}, "
        "± one standard error of the difference token by token. A small model says little about a large one: this "
        f"one's predictions are vague (perplexity {found[0].total.baseline:.1f}, where Llama-3-8B has 6.2), "
        "and vague predictions change less when weights are rounded."
        if found
        else "No recipe of the ladder was measured."
    )
    words.append(f"Published: Llama-3-8B, {QUALITY_SOURCE}.")
    return Ladder([_row(m) for m in found], words)


@dataclass(frozen=True)
class ByABit:
    """By what a KL divergence is multiplied for each bit less: from end to end of the ladder, and its steps' extremes.

    Between two recipes it is (KL of the smaller / KL of the larger) to the power of 1 / (their bits' difference).
    """

    overall: float
    least: float
    most: float


def by_a_bit(steps: Sequence[tuple[float, float]]) -> ByABit:
    """From (bits per weight, KL divergence) of recipes, the largest first; at least two of them."""
    factors = [_factor(larger, smaller) for larger, smaller in pairwise(steps)]
    return ByABit(_factor(steps[0], steps[-1]), min(factors), max(factors))


def _factor(larger: tuple[float, float], smaller: tuple[float, float]) -> float:
    return (smaller[1] / larger[1]) ** (1 / (larger[0] - smaller[0]))


def measured_by_a_bit(sweep: Sweep) -> ByABit | None:
    """Of a sweep; None where fewer than two recipes of the ladder lost anything."""
    steps = [(m.bpw, m.total.kl) for name in LADDER if (m := sweep.of(name)) is not None and m.total.kl > 0]
    return by_a_bit(steps) if len(steps) > 1 else None


def published_by_a_bit() -> ByABit:
    """Of Llama-3-8B as llama.cpp's authors measured it, without an importance matrix."""
    return by_a_bit([(LLAMA_3_8B_BPW[name], found.kl) for name in LADDER if (found := quality_of(name))])


def by_a_bit_words(sweep: Sweep) -> str:
    """What a bit costs, here and in a model a thousand times as large."""
    here, there = measured_by_a_bit(sweep), published_by_a_bit()
    words = (
        f"Published for Llama-3-8B it is {there.overall:.1f} times on average, from {there.least:.1f} to "
        f"{there.most:.1f}, and most below four bits."
    )
    if here is None:
        return words
    return (
        f"In the demo model each bit less multiplies the KL divergence by {here.overall:.1f} on average; from step to "
        f"step it is {here.least:.1f} to {here.most:.1f}. {words}"
    )


def _row(m: Measured) -> dict:
    published = quality_of(m.recipe)
    return {
        "recipe": m.recipe,
        "KL divergence": round(m.total.kl, 6),
        "bits per weight": round(m.bpw, 2),
        "perplexity added": round(m.total.difference, 4),
        "±": round(m.total.difference_stderr, 4),
        "changed top tokens, %": round(100 * m.total.changed_top, 2),
        "Llama-3-8B, published": published.delta if published else None,
        "± ": published.delta_error if published else None,
        "KL, published": published.kl if published else None,
    }


def _step(larger: Measured, smaller: Measured) -> str:
    """Whether the smaller of two recipes lost more, in both measures, beyond two standard errors.

    Both were compared with the same original on the same tokens; the root of their errors' squares bounds the error
    of their difference as long as the two do not err in opposite directions.
    """
    names = f"{smaller.recipe} against {larger.recipe}"
    parts = []
    for what, value, error, scale, unit in (
        ("perplexity", "difference", "difference_stderr", 1, ""),
        ("KL divergence", "kl", "kl_stderr", 1000, " thousandths of a nat"),
    ):
        gap = getattr(smaller.total, value) - getattr(larger.total, value)
        doubt = 2 * hypot(getattr(smaller.total, error), getattr(larger.total, error))
        verdict = "higher" if gap > doubt else "lower, against the published order" if gap < -doubt else "not clear"
        parts.append(f"{what} {verdict} ({scale * gap:+.3g} ± {scale * doubt / 2:.2g}{unit})")
    return f"{names}: {', '.join(parts)}."
