"""What fits: every recipe's memory to scale, the cache layer by layer, size against quality, the speed's formula."""

from collections.abc import Sequence
from html import escape

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
