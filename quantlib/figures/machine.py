"""What the machine does with stored weights: speeds, one block in the processor's registers, the cache's cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from time import thread_time

import numpy as np

from quantlib import formats
from quantlib.figures.plane import NARROW, WIDE, Plane, readable
from quantlib.figures.quiz import Question
from quantlib.fit.published import LLAMA_3_8B_BPW, SPEEDS
from quantlib.lm.caching import CacheCost
from quantlib.lm.threads import single_threaded_blas
from quantlib.methods.products import IN_INTEGERS, expanded, in_integers

READING, WRITING = "512 tokens at once", "one token at a time"
WIDTH, NAMES, BAR = 940, 190, 560
SHAPES = {WIDE: (WIDTH, NAMES, BAR), NARROW: (400, 124, 128)}  # of the speeds: width, where bars begin, the longest
ROWS = COLUMNS = 2048  # of the matrix that is measured
TIMES = 3  # the fastest of so many counts
MEASURED = ("Q8_0", "Q4_0", "Q4_K", "Q2_K")
SHOWN = ("F16", "Q8_0", "Q4_K_M", "Q2_K", "IQ1_S")  # of the published table


# Published speeds


@dataclass(frozen=True)
class Speed:
    """A recipe's published speed, tokens a second, and the bits that it reads for a weight."""

    recipe: str
    bits: float
    reading: float
    writing: float


def speeds() -> list[Speed]:
    return [Speed(name, 16.0 if name == "F16" else LLAMA_3_8B_BPW[name], *SPEEDS[name]) for name in SHOWN]


def speeds_svg(at_once: str, plane: Plane = WIDE) -> str:
    """Tokens a second by recipe; behind each bar what the fewer bits alone would give, where one token is written."""
    found = speeds()
    values = [s.reading if at_once == READING else s.writing for s in found]
    hoped = [found[0].writing * found[0].bits / s.bits for s in found] if at_once == WRITING else [0.0] * len(found)
    most = max(*values, *hoped)
    width, left, long = SHAPES[plane]
    parts = []
    for i, (s, value, hope) in enumerate(zip(found, values, hoped, strict=True)):
        y, reach = 34 + 62 * i, long * value / most
        parts.append(
            f'<text class="name" x="{left - 14}" y="{y + 4}" text-anchor="end">{escape(s.recipe)}</text>'
            f'<text class="small" x="{left - 14}" y="{y + 21}" text-anchor="end">{s.bits:.1f} bits a weight</text>'
        )
        if hope:
            parts.append(f'<rect class="hoped" x="{left}" y="{y - 18}" width="{long * hope / most:.1f}" height="44"/>')
        parts.append(
            f'<rect class="bar" x="{left}" y="{y - 11}" width="{reach:.1f}" height="30" rx="3"/>'
            f'<text class="name" x="{left + max(reach, long * hope / most) + 10:.1f}" y="{y + 9}">{value:.0f} tokens '
            "a second</text>"
        )
    title = f"Published speed of Llama-3.1-8B by recipe, {at_once}"
    return _svg("speeds", 62 * len(found) + 20, title, parts, width)


def speeds_in_words(at_once: str) -> str:
    found = speeds()
    first, last = found[0], found[-1]
    if at_once == READING:
        return (
            f"Reading a prompt, the machine multiplies each weight with 512 tokens, so fetching it hardly counts. From "
            f"{first.recipe} to {last.recipe} the speed goes from {first.reading:.0f} to {last.reading:.0f} tokens a "
            f"second, {1 - last.reading / first.reading:.0%} slower: every weight must be unpacked."
        )
    fewer, faster = first.bits / last.bits, last.writing / first.writing
    before = found[-2]
    return (
        f"Writing one token, the machine fetches every weight from memory once. {last.recipe} has {fewer:.1f} times "
        f"fewer bits than {first.recipe} and writes {faster:.1f} times faster. The pale bars show what the bits alone "
        f"would give. From {before.recipe} to {last.recipe} the bits fall by {1 - last.bits / before.bits:.0%}, "
        f"and the speed goes from {before.writing:.1f} to {last.writing:.1f}."
    )


PAIRS = (
    (WRITING, "Q8_0", "Q4_K_M"),
    (WRITING, "Q2_K", "IQ1_M"),
    (WRITING, "Q3_K_M", "Q4_K_S"),
    (READING, "F16", "Q2_K"),
    (READING, "Q8_0", "Q5_K_M"),
)


def questions() -> list[Question]:
    """Which of two recipes is faster, by the published table."""
    return [_faster(*pair) for pair in PAIRS]


def _faster(at_once: str, first: str, second: str) -> Question:
    bits = {name: 16.0 if name == "F16" else LLAMA_3_8B_BPW[name] for name in (first, second)}
    speed = {name: SPEEDS[name][at_once == WRITING] for name in bits}
    faster, slower = sorted(bits, key=lambda name: -speed[name])
    return Question(
        f"Which is faster at {at_once}?",
        (first, second),
        faster,
        f"{speed[faster]:.0f} tokens a second with {bits[faster]:.1f} bits a weight, {speed[slower]:.0f} with "
        f"{bits[slower]:.1f}.",
    )


# One block in the registers


def registers_svg(weights: np.ndarray, x: np.ndarray) -> str:
    """A Q4_0 block of 32 real weights times 32 activations in Q8_0, instruction by instruction, as rows of cells."""
    form, eight = formats.get("Q4_0"), formats.get("Q8_0")
    data, read = form.quantize(weights[None]).reshape(-1), eight.unpack(eight.quantize(x[None]).reshape(1, -1))
    codes = form.unpack(data[None])["q"].reshape(-1).astype(int)
    a = read["q"].reshape(-1).astype(int)
    products = (codes - 8) * a
    sums = products.reshape(4, 8).sum(axis=0)
    d, da = float(data[:2].view(np.float16)[0]), float(np.asarray(read["d"], np.float32).reshape(-1)[0])
    rows = (
        ("16 bytes come from memory in one load", [f"{b:02x}" for b in data[2:]], "bytes"),
        ("one mask and one shift make 32 codes; 8 is taken off each", [str(c - 8) for c in codes], "codes"),
        ("32 activations as signed bytes, one load", [str(v) for v in a], "activations"),
        ("32 products", [str(p) for p in products], "products"),
        ("added up side by side, four to a lane", [str(s) for s in sums], "sums"),
    )
    parts, y = [], 6
    for words, cells, role in rows:
        y += 20
        parts.append(f'<text class="small" x="0" y="{y}">{escape(words)}</text>')
        wide = WIDTH / len(cells)
        for i, cell in enumerate(cells):
            parts.append(
                f'<rect class="{role}" x="{i * wide + 1:.1f}" y="{y + 6}" width="{wide - 2:.1f}" height="24" rx="2"/>'
                f'<text class="cell" x="{(i + 0.5) * wide:.1f}" y="{y + 23}">{escape(cell.replace("-", "−"))}</text>'
            )
        y += 36
    total, exact = int(products.sum()), float(weights.astype(np.float64) @ x.astype(np.float64))
    y += 24
    parts.append(
        f'<text class="name" x="0" y="{y}">{total:,} × d × dₐ = {total:,} × {d:.4g} × {da:.4g} = '
        f"{total * d * da:.4g}, where the trained weights give {exact:.4g}</text>".replace("-", "−")
    )
    return _svg("registers", y + 12, "One block of 32 weights times 32 activations, step by step", parts)


# One matrix, measured here


@dataclass(frozen=True)
class Timed:
    """How long one product took: of one core's processor time, in seconds. way: expanded, integers, or F32."""

    format: str
    way: str
    nbytes: int
    tokens: int
    seconds: float


def measure_matrix(tokens: Sequence[int] = (1, 64)) -> tuple[Timed, ...]:
    """Multiply a matrix of ROWS × COLUMNS random weights on one core, by every format and way; about a second."""
    rng = np.random.default_rng(11)
    weight = rng.standard_normal((ROWS, COLUMNS), np.float32)
    stored = {name: formats.get(name).quantize(weight) for name in MEASURED}
    found = []
    with single_threaded_blas():
        for count in tokens:
            x = rng.standard_normal((count, COLUMNS), np.float32)
            found.append(Timed("F32", "as it is", weight.nbytes, count, _fastest(lambda x=x: x @ weight.T)))
            for name, data in stored.items():
                ways = {"expanded": expanded} | ({"in integers": in_integers} if name in IN_INTEGERS else {})
                for way, multiply in ways.items():
                    form = formats.get(name)
                    multiply(data[:64], form, x)  # compiled and warm
                    seconds = _fastest(lambda m=multiply, d=data, f=form, x=x: m(d, f, x))
                    found.append(Timed(name, way, data.nbytes, count, seconds))
    return tuple(found)


def _fastest(what) -> float:
    best = float("inf")
    for _ in range(TIMES):
        started = thread_time()
        what()
        best = min(best, thread_time() - started)
    return best


def matrix_rows(found: Sequence[Timed]) -> list[dict]:
    """A row for each format and way, milliseconds by tokens at once."""
    rows: dict[tuple[str, str], dict] = {}
    for one in found:
        row = rows.setdefault(
            (one.format, one.way), {"stored as": one.format, "multiplied": one.way, "MB read": one.nbytes / 1e6}
        )
        row[f"{one.tokens} token{'s' * (one.tokens > 1)}, ms"] = 1000 * one.seconds
    return list(rows.values())


def matrix_in_words(found: Sequence[Timed]) -> str:
    """Which way is faster here, at one token and at many."""
    few, many = min(t.tokens for t in found), max(t.tokens for t in found)
    of = {(t.format, t.way, t.tokens): t.seconds for t in found}
    name = IN_INTEGERS[-1]
    one = of[name, "expanded", few] / of[name, "in integers", few]
    lot = of[name, "expanded", many] / of[name, "in integers", many]
    first = f"With {few} token, {name} in integers takes {_times(one)} than expanding it first"
    return f"{first}; with {many} tokens it takes {_times(lot)}."


def _times(ratio: float) -> str:
    return f"{ratio:.1f} times less time" if ratio >= 1 else f"{1 / ratio:.1f} times more time"


# The cache


def cache_svg(found: Sequence[CacheCost], covered: bool = False) -> str:
    """The divergence of each pair of formats as bars. covered: without those whose two formats differ."""
    most, parts = max(one.cost.kl for one in found), []
    for i, one in enumerate(found):
        hidden = covered and one.keys != one.values
        said = "?" if hidden else f"{readable(one.cost.kl)} nats"
        y, width = 26 + 44 * i, 0.0 if hidden else max(2.0, BAR * one.cost.kl / most)
        parts.append(
            f'<text class="name" x="{NAMES + 40}" y="{y + 5}" text-anchor="end">keys {one.keys}, values {one.values}'
            f'</text><rect class="error" x="{NAMES + 54}" y="{y - 12}" width="{width:.1f}" height="24" rx="3"/>'
            f'<text class="name" x="{NAMES + 64 + width:.1f}" y="{y + 5}">{said}</text>'
        )
    return _svg("cache", 44 * len(found) + 12, "KL divergence by the formats of keys and values", parts)


SIDES = ("the keys", "the values")


def minds_more(found: Sequence[CacheCost]) -> str:
    """Which of the two costs more in 4 bits alone."""
    of = {(one.keys, one.values): one.cost.kl for one in found}
    return SIDES[of["Q4_0", "Q8_0"] <= of["Q8_0", "Q4_0"]]


def cache_in_words(found: Sequence[CacheCost]) -> str:
    """What 8 bits cost, what 4 cost, and which of the two minds more."""
    of = {(one.keys, one.values): one.cost for one in found}
    eight, four = of["Q8_0", "Q8_0"], of["Q4_0", "Q4_0"]
    keys, values = of["Q4_0", "Q8_0"].kl, of["Q8_0", "Q4_0"].kl
    more = ("keys", "values", keys / values) if keys > values else ("values", "keys", values / keys)
    return (
        f"In 8 bits the cache changes the likeliest token at {eight.changed_top:.1%} of the places, in 4 bits at "
        f"{four.changed_top:.1%}. Four bits for the {more[0]} alone cost {more[2]:.1f} times what they cost for the "
        f"{more[1]} alone."
    )


def _svg(name: str, tall: float, title: str, parts: Sequence[str], width: int = WIDTH) -> str:
    return (
        f'<svg class="machine {name}" viewBox="0 0 {width} {tall:.0f}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )
