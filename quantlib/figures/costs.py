"""What a recipe does to a model's predictions: token by token in the text, as a tail, by register, by tensor."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from math import exp

import plotly.graph_objects as go

from quantlib.figures import palette, style
from quantlib.figures.edge import first_to_fall, joined, plain
from quantlib.figures.ladder import measured_by_a_bit, published_by_a_bit
from quantlib.figures.runs import kind_of, row_names
from quantlib.lm import Comparison, Sensitivity, Sweep, Tokenizer, WorstToken
from quantlib.lm.answering import Answers
from quantlib.recipes import glossed, layer_of

SHARES = (50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 100.0)
LEAST_DEEP = 0.01  # nats: a text in which nothing moves further stays pale
STORM = 10  # times the mean: a worst place that the average does not tell of
CHARACTERS = 7000  # of each text that is read while somebody waits


def beginnings(texts: Mapping[str, str]) -> dict[str, str]:
    """The beginning of each text: long enough to measure on, short enough to wait for."""
    return {name: text[:CHARACTERS] for name, text in texts.items()}


@dataclass(frozen=True)
class Word:
    """Neighbouring tokens of a passage that make a word; `places` are theirs among the scored tokens.

    before, now: the probability of the whole word, its tokens' multiplied. divergence: its tokens' added, in nats.
    """

    text: str
    places: range
    before: float
    now: float
    divergence: float
    changed: bool


def words_of(found: Comparison, tokenizer: Tokenizer, window: int) -> list[Word]:
    """The scored tokens of one window as whole words; a word begins where a token begins with space."""
    scored, first = found.windows.targets.shape[1], found.windows.first
    tokens = found.windows.tokens[window][first + 1 : first + 1 + scored].tolist()
    starts = [
        place
        for place, token in enumerate(tokens)
        if not place or tokenizer.decode([token])[:1].isspace() or tokenizer.decode([tokens[place - 1]])[-1:].isspace()
    ]
    return [
        _word(found, tokenizer.decode(tokens[start:stop]), range(window * scored + start, window * scored + stop))
        for start, stop in pairwise([*starts, scored])
    ]


def _word(found: Comparison, text: str, places: range) -> Word:
    part = slice(places.start, places.stop)
    return Word(
        text, places, exp(-float(found.baseline_losses[part].sum())), exp(-float(found.losses[part].sum())),
        float(found.divergence[part].sum()), bool((found.top[part] != found.baseline_top[part]).any()),
    )  # fmt: skip


def passage_html(found: Comparison, tokenizer: Tokenizer, window: int) -> str:
    """One window of the text: what comes before in grey, then each scored word in the colour of its divergence.

    The full colour is the 99.8th percentile of tokens. A word is underlined where another token became the likeliest
    for a piece of it. Words carry data-words: what was expected there.
    """
    before = tokenizer.decode(found.windows.tokens[window][: found.windows.first + 1].tolist())
    deepest = max(LEAST_DEEP, found.kl_percentile(99.8))
    marks = [f'<span class="before">{escape(before)}</span>']
    for word in words_of(found, tokenizer, window):
        depth = min(1.0, word.divergence / deepest) ** 0.6
        marks.append(
            f'<span class="token{" changed" if word.changed else ""}" style="--depth:{depth:.3f}" '
            f'data-words="{escape(_words(found, tokenizer, word), quote=True)}">{escape(word.text)}</span>'
        )
    return f'<p class="passage">{"".join(marks)}</p>'


def _words(found: Comparison, tokenizer: Tokenizer, word: Word) -> str:
    """What is said of a word; of its pieces the first that changed, or the first."""
    at = next((p for p in word.places if found.top[p] != found.baseline_top[p]), word.places.start)
    top, base_top = (shown(tokenizer.decode([int(t[at])])) for t in (found.top, found.baseline_top))
    piece = "here" if at == word.places.start else f"at piece {at - word.places.start + 1} of the word"
    likeliest = (
        f"Likeliest {piece} before: {base_top}, now: {top}."
        if word.changed
        else f"Likeliest {piece} before and now: {base_top}."
    )
    return (
        f"{shown(word.text)}: {word.before:.1%} before, {word.now:.1%} now\n{likeliest}\n"
        f"The prediction moved by {word.divergence:.4f} nats."
    )


def shown(token: str) -> str:
    """A token in quotes, its line breaks as signs."""
    return "“" + token.replace("\n", "⏎") + "”"


def liveliest(found: Comparison) -> int:
    """The window whose predictions moved most."""
    return int(found.divergence.reshape(found.windows.targets.shape).mean(axis=1).argmax())


def tail_figure(found: Comparison, theme: str = "light") -> go.Figure:
    """KL divergence by share of tokens: how calm most are, and how far the last few go. A line marks the mean."""
    values = [found.kl_percentile(share) for share in SHARES]
    mean = found.kl[0]
    figure = go.Figure()
    labels = [f"{share:g}%" for share in SHARES]
    figure.add_bar(
        x=labels, y=values, marker={"color": palette.ROLES["error"].colour(theme), "line": {"width": 0}},
        text=[f"{v:.3g}" for v in values], textposition="outside", textfont={"color": palette.INK[theme]},
        hovertemplate="%{x} of the tokens moved by %{y:.4g} nats or less<extra></extra>", showlegend=False,
    )  # fmt: skip
    muted = palette.MUTED[theme]
    figure.add_hline(
        y=mean, line={"color": muted, "dash": "dash", "width": 1.5},
        annotation={
            "text": f"mean {mean:.3g}", "font": {"color": palette.INK[theme]}, "bgcolor": palette.PAPER[theme],
            "xanchor": "right",
        },
    )  # fmt: skip
    style.apply(figure, theme, height=330)
    figure.update_xaxes(title="share of tokens, calmest first", type="category")
    figure.update_yaxes(title="KL divergence, nats", rangemode="tozero")
    return figure


def tail_words(found: Comparison) -> str:
    """What the tail's picture shows, in numbers."""
    mean, median, largest = found.kl[0], found.kl_percentile(50), found.kl_percentile(100)
    times = largest / max(mean, 1e-12)
    return (
        f"At half of the places the prediction moved by {median:.2g} nats or less. The mean is {mean:.2g}. At the "
        f"worst place it is **{largest:.2g}**, {times:,.0f} times the mean. "
    ) + (
        "Calm on average, a storm in the tail: what matters to you may be among the few."
        if times >= STORM
        else "There is no storm in this tail: all places move about alike."
    )


def nearest_share(share: float, choices: Mapping[str, float]) -> str:
    """The choice whose share is nearest."""
    return min(choices, key=lambda name: abs(choices[name] - share))


def sensitivity_words(found: Sensitivity) -> str:
    """Which tensors cost most alone, and how unequal tensors are."""
    parts = sorted((p for p in found.parts if len(p.tensors) == 1), key=lambda p: -p.kl)
    most = [p.tensors[0].removesuffix(".weight") for p in parts[:4]]
    half = len(parts) // 2
    share = sum(p.kl for p in parts[:4]) / max(sum(p.kl for p in parts), 1e-12)
    return (
        f"The four that cost most are {joined([f'`{name}`' for name in most])}. Together they cost {share:.0%} of what "
        f"all {len(parts)} tensors cost alone, and the calmer half costs "
        f"{sum(p.kl for p in parts[half:]) / max(sum(p.kl for p in parts), 1e-12):.0%}. That is why recipes give a few "
        "tensors more bits."
    )


def lessons(answers: Answers, sweep: Sweep | None) -> list[str]:
    """What the chapter teaches, from the stored measurements."""
    fall, found = first_to_fall(answers), []
    if fall.grades:
        found.append(
            f"Fewer bits do not make a model a little worse at everything: {joined(fall.grades)} fall at "
            f"{plain(fall.recipe.bpw)} bits, while the other kinds hardly change."
        )
    usual = sweep.of("Q4_K_M") if sweep else None
    if usual:
        times = usual.total.kl_largest / usual.total.kl
        found.append(
            f"Averages hide the tail. With {usual.recipe} the worst place moves {times:,.0f} times as far as the mean, "
            f"and {usual.total.changed_top:.1%} of the likeliest tokens change."
        )
    there = published_by_a_bit()
    here = measured_by_a_bit(sweep) if sweep else None
    small = f"{here.overall:.1f} in the demo model and " if here else ""
    found.append(
        f"Each bit less multiplies the KL divergence by about {small}{there.overall:.1f} in Llama-3-8B, and by more "
        "the fewer bits are left."
    )
    return found


def worst_rows(worst: Sequence[WorstToken]) -> list[dict]:
    """The worst tokens as rows, with what led up to them."""
    return [
        {
            "the text says": shown(w.right), "before": w.baseline_probability, "now": w.probability,
            "KL, nats": w.divergence, "likeliest before": shown(w.baseline_top), "likeliest now": shown(w.top),
            "what came before": "… " + w.before.replace("\n", " ").strip(),
        }
        for w in worst
    ]  # fmt: skip


def register_rows(found: Mapping[str, Comparison]) -> list[dict]:
    """A row for each text."""
    return [
        {
            "text": name, "tokens": c.tokens, "perplexity before": c.baseline_perplexity.value,
            "perplexity now": c.perplexity.value, "KL, nats": c.kl[0], "changed tokens": c.changed_top[0],
            "largest KL": float(c.divergence.max()),
        }
        for name, c in found.items()
    ]  # fmt: skip


WIDTH, LEFT, TALL = 960, 110, 30


@dataclass(frozen=True)
class Named:
    """What row_names asks of a tensor."""

    name: str


def sensitivity_svg(found: Sensitivity) -> str:
    """A cell for each tensor, layers from left to right: the deeper, the more the model moves when it alone suffers."""
    parts = {p.tensors[0]: p for p in found.parts if len(p.tensors) == 1}
    rows = {name: row for row, name in enumerate(row_names([Named(name) for name in parts]))}
    layers = max((n for name in parts if (n := layer_of(name)) is not None), default=0) + 1
    worst, wide = max(p.kl for p in parts.values()) or 1.0, (WIDTH - LEFT) / layers
    marks = [
        f'<text class="name" x="{LEFT - 8}" y="{row * TALL + 19}">{escape(name)}</text>' for name, row in rows.items()
    ]
    for name, part in parts.items():
        layer = layer_of(name)
        x, w = (LEFT, WIDTH - LEFT) if layer is None else (LEFT + layer * wide, wide)
        y = rows[kind_of(name)] * TALL
        words = (
            f"{glossed(name)}\nalone in {found.format}: KL {part.kl:.5f} ± {part.kl_stderr:.5f} nats, "
            f"{part.changed_top:.1%} of the tokens change\n{part.weights:,} weights; "
            f"{1e6 * part.kl / part.weights:.2f} nats for a million weights"
        )
        marks.append(
            f'<g class="hurt" style="--depth:{(part.kl / worst) ** 0.5:.3f}" data-words="{escape(words, quote=True)}">'
            f'<rect x="{x:.1f}" y="{y}" width="{w - 2:.1f}" height="{TALL - 2}" rx="3"/>'
            f'<text x="{x + w / 2 - 1:.1f}" y="{y + 19}">{_thousandths(part.kl)}</text></g>'
        )
    height = len(rows) * TALL + 22
    marks += [
        f'<text class="tick" x="{LEFT + (n + 0.5) * wide:.1f}" y="{height - 5}">{n}</text>' for n in range(layers)
    ]
    marks.append(f'<text class="name" x="{LEFT - 8}" y="{height - 5}">layer</text>')
    label = f"KL divergence with one tensor at a time in {found.format}, in thousandths of a nat"
    return f'<svg class="hurts" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">{"".join(marks)}</svg>'


def _thousandths(kl: float) -> str:
    """A divergence in thousandths of a nat, as short as a cell needs it."""
    return f"{1000 * kl:.3g}" if 1000 * kl >= 0.005 else "&lt;0.01"


def tokens_csv(found: Comparison, tokenizer: Tokenizer, quote: Callable[[str], str] = repr) -> str:
    """Every scored token with its probabilities and its divergence, as CSV."""
    targets = found.windows.targets.ravel()
    lines = ["token,probability_before,probability_now,kl,top_changed"]
    lines += [
        f"{quote(tokenizer.decode([int(token)])).replace(',', ';')},{exp(-b):.6g},{exp(-a):.6g},{kl:.6g},{int(t != u)}"
        for token, a, b, kl, t, u in zip(
            targets, found.losses, found.baseline_losses, found.divergence, found.top, found.baseline_top, strict=True
        )
    ]
    return "\n".join(lines) + "\n"
