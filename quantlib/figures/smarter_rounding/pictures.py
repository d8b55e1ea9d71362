"""What the components of the chapter on smarter rounding are sent, its drawings and its tables."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from quantlib.figures import palette, style
from quantlib.figures.bars import bar_cell
from quantlib.figures.smarter_rounding import words
from quantlib.figures.smarter_rounding.channels import AlphaSearch, Kept
from quantlib.figures.smarter_rounding.contest import Filled
from quantlib.figures.smarter_rounding.replay import Replay
from quantlib.figures.smarter_rounding.searched import Searched
from quantlib.figures.smarter_rounding.steering import ByChannel, Steered
from quantlib.figures.smarter_rounding.toy import INPUTS, Puzzle, Toy
from quantlib.figures.weights import fp32_bits
from quantlib.methods.descent_trace import Descent


def toy_message(found: Toy, token: str, start: int) -> dict:
    """The toy, step by step, for the component: weights on whole numbers."""
    first = found.steps[0].weights
    lower = np.floor(first)
    return {
        "token": token,
        "start": start,
        **_weights(first, lower, lower + 1, INPUTS),
        "shows": True,
        "steps": [
            {"says": says, "values": _bits(step.weights), "rounded": step.rounded}
            for says, step in zip(words.toy_steps(found), found.steps, strict=True)
        ],
        "rivals": [{"name": "each to its nearest level", "values": _bits(found.nearest)}],
    }


def puzzle_message(found: Puzzle, token: str, start: str) -> dict:
    """Eight weights for the component; `start` has a 0 or a 1 for each: the level below or above."""
    return {
        "token": token,
        "start": start,
        **_weights(found.weights, found.lower, found.upper, found.inputs),
        "shows": False,
        "steps": [],
        "rivals": [
            {"name": "each to its nearest level", "values": _bits(found.nearest)},
            {"name": "the best of 256 ways", "values": _bits(found.best)},
        ],
    }


def _weights(w: np.ndarray, lower: np.ndarray, upper: np.ndarray, inputs: np.ndarray) -> dict:
    return {
        "weights": _bits(w), "lower": _bits(lower), "upper": _bits(upper), "inputs": [_bits(row) for row in inputs],
    }  # fmt: skip


def _bits(x: np.ndarray) -> list[int]:
    return fp32_bits(x).tolist()


def nearest_ways(found: Puzzle) -> str:
    """The way of rounding to nearest, as an address spells it."""
    return "".join("1" if stored == up else "0" for stored, up in zip(found.nearest, found.upper, strict=True))


def film(found: Replay) -> dict:
    """The replay for the scrubber: pictures, a sentence for each, and both errors in percent."""
    inputs = len(found.order)
    places = [None if step == 0 else int(found.order[step - 1]) for step in found.steps]
    return {
        "frames": found.change.tobytes(),
        "shape": found.change.shape[1:],
        "labels": [words.label(int(s), inputs, p) for s, p in zip(found.steps, places, strict=True)],
        "curve": _bits(100 * found.output),
        "rival": _bits(100 * found.output_nearest),
        "last": inputs,
    }


def replay_csv(found: Replay) -> str:
    """The two relative errors of the output, picture by picture, as CSV."""
    lines = (f"{s},{g:.6g},{n:.6g}" for s, g, n in zip(found.steps, found.output, found.output_nearest, strict=True))
    return "columns_rounded,gptq,round_to_nearest\n" + "\n".join(lines) + "\n"


def replay_html(found: Replay) -> str:
    """Both ways at the end, of the output and of the weights."""
    rows = (
        ("round to nearest", found.output_nearest[-1], found.weights_nearest),
        ("GPTQ", found.output[-1], found.weights),
    )
    most = max(float(out) for _, out, _ in rows) or 1.0
    body = "".join(
        f"<tr><th scope='row'>{name}</th>{bar_cell(out / most)}"
        f"<td>{words.percent(out)}</td><td>{words.percent(own)}</td></tr>"
        for name, out, own in rows
    )
    return (
        '<table class="measured"><thead><tr><th></th><th class="bar">relative error of the output</th><th></th>'
        f"<th>of the weights</th></tr></thead><tbody>{body}</tbody></table>"
    )


WIDTH, HEIGHT = 900, 180


def channels_svg(found: Kept) -> str:
    """The mean magnitude of every input channel, those kept in 16 bits standing out; then the three errors."""
    bar = WIDTH / len(found.magnitudes)
    top = float(found.magnitudes.max()) or 1.0
    chosen = set(found.chosen.tolist())
    bars = "".join(
        f'<rect class="{"kept" if i in chosen else "channel"}" x="{i * bar:.2f}" width="{max(bar * 0.8, 1.2):.2f}" '
        f'y="{HEIGHT - 22 - (HEIGHT - 40) * size / top:.1f}" height="{(HEIGHT - 40) * size / top:.1f}"/>'
        for i, size in enumerate(found.magnitudes)
    )
    title = f"Mean size of the {len(found.magnitudes)} inputs of this matrix; the {found.count} largest stand out"
    return (
        f'<svg class="channels" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">{bars}'
        f'<text x="0" y="{HEIGHT - 5}">{len(found.magnitudes)} input channels, each with its mean size over a text; '
        f"in red the {found.count} largest</text></svg>"
    )


def kept_html(found: Kept) -> str:
    """The three errors as bars."""
    rows = (
        ("every channel rounded", found.none),
        (f"{found.count} with the largest weights in 16 bits", found.by_weight),
        (f"{found.count} with the largest inputs in 16 bits", found.by_input),
    )
    body = "".join(
        f"<tr><th scope='row'>{name}</th>{bar_cell(error / found.none)}<td>{words.percent(error)}</td></tr>"
        for name, error in rows
    )
    return (
        '<table class="measured"><thead><tr><th></th><th class="bar">relative error of the output</th><th></th></tr>'
        f"</thead><tbody>{body}</tbody></table>"
    )


def alpha_curve(found: AlphaSearch) -> list[int]:
    """The relative error of the output for each α, in percent."""
    return _bits(100 * found.relative)


def by_channel_figure(found: ByChannel, theme: str = "light") -> go.Figure:
    """The relative error of weights by the size of the inputs that they meet, without and with the matrix."""
    figure = go.Figure()
    names = [f"{10 * i}–{10 * i + 10} %" for i in range(len(found.inputs))]
    for name, errors, role, pattern in (
        ("without", found.without, "sign", "/"),
        ("with an importance matrix", found.weighed, "code", ""),
    ):
        figure.add_bar(
            x=names, y=[100 * e for e in errors], name=name, customdata=found.inputs,
            marker={"color": palette.ROLES[role].colour(theme), "line": {"width": 0}, "pattern": {"shape": pattern}},
            hovertemplate="%{x}, inputs of size %{customdata:.3g}<br>%{y:.2f} %<extra>" + name + "</extra>",
        )  # fmt: skip
    style.apply(figure, theme, height=280)
    figure.update_layout(barmode="group", bargap=0.25)
    figure.update_xaxes(title="channels, from the smallest inputs to the largest")
    figure.update_yaxes(title="relative error of their weights, %")
    return figure


def steered_html(found: Sequence[Steered]) -> str:
    """A row for each format: both errors, without and with the matrix."""

    def cells(pair: tuple[float, float]) -> str:
        better = pair[1] < pair[0]
        way, sign = ("better", "▼") if better else ("worse", "▲")
        return f"<td>{words.percent(pair[0])}</td><td class='{way}'>{words.percent(pair[1])} {sign}</td>"

    rows = "".join(
        f"<tr><th scope='row'>{r.name}</th><td>{r.bpw:g}</td>{cells(r.output)}{cells(r.weights)}</tr>" for r in found
    )
    return (
        '<table class="measured steered"><thead><tr><th></th><th></th><th colspan="2">relative error of the output</th>'
        '<th colspan="2">relative error of the weights</th></tr><tr><th>format</th><th>bits per weight</th>'
        "<th>without</th><th>with matrix</th><th>without</th><th>with matrix</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )


def filled_html(found: Sequence[Filled], covered: bool = False) -> str:
    """Three k-quants, each filled in three ways, with a bar for each. covered: without GPTQ's figures."""
    most = max(max(one.output) for one in found)
    ways = ("as llama.cpp does", "with an importance matrix", "with GPTQ")
    rows = "".join(
        f"<tr><th scope='row'>{one.name if i == 0 else ''}</th><td class='way'>{way}</td>"
        + (
            f"{bar_cell(0)}<td>?</td><td>?</td></tr>"
            if covered and way == ways[-1]
            else f"{bar_cell(one.output[i] / most)}<td>{words.percent(one.output[i])}</td><td>{one.kl[i]:.2g}</td></tr>"
        )
        for one in found
        for i, way in enumerate(ways)
    )
    return (
        '<table class="measured"><thead><tr><th>format</th><th>codes chosen</th><th class="bar">relative error of the '
        f"outputs</th><th></th><th>KL, nats</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def searched_html(found: Searched) -> str:
    """The ways to fill the blocks of some rows, with a bar for the output's error on a text that they have not seen."""
    most = max(step.unseen for step in found.steps) or 1.0
    rows = "".join(
        f"<tr><th scope='row'>{step.words}</th>{bar_cell(step.unseen / most)}"
        f"<td>{words.percent(step.unseen)}</td><td>{words.percent(step.seen)}</td></tr>"
        for step in found.steps
    )
    return (
        '<table class="measured"><thead><tr><th>error of the output</th><th class="bar"></th><th>another text</th>'
        f"<th>same text</th></tr></thead><tbody>{rows}</tbody></table>"
    )


TALL = 150


def descent_svg(found: Descent) -> str:
    """What is left of a row's squared output error after each step of the search; 100% with the format's own blocks."""
    left = 100 * found.errors / (found.errors[0] or 1.0)
    wide, high = (WIDTH - 60) / max(1, len(left) - 1), TALL - 46
    low = float(left.min()) * 0.9

    def y(value: float) -> float:
        return 20 + high * (100 - value) / max(1e-9, 100 - low)

    path = "".join(f"{'L' if i else 'M'}{50 + i * wide:.1f} {y(value):.1f}" for i, value in enumerate(left))
    ends = "".join(
        f'<text x="{50 + i * wide:.1f}" y="{y(left[i]) - 6:.1f}" text-anchor="{anchor}">{left[i]:.0f}%</text>'
        for i, anchor in ((0, "start"), (1, "start"), (len(left) - 1, "end"))
    )
    title = (
        f"Squared error of one row's output: {left[0]:.0f}% with the format's own blocks, {left[1]:.0f}% with codes by "
        f"GPTQ, {left[-1]:.0f}% when the search has ended"
    )
    return (
        f'<svg class="channels" viewBox="0 0 {WIDTH} {TALL}" role="img" aria-label="{title}">'
        f'<path d="{path}" fill="none" stroke="currentColor" stroke-width="2"/>{ends}'
        f'<text x="50" y="{TALL - 6}">llama.cpp\'s blocks, codes by GPTQ, then group by group: {len(left)} steps</text>'
        "</svg>"
    )
