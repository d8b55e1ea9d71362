"""What fits: every recipe's memory to scale, the cache layer by layer, size against quality, the speed's formula."""

from collections.abc import Mapping, Sequence
from html import escape

import plotly.graph_objects as go

from quantlib.figures import palette, style
from quantlib.figures.frontier import MANY_BITS
from quantlib.fit import CacheLayer, Need, cache_bytes
from quantlib.fit.published import LOADERS, quality_of
from quantlib.lm import Sweep
from quantlib.tables import size

PARTS = ("weights", "cache", "work")  # classes that carry the colours
GB = 1e9


def memory_html(needs: Sequence[Need], memory: int, chosen: str | None) -> str:
    """A stacked bar for each recipe, weights, cache and working memory, and a line where the memory ends."""
    widest = max(memory * 1.12, *(need.total for need in needs))
    rows = []
    for need in needs:
        parts = zip(PARTS, (need.weighed.nbytes, need.cache, need.work), strict=True)
        bars = "".join(
            f'<i class="{name}" style="width:{100 * nbytes / widest:.3f}%" title="{name}: {size(nbytes)}"></i>'
            for name, nbytes in parts
        )
        state = "chosen" if need.recipe == chosen else "fits" if need.fits(memory) else "over"
        mark = {"chosen": "▶", "fits": "✓", "over": "✗"}[state]
        rows.append(
            f'<div class="row {state}"><span class="name">{mark} {escape(need.recipe)}</span>'
            f'<span class="track">{bars}</span><span class="total">{size(need.total)}</span></div>'
        )
    at = 100 * memory / widest
    label = f"Memory that each recipe needs, against {size(memory)}"
    return (
        f'<div class="memory" role="img" aria-label="{escape(label)}" style="--limit:{at / 100:.5f}">'
        f'<div class="row head"><span></span><span class="track"><b>{size(memory)}</b></span><span></span></div>'
        f"{''.join(rows)}</div>"
        '<p class="memory-key"><span><i class="weights"></i>weights</span><span><i class="cache"></i>keys and values'
        '</span><span><i class="work"></i>working memory</span></p>'
    )


WIDTH, HEIGHT, LEFT, FOOT = 960, 190, 64, 34
STRIPES = (
    '<defs><pattern id="stripes" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect class="stripe-ground" width="6" height="6"/><rect class="stripe" width="2.4" height="6"/>'
    "</pattern></defs>"
)


def cache_svg(layers: Sequence[CacheLayer], context: int, format: str) -> str:
    """A bar for each layer: the bytes that it caches of so many tokens. Layers with a window are striped and short."""
    held = [cache_bytes([layer], context, format) for layer in layers]
    top, step = max(held) or 1, (WIDTH - LEFT) / len(layers)
    marks = [STRIPES]
    for number, (layer, nbytes) in enumerate(zip(layers, held, strict=True)):
        x, tall = LEFT + number * step, (HEIGHT - FOOT - 22) * nbytes / top
        sees = f"the last {layer.window:,} tokens" if layer.window else "all tokens"
        words = (
            f"Layer {number}: {nbytes:,} bytes\n"
            f"{layer.kv_heads} key-value heads · ({layer.key_dim} + {layer.value_dim}) "
            f"· {layer.tokens(context):,} tokens kept · {format}\nIt sees {sees}."
        )
        marks.append(
            f'<g class="bar {"window" if layer.window else "full"}" data-words="{escape(words, quote=True)}">'
            f'<rect class="reach" x="{x:.2f}" y="14" width="{step:.2f}" height="{HEIGHT - FOOT - 14}"/>'
            f'<rect class="amount" x="{x + 1:.2f}" y="{HEIGHT - FOOT - tall:.2f}" width="{max(1.0, step - 2):.2f}" '
            f'height="{max(1.0, tall):.2f}" rx="1.5"/></g>'
        )
    marks.append(f'<text class="name" x="{LEFT - 8}" y="30">{size(top)}</text>')
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


def frontier(
    needs: Sequence[Need], memory: int, chosen: str | None, measured: Mapping[str, float], theme: str = "light"
) -> go.Figure:
    """Memory that each recipe needs against what it costs: KL divergence, published of Llama-3-8B and measured here.

    measured: KL by recipe of the demo model; may be empty. Lower and further left is better.
    """
    figure = go.Figure()
    published = [(need, row.kl) for need in needs if (row := quality_of(need.recipe))]
    _points(figure, published, "Llama-3-8B, published", "circle", "code", memory, theme)
    lossy = [(need, measured[need.recipe]) for need in needs if measured.get(need.recipe, 0) > 0]
    here = [point for point in lossy if point[0].weighed.bpw < MANY_BITS]
    if here:
        _points(figure, here, "the demo model, measured", "diamond", "super-scale", memory, theme)
    _ring(figure, [point for point in published if point[0].recipe == chosen], theme)
    style.apply(figure, theme, height=400)
    totals = [need.total / GB for need, _ in published]
    wide = max(totals) - min(totals)
    reach = min(totals) - 0.06 * wide, max(totals) + 0.12 * wide
    if reach[0] <= memory / GB <= reach[1]:
        muted = palette.MUTED[theme]
        figure.add_vline(
            x=memory / GB, line={"color": muted, "dash": "dash", "width": 1.5},
            annotation={"text": size(memory), "font": {"color": muted}, "yanchor": "bottom"},
        )  # fmt: skip
    figure.update_xaxes(title="memory needed, GB", range=reach)
    for need, kl in lossy:
        if (need, kl) not in here and reach[0] <= need.total / GB <= reach[1]:
            figure.add_annotation(
                x=need.total / GB, y=0, yref="y domain", yanchor="bottom", showarrow=False,
                text=f"{need.recipe}, the demo model: {kl:.0e} ↓", font={"size": 11, "color": palette.MUTED[theme]},
            )  # fmt: skip
    figure.update_yaxes(title="KL divergence from the original, nats", type="log", exponentformat="power", dtick=1)
    return figure


def _ring(figure: go.Figure, points, theme: str) -> None:
    figure.add_scatter(
        x=[need.total / GB for need, _ in points], y=[kl for _, kl in points], mode="markers", hoverinfo="skip",
        showlegend=False,
        marker={"symbol": "circle-open", "size": 22, "color": palette.INK[theme], "line": {"width": 2}},
    )  # fmt: skip


BESIDE = {  # points that carry their name, and where it stands
    "Q8_0": "top left", "Q6_K": "top right", "Q5_K_M": "top right", "Q4_K_M": "top right", "IQ4_XS": "bottom left",
    "Q3_K_M": "top right", "IQ3_XXS": "bottom left", "Q2_K": "top right", "IQ2_XXS": "top right", "IQ1_S": "top right",
}  # fmt: skip


def _points(figure: go.Figure, points, name: str, symbol: str, role: str, memory: int, theme: str) -> None:
    colour = palette.ROLES[role].colour(theme)
    fits = [need.fits(memory) for need, _ in points]
    figure.add_scatter(
        x=[need.total / GB for need, _ in points],
        y=[kl for _, kl in points],
        mode="markers+text",
        name=name,
        text=[need.recipe if need.recipe in BESIDE and symbol == "circle" else "" for need, _ in points],
        textposition=[BESIDE.get(need.recipe, "top right") for need, _ in points],
        textfont={"color": palette.MUTED[theme], "size": 11},
        customdata=[[need.recipe, size(need.total)] for need, _ in points],
        hovertemplate="%{customdata[0]}: %{customdata[1]}<br>KL %{y:.4g}<extra>" + name + "</extra>",
        marker={
            "symbol": [symbol if ok else f"{symbol}-open" for ok in fits],
            "size": 9,
            "color": colour,
            "line": {"width": 1.5, "color": colour},
        },
    )


def speed_lines(need: Need, bandwidth: float) -> tuple[str, str, str]:
    """The estimate in three lines: symbols, the numbers, the result."""
    read, cache = need.weighed.read, need.cache
    return (
        "tokens a second ≤ bandwidth ÷ (weights read + keys and values read)",
        f"= {bandwidth / GB:,.4g} GB/s ÷ ({read / GB:.3g} GB + {cache / GB:.3g} GB)",
        f"= {need.speed(bandwidth):,.3g}",
    )


def table(needs: Sequence[Need], memory: int, bandwidth: float) -> list[dict]:
    """A row for each recipe: what it needs, whether that fits, how fast it may be, what it is known to cost."""
    rows = []
    for need in needs:
        known = quality_of(need.recipe)
        rows.append(
            {
                "recipe": need.recipe, "fits": need.fits(memory), "bpw": round(need.weighed.bpw, 3),
                "weights": need.weighed.nbytes, "keys and values": need.cache, "total": need.total,
                "tokens/s at most": round(need.speed(bandwidth), 1),
                "perplexity added": known.delta if known else None, "KL": known.kl if known else None,
                "imatrix": known.imatrix if known else None,
            }
        )  # fmt: skip
    return rows


def loaders() -> list[dict]:
    """Which program takes which files."""
    return [
        {"loader": x.name, "takes": ", ".join(x.takes), "runs on": x.runs_on, "note": x.note, "source": x.source}
        for x in LOADERS
    ]
