"""What speaks for or against each claim: words with numbers in them, a small picture, and where both come from."""

from collections import Counter
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np

from quantlib import formats
from quantlib.checkpoints import Checkpoint, Tensor, open_checkpoint
from quantlib.figures.bars import Bar, bars_html, shares_html
from quantlib.figures.floats import kept
from quantlib.figures.mixtures import FAMILIES
from quantlib.figures.weights import sample
from quantlib.fit.catalogue import KNOWN
from quantlib.fit.published import (
    AGREEMENT,
    AGREEMENT_SOURCE,
    BPW_SOURCE,
    LLAMA_3_8B,
    LLAMA_3_8B_BPW,
    LOADERS,
    QUALITY_SOURCE,
    SPEEDS,
    quality_of,
)
from quantlib.formats.integers import IntegerFormat
from quantlib.jobs import Plan
from quantlib.lm.answering import CALCULATOR
from quantlib.methods.rtn import round_to_nearest
from quantlib.metrics import compare
from quantlib.recipes import RECIPES, quantizable
from quantlib.tables import size

ABOUT = "Llama-3-8B"
BITS = (8, 7, 6, 5, 4, 3)


@dataclass(frozen=True)
class Evidence:
    """What was found: words with numbers in them, what kind of numbers they are and where from, and a picture."""

    words: str
    kind: Literal["measured", "exact", "published", "estimated"]
    source: str
    picture: str


def q2_k(checkpoint: Checkpoint) -> Evidence:
    """The size of a Q2_K block, and of a file made by the recipe of that name."""
    fmt = formats.get("Q2_K")
    whole = KNOWN[ABOUT].planned("Q2_K").bpw
    return Evidence(
        f"The codes are 2 bits. With its sub-scales, sub-minimums and two floats a super-block of {fmt.values} weights "
        f"takes {fmt.nbytes} bytes: 8 · {fmt.nbytes} ÷ {fmt.values} = **{fmt.bpw:g}** bits per weight. And the recipe "
        f"of that name gives many tensors more: Llama-3-8B comes out at **{whole:.2f}**.",
        "exact",
        "from the declaration of the block that packs and unpacks it, and from the recipe's rules",
        bars_html(
            [
                Bar("its codes", 2, "2"),
                Bar("a Q2_K block", fmt.bpw, f"{fmt.bpw:g}", "super-scale"),
                Bar("a Q2_K file", whole, f"{whole:.2f}", "sub-minimum"),
            ],
            "Bits for each weight of Llama-3-8B",
        ),
    )


def letters(checkpoint: Checkpoint) -> Evidence:
    """Whether Q3_K_S, _M and _L differ in their scales, or in their mixtures."""
    plans = [KNOWN[ABOUT].planned(name) for name in FAMILIES["Q3_K"]]
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
        shares_html(
            {p.recipe.name: _shares(p) for p in plans},
            {t.target: t.bpw for p in plans for t in p.tensors},
            "Which part of the weights has which format, Llama-3-8B",
        ),
    )


def _shares(found: Plan) -> dict[str, float]:
    """Formats of a plan by their share of the weights, the largest first."""
    counts: Counter[str] = Counter()
    for t in found.tensors:
        if quantizable(t.name, t.shape):
            counts[t.target] += prod(t.shape)
    return {name: count / counts.total() for name, count in counts.most_common()}


def lossless(checkpoint: Checkpoint) -> Evidence:
    """How many weights of a tensor Q8_0 changes, and what that was found to do to a model."""
    tensor = matrix(checkpoint)
    x = whole_blocks(sample(tensor, 1 << 18).values, 32)
    fmt = formats.get("Q8_0")
    back = fmt.dequantize(fmt.quantize(x))
    changed, loss = float(np.mean(back != x)), compare(x, back)
    row = quality_of("Q8_0")
    of_8b = [a for a in AGREEMENT if a.model == ABOUT]
    top = next(a for a in of_8b if a.recipe == "Q8_0")
    return Evidence(
        f"Of the weights of `{tensor.name}` Q8_0 changes **{changed:.1%}**; the relative error is {loss.relative:.2%}. "
        f"What that does to a model is small but not nothing: Llama-3-8B's perplexity rises by "
        f"{row.delta:.4f} ± {row.delta_error:.4f}, and at {100 - top.same_top:.1f}% of places another token leads.",
        "measured",
        f"weights: here, now; the model's figures: published, {QUALITY_SOURCE}",
        bars_html(
            [Bar(a.recipe, 100 - a.same_top, f"{100 - a.same_top:.1f} %", "error") for a in reversed(of_8b)],
            "Places where another token leads, Llama-3-8B",
        ),
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
        bars_html(
            [
                Bar("perplexity", 100 * (four.ratio - 1), f"+{100 * (four.ratio - 1):.1f} %"),
                Bar("likeliest tokens", 100 - four.same_top, f"{100 - four.same_top:.1f} % changed", "error"),
            ],
            "Llama-3-8B in Q4_K_M",
        ),
    )


def bf16_for_range(checkpoint: Checkpoint) -> Evidence:
    """What FP16's range costs the open model's weights, and which of the two is nearer to 32-bit weights."""
    picked = [t for t in checkpoint if len(t.shape) == 2 and t.decodable]
    found = [kept(sample(t, 1 << 16).values, [formats.get("BF16"), formats.get("FP16")])[1] for t in picked]
    count, overflowed, vanished = (sum(getattr(k, name) for k in found) for name in ("count", "overflowed", "vanished"))
    masters = [sample(t, 1 << 16).values for t in open_checkpoint(CALCULATOR) if len(t.shape) == 2]
    x = np.concatenate([values.reshape(-1) for values in masters])
    half, brain = (np.abs(round_trip(x, name) - x) for name in ("FP16", "BF16"))
    fp16, bf16 = int((half < brain).sum()), int((brain < half).sum())
    return Evidence(
        f"Range is what training needs, for gradients. Of {count:,} weights of this model, **{overflowed}** are too "
        f"large for FP16 and {vanished} become zero in it. And FP16 is finer: of {x.size:,} weights of the calculator, "
        f"which was trained in 32 bits, FP16 is nearer to **{fp16 / x.size:.0%}** and BF16 to {bf16 / x.size:.1%}. "
        "BF16 is what "
        "models are trained and published in, and converting one to FP16 changes next to nothing.",
        "measured",
        "on evenly spaced rows of every matrix of the open model, and of the calculator",
        bars_html(
            [
                Bar("FP16 is nearer", fp16, f"{fp16:,}", "fraction"),
                Bar("both the same", x.size - fp16 - bf16, f"{x.size - fp16 - bf16:,}"),
                Bar("BF16 is nearer", bf16, f"{bf16:,}", "exponent"),
            ],
            f"Of {x.size:,} weights in 32 bits, which 16-bit format is nearer",
        ),
    )


def round_trip(x: np.ndarray, name: str) -> np.ndarray:
    """What is read back of x (n,) after it was stored in a format."""
    fmt = formats.get(name)
    return fmt.dequantize(fmt.quantize(x))


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
        levels_line(d, m),
    )


def levels_line(d: float, m: float, levels: int = 16) -> str:
    """The levels m + d·q on a line with zero: whether one of them is zero is seen."""
    values = [m + d * q for q in range(levels)]
    span = max(abs(values[0]), abs(values[-1])) * 1.05
    places = [300 + 290 * value / span for value in values]
    ticks = "".join(f'<path class="level" d="M{x:.1f} 14V38"/>' for x in places)
    return (
        '<svg class="zero-line" viewBox="0 0 600 66" role="img" aria-label="The levels of a block of Q4_1, and zero '
        f'between two of them"><path class="axis" d="M0 26H600"/>{ticks}<path class="origin" d="M300 6V46"/>'
        '<text x="300" y="62">zero</text></svg>'
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
        bars_html(
            [
                Bar("without", without.delta, f"+{without.delta:.4f}"),
                Bar("with a matrix", with_it.delta, f"+{with_it.delta:.4f}", "sub-scale"),
            ],
            "Perplexity added by Q4_K_M, Llama-3-8B",
        ),
    )


def faster(checkpoint: Checkpoint) -> Evidence:
    """Speed of writing and of reading a prompt, with fewer and fewer bits: all that the source lists."""
    (read_16, write_16), (read_4, write_4) = SPEEDS["F16"], SPEEDS["Q4_K_M"]
    low = {name: write for name, (_, write) in SPEEDS.items() if LLAMA_3_8B_BPW[name] < 4}
    slowest, fastest = min(low, key=low.get), max(low, key=low.get)
    return Evidence(
        f"Writing is one token at a time, and each reads all weights: Llama-3.1-8B in Q4_K_M writes "
        f"**{write_4 / write_16:.1f} times** as fast as in F16 ({write_4:.0f} against {write_16:.0f} tokens a second). "
        f"Below four bits it hardly gets faster: of {len(low)} recipes the slowest writes {low[slowest]:.0f} "
        f"({slowest}) and the fastest {low[fastest]:.0f} ({fastest}). Reading a prompt uses each weight for many "
        "tokens at once. There arithmetic is the limit, and fewer bits are no faster: "
        f"{read_4:.0f} against {read_16:.0f}.",
        "published",
        f"{BPW_SOURCE}, on one machine",
        bars_html(
            [
                Bar(f"{name}, {LLAMA_3_8B_BPW[name]:.1f} bits", write, f"{write:.0f}")
                for name, (_, write) in sorted(SPEEDS.items(), key=lambda pair: -LLAMA_3_8B_BPW[pair[0]])
            ],
            "Tokens written a second, Llama-3.1-8B",
        ),
    )


def six_decibels(checkpoint: Checkpoint) -> Evidence:
    """Signal to noise of round to nearest, bit by bit."""
    tensor = matrix(checkpoint)
    x = whole_blocks(sample(tensor, 1 << 17).values, 128)
    losses = [compare(x, round_to_nearest(x, IntegerFormat(bits)).decoded) for bits in BITS]
    noise, errors = [loss.sqnr for loss in losses], [loss.relative for loss in losses]
    steps = -np.diff(noise)
    listed = ", ".join(f"{bits} bits {db:.1f}" for bits, db in zip(BITS, noise, strict=True))
    return Evidence(
        f"Rounded to nearest in groups of 128, `{tensor.name}` keeps this many decibels between weights and error: "
        f"{listed}. Each bit less costs **{steps.mean():.1f} dB** in the mean, and 6.02 dB is a factor of two. It "
        "costs a little more as levels get few, because a symmetric grid of 2ᵇ − 1 levels loses one of them.",
        "measured",
        f"on {x.size:,} weights, INT8 to INT3, one FP16 scale a group",
        bars_html(
            [
                Bar(f"{bits} bits", error, f"{100 * error:.2g} %", "error")
                for bits, error in zip(BITS, errors, strict=True)
            ],
            "Relative error of the weights",
        ),
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
        bars_html(
            [Bar(a.model, a.ratio - 1, f"× {a.ratio:.2f}", "error") for a in (small, large)],
            "What Q2_K does to perplexity",
        ),
    )


def seventy(checkpoint: Checkpoint) -> Evidence:
    """What 70 billion weights take in F32, and in fewer bits: counted from a shape."""
    sizes = {name: KNOWN["Llama-3-70B"].planned(name).nbytes for name in ("F32", "BF16", "Q8_0", "Q4_K_M", "Q2_K")}
    count = KNOWN["Llama-3-70B"].parameters
    return Evidence(
        f"32 bits are four bytes, and Llama-3-70B has {count:,} weights: **{size(sizes['F32'])}**. "
        f"Hardly anybody runs it so. Models are published in 16 bits, {size(sizes['BF16'])}; Q4_K_M leaves "
        f"{size(sizes['Q4_K_M'])}.",
        "exact",
        "from the shapes of its tensors and the recipes' rules",
        bars_html([Bar(name, n, size(n)) for name, n in sizes.items()], "Size of Llama-3-70B"),
    )


def iq4_xs(checkpoint: Checkpoint) -> Evidence:
    """IQ4_XS beside Q4_K_M, both with an importance matrix: size and divergence."""
    small, usual = (next(q for q in LLAMA_3_8B if q.recipe == name and q.imatrix) for name in ("IQ4_XS", "Q4_K_M"))
    below = next(q for q in LLAMA_3_8B if q.recipe == "Q3_K_L" and q.imatrix)
    saved = 1 - LLAMA_3_8B_BPW[small.recipe] / LLAMA_3_8B_BPW[usual.recipe]
    return Evidence(
        f"Both with an importance matrix, Llama-3-8B: IQ4_XS takes **{saved:.0%} fewer bits** and its KL divergence is "
        f"{small.kl:.3f} nats instead of {usual.kl:.3f}. The k-quant below it, Q3_K_L, already has {below.kl:.3f}.",
        "published",
        f"{QUALITY_SOURCE}; bits: {BPW_SOURCE}",
        bars_html(
            [
                Bar(f"{q.recipe}, {LLAMA_3_8B_BPW[q.recipe]:.2f} bits", q.kl, f"{q.kl:.3f}", "error")
                for q in LLAMA_3_8B
                if q.imatrix and q.recipe in ("Q4_K_M", "IQ4_XS", "Q3_K_L", "Q3_K_M")
            ],
            "KL divergence of Llama-3-8B, nats",
        ),
    )


def processors(checkpoint: Checkpoint) -> Evidence:
    """Which programs run GPTQ and AWQ files without a graphics card, by their own documentation."""
    able = [loader for loader in LOADERS if "CPU" in loader.runs_on]
    found = {kind: [loader.name for loader in able if kind in loader.takes] for kind in ("GGUF", "GPTQ", "AWQ")}
    return Evidence(
        f"{' and '.join(found['GPTQ'])} run on a CPU and read GPTQ and AWQ files. GGUF is read by more programs there: "
        f"{len(found['GGUF'])} of those that run on a CPU.",
        "published",
        "; ".join(loader.source for loader in able),
        bars_html(
            [Bar(kind, len(names), ", ".join(names), "sub-scale") for kind, names in found.items()],
            "Programs that run these files on a CPU",
        ),
    )


CLAIMED = {"Q8_0": (0.01, 0.01), "Q5_K_M": (0.05, 0.1), "Q4_K_M": (0.1, 0.2), "Q3_K_M": (0.3, 0.5), "Q2_K": (1.0, 1.0)}


def seventy_table(checkpoint: Checkpoint) -> Evidence:
    """A table that is passed around without a source, beside the one that has one."""
    rows = [(name, high, quality_of(name)) for name, (_, high) in CLAIMED.items()]
    return Evidence(
        "These figures are passed around as measured on Llama 3 70B by TheBloke. We found no page that has them, and "
        "that uploader stopped in January 2024, before Llama 3 appeared. What llama.cpp's authors publish is of "
        "Llama-3-8B: "
        + ", ".join(f"{name} {found.delta:+.3f}" for name, _, found in rows)
        + ". A larger model usually loses less, so the claim may be near the truth. Nobody shows it.",
        "published",
        QUALITY_SOURCE,
        bars_html(
            [
                bar
                for name, high, found in rows
                for bar in (
                    Bar(f"{name}, claimed", high, f"up to {high:g}"),
                    Bar("Llama-3-8B", found.delta, f"{found.delta:.3f}", "error"),
                )
            ],
            "Perplexity added: claimed for a 70B, and published for an 8B",
        ),
    )


def matrix(checkpoint: Checkpoint) -> Tensor:
    """The matrix that claims are checked on: the first feed-forward down projection, else the largest matrix."""
    found = [t for t in checkpoint if len(t.shape) == 2 and t.decodable]
    return next((t for t in found if "down" in t.name), max(found, key=lambda t: t.size))


def whole_blocks(x: np.ndarray, values: int) -> np.ndarray:
    """As many weights as fill blocks of so many, float32 (n,)."""
    return x[: x.size // values * values]
