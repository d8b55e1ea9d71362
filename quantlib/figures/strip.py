"""A checkpoint as one strip of bytes in the order of its files, coloured by what tensors do or by their bits."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from quantlib.architectures import diffusion_parts
from quantlib.checkpoints import Checkpoint, Tensor
from quantlib.checkpoints.image_models import image_family
from quantlib.tables import size

WIDTH, TALL, GAP = 960, 22, 3  # of a row
MOST_ROWS = 12
THIN = 1.5  # thinner pieces of one colour are drawn together

# What a tensor does, by the words in its name under either naming; the first that is found decides.
COMPONENTS = {
    "embedding": r"token_embd|embed_tokens|wte\b|wpe\b|position_embd|\boutput\.weight|lm_head",
    "norm": r"norm|ln_\d|ln_f|layernorm",
    "experts": r"_exps|experts",
    "attention": r"attn|attention|[qkvo]_proj|\.c_attn",
    "feed-forward": r"ffn|mlp|(up|down|gate)_proj|\.fc\d",
}
OTHER, HEADER = "other", "header"
DEPTHS = ((3, "under 3"), (5, "3 to 5"), (7, "5 to 7"), (10, "7 to 10"), (20, "10 to 20"), (999, "32 and more"))


@dataclass(frozen=True)
class Piece:
    """Bytes that are drawn as one: from start on, of one kind, said in words."""

    start: int
    nbytes: int
    kind: str
    words: str


def component_of(name: str, of_images: bool = False) -> str:
    """What a tensor does, by its name: one of COMPONENTS, of an image model one of its parts; or "other"."""
    if of_images:
        return diffusion_parts.part_of(name) or OTHER
    return next((kind for kind, words in COMPONENTS.items() if re.search(words, name)), OTHER)


def depth_of(tensor: Tensor) -> str:
    """Its bits per weight, in the steps of the legend."""
    bits = 8 * tensor.nbytes / max(1, tensor.size)
    return next(words for most, words in DEPTHS if bits < most)


def pieces(checkpoint: Checkpoint, by: str) -> list[Piece]:
    """Every tensor in byte order, and what lies between them (headers, padding). by: "component", "part" or "bits"."""
    found, at, file, base = [], 0, None, 0
    order = {name: i for i, name in enumerate(dict.fromkeys(t.file for t in checkpoint))}
    for tensor in sorted(checkpoint, key=lambda t: (order[t.file], t.offset or 0)):
        if tensor.file != file:
            file, base = tensor.file, at
        start = base + tensor.offset if tensor.offset is not None else at
        if start - at > 4096:
            found.append(Piece(at, start - at, HEADER, f"header of {tensor.file}: {size(start - at)}"))
        kind = depth_of(tensor) if by == "bits" else component_of(tensor.name, by == "part")
        words = f"{tensor.name}: {tensor.format}, {size(tensor.nbytes)}, from byte {tensor.offset or 0:,} on"
        found.append(Piece(start, tensor.nbytes, kind, words))
        at = start + tensor.nbytes
    return found


def kinds(by: str) -> list[str]:
    """All kinds in the order of the legend; the header's comes last."""
    if by == "bits":
        return [*(words for _, words in DEPTHS), HEADER]
    return [*(diffusion_parts.NAMES if by == "part" else COMPONENTS), OTHER, HEADER]


def strip_svg(checkpoint: Checkpoint, by: str = "component") -> str:
    """The strip as SVG, wrapped into rows like text, with a legend; the style sheet colours the classes k0, k1, ...

    by: "component" for what tensors do, by the parts of an image model where it is one; "bits" for their bits.
    """
    if by == "component" and image_family(checkpoint) is not None:
        by = "part"
    found = pieces(checkpoint, by)
    if not found:
        return '<p class="legend">There is no tensor in this file.</p>'
    total = found[-1].start + found[-1].nbytes
    rows = max(1, min(MOST_ROWS, len(found) // 40 + 1))
    number = {kind: i for i, kind in enumerate(kinds(by))}
    sums = dict.fromkeys(number, 0)
    for piece in found:
        sums[piece.kind] += piece.nbytes
    marks = [
        f'<rect class="k{number[kind]}" x="{x:.1f}" y="{row * (TALL + GAP)}" width="{max(0.4, width - 0.3):.1f}" '
        f'height="{TALL}"><title>{escape(_line(words))}</title></rect>'
        for row, x, width, kind, words in _drawn(found, total, rows)
    ]
    unit = " bits" if by == "bits" else ""
    legend = "".join(
        f'<span><i class="k{number[kind]}"></i>{escape(kind)}{unit if kind != HEADER else ""} {size(nbytes)}</span>'
        for kind, nbytes in sums.items()
        if nbytes
    )
    view = f'viewBox="0 0 {WIDTH} {rows * (TALL + GAP)}" role="img" aria-label="The file in byte order"'
    return f'<svg class="strip by-{by}" {view}>{"".join(marks)}</svg><p class="legend by-{by}">{legend}</p>'


def _drawn(found: Sequence[Piece], total: int, rows: int) -> Iterator[tuple[int, float, float, str, str]]:
    """(row, x, width, kind, words): pieces cut at the ends of rows; thin neighbours of one kind are drawn as one."""
    scale = WIDTH * rows / total
    waiting: Piece | None = None
    for piece in _joined(found, THIN / scale):
        waiting = piece
        at, end = waiting.start * scale, (waiting.start + waiting.nbytes) * scale
        while at < end - 1e-9:
            row = min(rows - 1, int(at / WIDTH))
            stop = min(end, WIDTH * (row + 1)) if row < rows - 1 else end
            yield row, at - WIDTH * row, stop - at, waiting.kind, waiting.words
            at = stop


def _joined(found: Sequence[Piece], least: float) -> Iterator[Piece]:
    """Neighbours that are too thin to be told apart become one piece, of the kind that has most bytes in it."""
    group: list[Piece] = []
    for piece in found:
        if group and (sum(p.nbytes for p in group) >= least or piece.nbytes >= least):
            yield _as_one(group)
            group = []
        group.append(piece)
    yield _as_one(group)


def _as_one(group: Sequence[Piece]) -> Piece:
    if len(group) == 1:
        return group[0]
    largest = max(group, key=lambda p: p.nbytes)
    nbytes = group[-1].start + group[-1].nbytes - group[0].start
    return Piece(group[0].start, nbytes, largest.kind, f"{len(group)} tensors, the largest: {largest.words}")


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else "�" for c in text)
