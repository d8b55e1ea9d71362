"""One recipe of each size, measured here and as published for a model a thousand times as large, side by side."""

from dataclasses import dataclass
from itertools import pairwise
from math import hypot

from quantlib.fit.published import QUALITY_SOURCE, quality_of
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
