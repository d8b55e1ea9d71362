"""What a checkpoint is made of, as pictures: its facts, size by role, a measure of every matrix, each layer's shape."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import log1p

import numpy as np

from quantlib.architectures import diffusion_parts
from quantlib.checkpoints import Checkpoint, Tensor
from quantlib.checkpoints.image_models import image_family
from quantlib.figures.inputs import gguf_of
from quantlib.figures.runs import Cell, kind_of, layer_map, number_of
from quantlib.figures.strip import COMPONENTS, OTHER, component_of
from quantlib.inspection import Description, Statistics
from quantlib.inspection.chunks import ranges
from quantlib.inspection.describing import bits_words, headline, recipe_words
from quantlib.inspection.unusual import Measure
from quantlib.tables import size

REACH, BINS = 8.0, 97  # of a ridge, in units of the root mean square
FAINTEST = 0.1  # depth of the smallest value on a map that is not zero
RIDGE_WEIGHTS = 1 << 15  # of a tensor that one ridge is drawn from
MOST_RIDGES = 128


def roles_html(checkpoint: Checkpoint) -> str:
    """How the bytes are shared out among the roles of tensors: one bar, and a legend with sizes and shares."""
    of_images = image_family(checkpoint) is not None
    kinds = [*(diffusion_parts.NAMES if of_images else COMPONENTS), OTHER]
    sums = dict.fromkeys(kinds, 0)
    for tensor in checkpoint:
        sums[component_of(tensor.name, of_images)] += tensor.nbytes
    total = max(1, sum(sums.values()))
    shown = [(number, kind, sums[kind]) for number, kind in enumerate(kinds) if sums[kind]]
    bar = "".join(
        f'<i class="k{number}" style="width:{100 * nbytes / total:.2f}%" title="{escape(kind)}: {size(nbytes)}"></i>'
        for number, kind, nbytes in shown
    )
    legend = "".join(
        f'<span><i class="k{number}"></i>{escape(kind)} <b>{nbytes / total:.0%}</b> {size(nbytes)}</span>'
        for number, kind, nbytes in sorted(shown, key=lambda one: -one[2])
    )
    by = "part" if of_images else "component"
    head = f'<div class="roles by-{by}" role="img" aria-label="Size by role">{bar}</div>'
    return f'{head}<p class="legend by-{by}">{legend}</p>'


def facts_html(found: Description) -> str:
    """What a checkpoint is: a line that says it all, then a list of what people ask for."""
    bits = "–" if found.bpw is None else f"{found.bpw:.2f}"
    facts = (
        ("Size", f"{size(found.nbytes)} in {found.tensors:,} tensors, {bits} bits per weight"),
        ("Bits", bits_words(found)),
        ("Recipe", recipe_words(found)),
        ("Importance matrix", found.imatrix or "none is named"),
        ("Chat template", "yes" if found.chat_template else "no"),
        ("Licence", found.licence or "not stated"),
    )
    rows = "".join(f"<dt>{escape(what)}</dt><dd>{escape(printable(said))}</dd>" for what, said in facts)
    return f'<p class="what">{escape(printable(headline(found)))}</p><dl class="facts">{rows}</dl>'


def printable(text: str) -> str:
    """A text of a stranger's file on one line."""
    return "".join(c if c.isprintable() else "�" for c in text)


@dataclass(frozen=True)
class Placed:
    """A tensor with the name that GGUF gives it, which tells its place; own: the name in its file."""

    name: str
    own: str
    found: Statistics


def placed(checkpoint: Checkpoint, rows: Iterable[Statistics]) -> list[Placed]:
    """The matrices of layers, and what is beside them, where names tell that; nothing where they tell no layer."""
    every = (Placed(gguf_of(checkpoint, row.name) or row.name, row.name, row) for row in rows if len(row.shape) > 1)
    found = [one for one in every if one.name.endswith(".weight")]
    inside = [one for one in found if number_of(one.name) is not None]
    return [one for one in found if one in inside or kind_of(one.name) in ("token_embd", "output")] if inside else []


def measure_map(tensors: Sequence[Placed], measure: Measure) -> str:
    """One measure of every matrix: layers from left to right. A deeper colour is a larger value, by its logarithm."""
    values = {one.name: measure.value(one.found) for one in tensors}
    logs = [log1p(value) for value in values.values() if value is not None and value > 0]
    low, span = min(logs, default=0.0), max(logs, default=0.0) - min(logs, default=0.0)

    def cell(one: Placed) -> Cell:
        value = values[one.name]
        if value is None:
            return Cell("–", f"{one.own}: no value", 0.0, one.own)
        words = f"{one.own}, {one.found.format}: {measure.words.format(value)}"
        depth = FAINTEST + (1 - FAINTEST) * (log1p(value) - low) / (span or 1.0) if value > 0 else 0.0
        return Cell(_short(value), words, depth, one.own)

    return layer_map(tensors, cell, "error", f"{measure.name} by layer")


def _short(value: float) -> str:
    return f"{value:.0%}" if 0 < value < 1 else f"{value:,.0f}"


@dataclass(frozen=True, eq=False)
class Ridge:
    """The shape of one tensor: counts (BINS,) of its weights in units of their root mean square, from -REACH to REACH.

    beyond: how many of the `seen` weights are outside.
    """

    layer: int
    own: str
    counts: np.ndarray
    beyond: int
    seen: int


def ridge(layer: int, tensor: Tensor) -> Ridge:
    """The shape of a sample of a tensor's weights."""
    parts = [tensor.rows(start, stop).reshape(-1) for start, stop in ranges(tensor, RIDGE_WEIGHTS)]
    x = np.concatenate(parts)
    x = x[np.isfinite(x)]
    rms = float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))) if x.size else 0.0
    scaled = x / np.float32(rms) if rms else x
    counts = np.histogram(scaled, BINS, (-REACH, REACH))[0]
    return Ridge(layer, tensor.name, counts, int(x.size - counts.sum()), int(x.size))


def kinds_with_layers(checkpoint: Checkpoint) -> dict[str, dict[int, Tensor]]:
    """The kinds of matrix that layers have, each with its tensors by layer; the kind of most bytes first."""
    found: dict[str, dict[int, Tensor]] = {}
    for tensor in checkpoint:
        name = gguf_of(checkpoint, tensor.name) or tensor.name
        layer = number_of(name)
        if layer is not None and len(tensor.shape) > 1 and tensor.decodable and tensor.size:
            found.setdefault(kind_of(name), {})[layer] = tensor
    return dict(sorted(found.items(), key=lambda pair: -sum(t.nbytes for t in pair[1].values())))


def ridges(tensors: Mapping[int, Tensor]) -> list[Ridge]:
    """The shapes of one kind of matrix in all layers; of very many layers, evenly spaced ones."""
    layers = sorted(tensors)
    step = -(-len(layers) // MOST_RIDGES)
    return [ridge(layer, tensors[layer]) for layer in layers[::step]]


WIDTH, STEP, TALL, LEFT, RIGHT = 960, 17, 60, 56, 150


def ridges_svg(found: Sequence[Ridge]) -> str:
    """Histograms of all layers one below the other, on a logarithmic height, so that rare large weights are seen."""
    height = TALL + STEP * len(found) + 26
    scale = (WIDTH - LEFT - RIGHT) / BINS
    marks = []
    for row, one in enumerate(found):
        base = TALL + STEP * row
        most = max(1.0, float(np.log1p(one.counts).max()))
        tops = [base - TALL * 0.85 * float(np.log1p(count)) / most for count in one.counts]
        points = " ".join(f"{LEFT + (i + 0.5) * scale:.1f},{top:.1f}" for i, top in enumerate(tops))
        words = f"{one.own}: {one.beyond:,} of {one.seen:,} weights are beyond {REACH:g} times the root mean square"
        marks.append(
            f'<g class="ridge" data-pick="{escape(one.own)}" tabindex="0" role="button"><title>{escape(words)}</title>'
            f'<polygon points="{LEFT},{base} {points} {WIDTH - RIGHT},{base}"/></g>'
            f'<text class="name" x="{LEFT - 8}" y="{base}">{one.layer}</text>'
            + (
                f'<text class="beyond" x="{WIDTH - RIGHT + 8}" y="{base}">{one.beyond:,} beyond</text>'
                if one.beyond
                else ""
            )
        )
    ticks = "".join(
        f'<text class="layer" x="{LEFT + (at + REACH) / (2 * REACH) * (WIDTH - LEFT - RIGHT):.1f}" y="{height - 6}">'
        f"{at:+g}</text>"
        for at in (-8, -6, -4, -2, 0, 2, 4, 6, 8)
    )
    marks.append(f'<text class="name" x="{LEFT - 8}" y="{height - 6}">layer</text>')
    view = f'viewBox="0 0 {WIDTH} {height}" role="group" aria-label="The weights of every layer, in units of their RMS"'
    return f'<svg class="ridges" {view}>{"".join(marks)}{ticks}</svg>'
