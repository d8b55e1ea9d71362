"""What fits: one machine's memory to scale, every recipe's, the cache layer by layer, the speed's formula."""

from collections.abc import Sequence
from html import escape

from quantlib.figures.quiz import Question
from quantlib.fit import Answer, CacheLayer, words
from quantlib.fit.advice import Option
from quantlib.fit.amounts import gb
from quantlib.fit.machines import Machine
from quantlib.fit.published import LOADERS
from quantlib.fit.speed import each_layer, share_of
from quantlib.lm import Sweep

GB = 1e9
KEY = {"weights": "weights", "cache": "keys, values and states", "work": "working memory"}
LARGE = 13  # % of the bar that a part needs to carry its own size, on a phone too


def questions(answers: Sequence[Answer], offered: Sequence[str]) -> list[Question]:
    """What is advised for one model on each machine; where it is not among the offered, the machine is left out."""
    return [
        Question(
            f"{one.subject.name} on {one.machine.name}",
            tuple(offered),
            one.option.recipe,
            f"{one.option.recipe} needs {gb(one.option.total)} with its cache of {one.context:,} tokens. "
            f"{gb(one.machine.usable)} are free there.",
        )
        for one in answers
        if one.option and one.option.recipe in offered
    ]


def machine_html(answer: Answer) -> str:
    """The machine's memory as one bar: weights, cache, working memory, what is left and what others hold."""
    option, machine = answer.shown, answer.machine
    placed = option.placed
    parts = [("weights", placed.fast), ("cache", placed.cache), ("work", placed.work)]
    free = machine.usable - placed.need
    parts += [("free", max(0, free)), ("kept", machine.kept)]
    rows = [
        _bar(
            f"{machine.name}: {gb(machine.total)} as files are counted",
            parts,
            max(machine.total, placed.need + machine.kept),
        )
    ]
    if machine.slow is not None and placed.how in ("experts", "layers"):
        slow = machine.slow
        beside = [("weights", placed.slow), ("free", slow.usable - placed.slow), ("kept", slow.kept)]
        rows.append(_bar(f"{slow.name[0].upper()}{slow.name[1:]}: {gb(slow.total)}", beside, slow.total))
    label = words.need_line(answer)
    return f'<div class="machine" role="img" aria-label="{escape(label)}">{"".join(rows)}</div>'


NAMES = {**KEY, "cache": "cache", "free": "free", "kept": "system, driver, margin"}


def _bar(title: str, parts: Sequence[tuple[str, int]], whole: int) -> str:
    shares = [(name, nbytes, 100 * nbytes / max(1, whole)) for name, nbytes in parts if nbytes > 0]
    track = "".join(
        f'<i class="{name}" style="width:{share:.3f}%">{gb(nbytes) if share >= LARGE else ""}</i>'
        for name, nbytes, share in shares
    )
    key = "".join(f'<span><i class="{name}"></i>{NAMES[name]} {gb(nbytes)}</span>' for name, nbytes, _ in shares)
    return f'<p class="title">{escape(title)}</p><p class="whole">{track}</p><p class="memory-key">{key}</p>'


STEPS = ("F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K", "IQ2_XXS", "IQ1_M")


def steps(answer: Answer) -> list[Option]:
    """One option for each step down in size, and the one that is advised."""
    found = {option.recipe: option for option in reversed(answer.options) if option.recipe in STEPS}
    found[answer.shown.recipe] = answer.shown
    kept = {id(option) for option in found.values()}
    beside = [answer.shown] if answer.shown is answer.file else []
    return beside + [option for option in answer.options if id(option) in kept]


def title_html(answer: Answer) -> str:
    """What the picture of `memory_html` is about."""
    model, machine = escape(answer.subject.name), escape(answer.machine.name)
    return f'<p class="fit-title"><b>{model}</b>, {answer.context:,} tokens of context, on <b>{machine}</b></p>'


def memory_html(answer: Answer, options: Sequence[Option]) -> str:
    """A stacked bar for each recipe as if in one memory: weights, cache and working memory, and where it ends."""
    memory = answer.machine.usable
    widest = max(memory * 1.12, *(option.total for option in options))
    rows = []
    for option in options:
        cache, work = option.kept, option.placed.work
        parts = zip(KEY, (option.total - cache - work, cache, work), strict=True)
        bars = "".join(
            f'<i class="{name}" style="width:{100 * nbytes / widest:.3f}%" title="{KEY[name]}: {gb(nbytes)}"></i>'
            for name, nbytes in parts
        )
        state = "chosen" if option is answer.option else "fits" if option.fits else "over"
        mark = {"chosen": "▶", "fits": "✓", "over": "◐" if option.placed.runs else "✗"}[state]
        rows.append(
            f'<div class="row {state}"><span class="name">{mark} {escape(option.label)}</span>'
            f'<span class="track">{bars}</span><span class="total">{gb(option.total)}</span></div>'
        )
    at = 100 * memory / widest
    label = f"Memory that each recipe needs, against {gb(memory)}"
    return (
        f'<div class="memory" role="img" aria-label="{escape(label)}" style="--limit:{at / 100:.5f}">'
        f'<div class="row head"><span></span><span class="track"><b>{gb(memory)}</b></span><span></span></div>'
        f"{''.join(rows)}</div>"
        f'<p class="memory-key">{"".join(f"""<span><i class="{n}"></i>{w}</span>""" for n, w in KEY.items())}'
        "<span>▶ the advice · ✓ fits · ◐ runs with a part in the computer's memory · ✗ does not run</span></p>"
    )


WIDTH, HEIGHT, LEFT, FOOT = 960, 190, 64, 34
STRIPES = (
    '<defs><pattern id="stripes" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect class="stripe-ground" width="6" height="6"/><rect class="stripe" width="2.4" height="6"/>'
    "</pattern></defs>"
)


def cache_svg(layers: Sequence[CacheLayer], context: int, format: str) -> str:
    """A bar for each layer: the bytes that it caches of so many tokens. Layers with a window are striped and short."""
    held = [layer.nbytes(context, format) for layer in layers]
    top, step = max(held, default=0) or 1, (WIDTH - LEFT) / max(1, len(layers))
    marks = [STRIPES]
    for number, (layer, nbytes) in enumerate(zip(layers, held, strict=True)):
        x, tall = LEFT + number * step, (HEIGHT - FOOT - 22) * nbytes / top
        words_ = f"Layer {number}: {nbytes:,} bytes\n{_kept_by(layer, context, format)}"
        marks.append(
            f'<g class="bar {"window" if layer.window else "full"}" data-words="{escape(words_, quote=True)}">'
            f'<rect class="reach" x="{x:.2f}" y="14" width="{step:.2f}" height="{HEIGHT - FOOT - 14}"/>'
            f'<rect class="amount" x="{x + 1:.2f}" y="{HEIGHT - FOOT - tall:.2f}" width="{max(1.0, step - 2):.2f}" '
            f'height="{max(1.0, tall):.2f}" rx="1.5"/></g>'
        )
    marks.append(f'<text class="name" x="{LEFT - 8}" y="30">{gb(top)}</text>')
    marks.append(f'<text class="name" x="{LEFT - 8}" y="{HEIGHT - FOOT}">0</text>')
    every = max(1, -(-len(layers) // 16))
    marks += [
        f'<text class="tick" x="{LEFT + (n + 0.5) * step:.1f}" y="{HEIGHT - FOOT + 18}">{n}</text>'
        for n in range(0, len(layers), every)
    ]
    marks.append(f'<text class="name" x="{LEFT - 8}" y="{HEIGHT - FOOT + 18}">layer</text>')
    label = f"Keys and values of {context:,} tokens, layer by layer"
    view = f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}"'
    return f'<svg class="cache-bars" {view}>{"".join(marks)}</svg>'


def divergences(sweep: Sweep | None) -> dict[str, float]:
    """KL divergence by recipe in a sweep, the plain one where both were measured; nothing without a sweep."""
    rows = sorted(sweep.measured, key=lambda m: not m.weighted) if sweep else []
    return {m.recipe: m.total.kl for m in rows}


def _kept_by(layer: CacheLayer, context: int, format: str) -> str:
    lines = []
    if layer.values:
        values = f" + {layer.value_dim}" if layer.value_dim else ", values made of the keys"
        values += f", an index of {layer.index}" if layer.index else ""
        sees = f"the last {layer.window:,} tokens" if layer.window else "all tokens"
        lines.append(
            f"{layer.kv_heads} key-value heads · ({layer.key_dim}{values}) · room for {layer.cells(context):,} tokens "
            f"· {format}\nIt sees {sees}."
        )
    if layer.state:
        lines.append(f"A state of {layer.state:,} numbers of 32 bits, whatever the context.")
    return "\n".join(lines) or "It keeps nothing: it uses what another layer kept, or none."


def speed_lines(option: Option, machine: Machine) -> tuple[str, str, str]:
    """The estimate in three lines: symbols, the numbers, the result. For what fits whole."""
    bandwidth, cache = machine.bandwidth, option.placed.cache
    read, share, speed = option.weighed.read, share_of(option.recipe, bandwidth, machine.unpacking), option.speed
    each = each_layer(machine, any(option.weighed.parts.experts))
    overhead = each * len(option.weighed.parts.layers)
    return (
        f"seconds a token = (weights read ÷ share reached + half the cache) ÷ bandwidth + {1e6 * each:.0f} µs · layers",
        f"= ({read / GB:.3g} GB ÷ {share:.2f} + {cache / 2 / GB:.2g} GB) ÷ {bandwidth / GB:,.4g} GB/s "
        f"+ {1000 * overhead:.2g} ms",
        f"= {1000 / speed.about:.3g} ms, so {_speed(speed.about)} tokens a second; by bandwidth alone "
        f"{_speed(speed.at_most)}",
    )


def _speed(value: float) -> str:
    """Three digits, and all of them before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def loaders() -> list[dict]:
    """Which program takes which files."""
    return [
        {"loader": x.name, "takes": ", ".join(x.takes), "runs on": x.runs_on, "note": x.note, "source": x.source}
        for x in LOADERS
    ]
