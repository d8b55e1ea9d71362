"""A plan as a treemap: every tensor a rectangle as large as its bytes, by format, then by kind, then by layer."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from math import prod

from quantlib.figures.runs import depth_of, kind_of
from quantlib.jobs import Plan, PlannedTensor
from quantlib.recipes import Recipe, glossed, quantizable
from quantlib.recipes.naming import parts
from quantlib.tables import size

WIDTH, HEIGHT = 960, 460
TITLE = 20  # height of a group's title
LABEL_WIDE, LABEL_TALL = 74, 17  # smaller rectangles carry no label
DEEP = 0.8  # from this depth of colour on, text is light


@dataclass(frozen=True)
class Box:
    """A rectangle of the picture, in its units."""

    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        return self.width * self.height

    def without_title(self) -> "Box":
        """Room below a title, where the box is tall enough to have one."""
        if self.height < 3 * TITLE or self.width < 2 * LABEL_WIDE:
            return self
        return Box(self.x, self.y + TITLE, self.width, self.height - TITLE)


def squarified(sizes: Sequence[float], box: Box) -> Iterator[Box]:
    """A box for each size, in order, whose areas are as the sizes; sizes must fall, and be above zero.

    Rows are filled along the shorter side as long as that makes the worst rectangle squarer.
    Bruls, Huizing and van Wijk, "Squarified treemaps", 2000, section 3.
    """
    total, at = float(sum(sizes)), 0
    while at < len(sizes):
        share = box.area / total if total else 0
        short = min(box.width, box.height)
        stop = at + 1
        while stop < len(sizes) and _worst(sizes[at : stop + 1], share, short) <= _worst(sizes[at:stop], share, short):
            stop += 1
        row = sizes[at:stop]
        deep = sum(row) * share / short if short else 0
        yield from _row(row, share, deep, box)
        total -= sum(row)
        wide = box.width >= box.height
        box = (
            Box(box.x + deep, box.y, max(0.0, box.width - deep), box.height)
            if wide
            else Box(box.x, box.y + deep, box.width, max(0.0, box.height - deep))
        )
        at = stop


def _worst(row: Sequence[float], share: float, short: float) -> float:
    """The most elongated rectangle of a row: max of side ratio and its inverse."""
    total = sum(row) * share
    return max(short**2 * row[0] * share / total**2, total**2 / (short**2 * row[-1] * share))


def _row(row: Sequence[float], share: float, deep: float, box: Box) -> Iterator[Box]:
    along = 0.0
    for value in row:
        length = value * share / deep if deep else 0.0
        if box.width >= box.height:
            yield Box(box.x, box.y + along, deep, length)
        else:
            yield Box(box.x + along, box.y, length, deep)
        along += length


def treemap_svg(plan: Plan, title: str) -> str:
    """The plan's tensors by their bytes. Cells carry data-words (what is said of one), data-part (what decided it)."""
    marks = []
    by_format = _grouped(plan.tensors, lambda t: t.target)
    boxes = squarified([_bytes(group) for _, group in by_format], Box(0, 0, WIDTH, HEIGHT))
    for (name, group), box in zip(by_format, boxes, strict=True):
        inside = box.without_title()
        if inside is not box:
            words = f"{name} · {len(group)} tensors · {size(_bytes(group))}"
            marks.append(f'<text class="group" x="{box.x + 5:.1f}" y="{box.y + 14:.1f}">{escape(words)}</text>')
        by_kind = _grouped(group, lambda t: kind_of(t.name))
        rooms = squarified([_bytes(kind) for _, kind in by_kind], inside)
        for (_, kind), room in zip(by_kind, rooms, strict=True):
            marks += _cells(kind, room, plan)
        marks.append(
            f'<rect class="frame" x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}"/>'
        )
    view = f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title, quote=True)}"'
    return f'<svg class="treemap" {view}>{"".join(marks)}</svg>'


def _cells(tensors: Sequence[PlannedTensor], room: Box, plan: Plan) -> Iterator[str]:
    ordered = sorted(tensors, key=lambda t: -t.nbytes)
    for t, box in zip(ordered, squarified([t.nbytes for t in ordered], room), strict=True):
        label = short_name(t.name)
        fits = box.width >= min(LABEL_WIDE, 7.2 * len(label)) + 6 and box.height >= LABEL_TALL
        text = (
            f'<text x="{box.x + box.width / 2:.1f}" y="{box.y + box.height / 2 + 4:.1f}">{escape(label)}</text>'
            if fits and 7.2 * len(label) <= box.width
            else ""
        )
        deep = " deep" if depth_of(t.bpw) > DEEP else ""
        yield (
            f'<g class="cell{deep}" style="--depth:{depth_of(t.bpw):.3f}" data-part="{part_of(t, plan)}" '
            f'data-words="{escape(words(t), quote=True)}">'
            f'<rect x="{box.x + 0.75:.2f}" y="{box.y + 0.75:.2f}" width="{max(0.3, box.width - 1.5):.2f}" '
            f'height="{max(0.3, box.height - 1.5):.2f}" rx="2"/>{text}</g>'
        )


def part_of(t: PlannedTensor, plan: Plan) -> str:
    """Which part of the recipe's name decided a tensor's format: "default", "mixture", or "kept" as it was."""
    if not quantizable(t.name, t.shape):
        return "kept"
    return "default" if t.target == plan.recipe.default else "mixture"


def words(t: PlannedTensor) -> str:
    """What is said of a tensor: its name and what it is for, its size, the reason."""
    shape = " × ".join(f"{d:,}" for d in t.shape)
    reason = f"{t.reason[0].upper()}{t.reason[1:]}."
    return (
        f"{glossed(t.name)}\n{shape} = {prod(t.shape):,} weights · {t.target}, {t.bpw:.4g} bpw · {t.nbytes:,} bytes"
        f"\n{reason}"
    )


def short_name(name: str) -> str:
    """blk.3.ffn_down.weight as ffn_down 3."""
    stem = name.removesuffix(".weight")
    pieces = stem.split(".", 2)
    return f"{pieces[2]} {pieces[1]}" if pieces[0] == "blk" and len(pieces) == 3 else stem


def _bytes(tensors: Iterable[PlannedTensor]) -> int:
    return sum(t.nbytes for t in tensors)


def _grouped(tensors: Iterable[PlannedTensor], key) -> list[tuple[str, list[PlannedTensor]]]:
    """Groups with bytes in them, the largest first."""
    filled = sorted((t for t in tensors if t.nbytes), key=key)
    groups = [(name, list(group)) for name, group in groupby(filled, key=key)]
    return sorted(groups, key=lambda pair: -_bytes(pair[1]))


def pieces(recipe: Recipe) -> list[dict]:
    """The pieces of a recipe's name for the picture above: what each says, and the cells that it decided."""
    found = parts(recipe)
    return [
        {
            "text": part.text, "kind": part.kind, "title": part.title, "meaning": part.meaning,
            "part": "mixture" if part.kind == "mixture" else "default",
            "joined": at > 1,
        }
        for at, part in enumerate(found)
    ]  # fmt: skip
