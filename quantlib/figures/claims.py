"""Things commonly said of quantization, each with a verdict that is computed here or has a source."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from quantlib import formats
from quantlib.checkpoints import Checkpoint, Tensor
from quantlib.figures.floats import kept
from quantlib.figures.mixtures import FAMILIES
from quantlib.figures.weights import sample
from quantlib.fit.published import (
    AGREEMENT,
    AGREEMENT_SOURCE,
    BPW_SOURCE,
    LLAMA_3_8B,
    QUALITY_SOURCE,
    SPEEDS,
    quality_of,
)
from quantlib.fit.shapes import KNOWN
from quantlib.formats.integers import IntegerFormat
from quantlib.jobs import plan
from quantlib.methods.rtn import round_to_nearest
from quantlib.metrics import compare
from quantlib.recipes import RECIPES, quantizable

TRUE, FALSE, NOT_SHOWN = "true", "false", "nobody has shown it"
VERDICTS = (TRUE, FALSE, NOT_SHOWN)
BITS = (8, 7, 6, 5, 4, 3)


@dataclass(frozen=True)
class Evidence:
    """What was found: words with the numbers in them, what kind of numbers they are, and where they come from."""

    words: str
    kind: Literal["measured", "exact", "published", "estimated"]
    source: str


@dataclass(frozen=True)
class Claim:
    """A sentence that people say, the verdict, and the function that gathers the evidence from a checkpoint."""

    key: str
    text: str
    verdict: str
    evidence: Callable[[Checkpoint], Evidence]


def q2_k(checkpoint: Checkpoint) -> Evidence:
    """The size of a Q2_K block, and of a file made by the recipe of that name."""
    fmt = formats.get("Q2_K")
    whole = plan(KNOWN["Llama-3-8B"].checkpoint(), "Q2_K").bpw
    return Evidence(
        f"The codes are 2 bits. With its sub-scales, sub-minimums and two floats a super-block of {fmt.values} weights "
        f"takes {fmt.nbytes} bytes: 8 · {fmt.nbytes} ÷ {fmt.values} = **{fmt.bpw:g}** bits per weight. And the recipe "
        f"of that name gives many tensors more: Llama-3-8B comes out at **{whole:.2f}**.",
        "exact",
        "from the declaration of the block that packs and unpacks it, and from the recipe's rules",
    )


def letters(checkpoint: Checkpoint) -> Evidence:
    """Whether Q3_K_S, _M and _L differ in their scales, or in their mixtures."""
    shape = KNOWN["Llama-3-8B"].checkpoint()
    plans = [plan(shape, name) for name in FAMILIES["Q3_K"]]
    raised = [Counter(t.target for t in p.tensors if quantizable(t.name, t.shape)) for p in plans]
    listed = "; ".join(
        f"**{p.recipe.name[-1]}**: {', '.join(f'{n} {name}' for name, n in found.most_common())}, {p.bpw:.2f} bits"
        for p, found in zip(plans, raised, strict=True)
    )
    scale = next(f for f in formats.get("Q3_K").layout.fields if f.role == "sub-scale")
    return Evidence(
        f"In all three a Q3_K block has {scale.count} scales of {scale.width} bits. The letter says which tensors are "
        f"**not** Q3_K, and what they get instead. Llama-3-8B's matrices: {listed} per weight.",
        "exact",
        "from the plans of the three recipes, whose rules are checked against llama-quantize",
    )


def lossless(checkpoint: Checkpoint) -> Evidence:
    """How many weights of a tensor Q8_0 changes, and what that was found to do to a model."""
    tensor = matrix(checkpoint)
    x = whole_blocks(sample(tensor, 1 << 18).values, 32)
    fmt = formats.get("Q8_0")
    back = fmt.dequantize(fmt.quantize(x))
    changed, loss = float(np.mean(back != x)), compare(x, back)
    row = quality_of("Q8_0")
    top = next(a for a in AGREEMENT if (a.model, a.recipe) == ("Llama-3-8B", "Q8_0"))
    return Evidence(
        f"Of the weights of `{tensor.name}` Q8_0 changes **{changed:.1%}**, by {loss.relative:.2%} of a typical weight "
        f"({loss.sqnr:.0f} dB). What that does to a model is small but not nothing: Llama-3-8B's perplexity rises by "
        f"{row.delta:.4f} ± {row.delta_error:.4f}, and at {100 - top.same_top:.1f}% of places another token leads.",
        "measured",
        f"weights: here, now; the model's figures: published, {QUALITY_SOURCE}",
    )


def perplexity_stands_still(checkpoint: Checkpoint) -> Evidence:
    """What changes while perplexity hardly moves."""
    found = {(a.model, a.recipe): a for a in AGREEMENT}
    four, two = found["Llama-3-8B", "Q4_K_M"], found["Llama-2-7B", "Q4_K_M"]
    return Evidence(
        f"Llama-3-8B in Q4_K_M: perplexity × {four.ratio:.3f}, which sounds like nothing, while at "
        f"**{100 - four.same_top:.1f}%** of places another token comes first, and in the worst one the right token "
        f"loses {four.worst:.0f} points of probability. Llama-2-7B: × {two.ratio:.3f} and {100 - two.same_top:.1f}%. "
        "Perplexity is an average over places that get better and places that get worse.",
        "published",
        AGREEMENT_SOURCE,
    )


def bf16_for_range(checkpoint: Checkpoint) -> Evidence:
    """What FP16's range costs the weights of this model, and what its finer fraction gives."""
    picked = [t for t in checkpoint if len(t.shape) == 2 and t.decodable]
    found = [kept(sample(t, 1 << 16).values, [formats.get("BF16"), formats.get("FP16")])[1] for t in picked]
    count = sum(k.count for k in found)
    overflowed, vanished, finer = (sum(getattr(k, n) for k in found) for n in ("overflowed", "vanished", "finer"))
    return Evidence(
        f"Range is what training needs, for gradients. Of {count:,} weights of this model, from each of its matrices, "
        f"**{overflowed}** are too large for FP16 and {vanished} become zero in it; around {finer / count:.2%} of them "
        "its next number is nearer, because it has three more bits of fraction. BF16 is what models are trained and "
        "published in, and converting one to FP16 changes next to nothing.",
        "measured",
        "on evenly spaced rows of every matrix of the open model",
    )


def zero_point(checkpoint: Checkpoint) -> Evidence:
    """A block's minimum in units of its scale: a zero point would have to be a whole number."""
    fmt = formats.get("Q4_1")
    x = whole_blocks(sample(matrix(checkpoint), 1 << 14).values, fmt.values)
    codes = fmt.trace(x[: fmt.values]).codes
    d, m = (float(codes[name][0]) for name in ("d", "m"))
    return Evidence(
        f"A zero point z is the **code** that means zero, a whole number: x = s · (q − z). A minimum m is a **value** "
        f"that is added: x = d · q + m. The first block of this model in Q4_1 has d = {d:.5g} and m = {m:.5g}; as a "
        f"zero point that would be −m ÷ d = **{-m / d:.3f}**, which is none. GPTQ and AWQ store zero points, GGUF's "
        "Q4_1 stores m, and k-quants subtract a minimum: x = d · sc · q − dmin · mn. With a zero point zero itself is "
        "always a level; with a minimum it need not be.",
        "measured",
        "the block as ggml's quantizer stores it",
    )


def importance(checkpoint: Checkpoint) -> Evidence:
    """Which recipes need an importance matrix, and what one did to a k-quant."""
    free = [r.name for r in RECIPES.values() if r.name.startswith("IQ") and not r.needs_importance]
    bound = [r.name for r in RECIPES.values() if not r.name.startswith("IQ") and r.needs_importance]
    with_it, without = (next(q for q in LLAMA_3_8B if q.recipe == "Q4_K_M" and q.imatrix is w) for w in (True, False))
    return Evidence(
        "IQ formats are **codebooks**: a code is an index into a table. An importance matrix is a list of weights for "
        f"the errors, and any format can use it. {', '.join(free)} do without one; {', '.join(bound)}, a k-quant, "
        f"needs one. And it helps k-quants: Q4_K_M of Llama-3-8B adds {without.delta:.4f} of perplexity without, "
        f"**{with_it.delta:.4f}** with one.",
        "published",
        f"perplexity: {QUALITY_SOURCE}; what needs one: the recipes' own declarations",
    )


def faster(checkpoint: Checkpoint) -> Evidence:
    """Speed of writing and of reading a prompt, with fewer and fewer bits."""
    (read_16, write_16), (read_4, write_4) = SPEEDS["F16"], SPEEDS["Q4_K_M"]
    return Evidence(
        f"Writing is one token at a time, and each reads all weights: Llama-3.1-8B in Q4_K_M writes "
        f"**{write_4 / write_16:.1f} times** as fast as in F16 ({write_4:.0f} against {write_16:.0f} tokens a second). "
        f"Reading a prompt uses each weight for many tokens at once, so arithmetic is the limit, and there fewer bits "
        f"are no faster: {read_4:.0f} against {read_16:.0f}, because the weights must be decoded first.",
        "published",
        f"{BPW_SOURCE}, on one machine",
    )


def six_decibels(checkpoint: Checkpoint) -> Evidence:
    """Signal to noise of round to nearest, bit by bit."""
    tensor = matrix(checkpoint)
    x = whole_blocks(sample(tensor, 1 << 17).values, 128)
    noise = [compare(x, round_to_nearest(x, IntegerFormat(bits)).decoded).sqnr for bits in BITS]
    steps = -np.diff(noise)
    listed = ", ".join(f"{bits} bits {db:.1f}" for bits, db in zip(BITS, noise, strict=True))
    return Evidence(
        f"Rounded to nearest in groups of 128, `{tensor.name}` keeps this many decibels between weights and error: "
        f"{listed}. Each bit less costs **{steps.mean():.1f} dB** in the mean, and 6.02 dB is a factor of two. It "
        "costs a little more as levels get few, because a symmetric grid of 2ᵇ − 1 levels loses one of them.",
        "measured",
        f"on {x.size:,} weights, INT8 to INT3, one FP16 scale a group",
    )


def tuned(checkpoint: Checkpoint) -> Evidence:
    """Why there is no verdict on tuned against base models."""
    small, large = (next(a for a in AGREEMENT if (a.model, a.recipe) == (m, "Q2_K")) for m in
                    ("Llama-2-7B", "Llama-3-8B"))  # fmt: skip
    return Evidence(
        "It may be so for one model and one task, and we know of no measurement that shows it in general. Perplexity "
        "cannot: tuning itself raises it, as llama.cpp's authors warn, so tuned and base models are not comparable. "
        f"What is measured is how much **models** differ: Q2_K multiplies Llama-2-7B's perplexity by {small.ratio:.2f} "
        f"and Llama-3-8B's by {large.ratio:.2f}. Measure the model that you will run, on text like yours.",
        "published",
        AGREEMENT_SOURCE,
    )


CLAIMS = (
    Claim("bits", "Q2_K stores two bits for each weight.", FALSE, q2_k),
    Claim("letters", "_S, _M and _L say how precise the scales are.", FALSE, letters),
    Claim("decibels", "Each bit less doubles the error.", TRUE, six_decibels),
    Claim("lossless", "Q8_0 is lossless.", FALSE, lossless),
    Claim("still", "If perplexity stands still, the answers do too.", FALSE, perplexity_stands_still),
    Claim("range", "BF16 is the better 16-bit format for weights, because of its range.", FALSE, bf16_for_range),
    Claim("zero", "A zero point and a minimum are two names for one thing.", FALSE, zero_point),
    Claim("importance", "I-quants, and only they, work with an importance matrix.", FALSE, importance),
    Claim("faster", "A model writes faster in fewer bits because fewer bytes are read.", TRUE, faster),
    Claim("tuned", "Instruction-tuned models stand quantization better than base models.", NOT_SHOWN, tuned),
)


def matrix(checkpoint: Checkpoint) -> Tensor:
    """The matrix that claims are checked on: the first feed-forward down projection, else the largest matrix."""
    found = [t for t in checkpoint if len(t.shape) == 2 and t.decodable]
    return next((t for t in found if "down" in t.name), max(found, key=lambda t: t.size))


def whole_blocks(x: np.ndarray, values: int) -> np.ndarray:
    """As many weights as fill blocks of so many, float32 (n,)."""
    return x[: x.size // values * values]


def score(guesses: dict[str, str | None]) -> tuple[int, int]:
    """Right guesses, and guesses."""
    said = {c.key: c for c in CLAIMS if guesses.get(c.key)}
    return sum(guesses[key] == claim.verdict for key, claim in said.items()), len(said)
