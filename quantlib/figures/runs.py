"""Pictures of plans and finished runs: how large files are, which tensor gets which format, where the error sits."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil

from quantlib.architectures.diffusion_parts import block_of
from quantlib.cards import Made
from quantlib.checkpoints.image_models import image_family
from quantlib.figures.strip import component_of
from quantlib.jobs import Plan, PlannedTensor, TensorResult
from quantlib.jobs.coverage import weighable
from quantlib.lm.gptq_writing import GptqFile
from quantlib.recipes import layer_of, quantizable
from quantlib.tables import size


def size_bars(plans: Sequence[Plan], chosen: str) -> str:
    """Files of one model under several recipes as bars to scale, as HTML; classes bar and chosen carry the colour."""
    largest = max(plan.nbytes for plan in plans)
    rows = []
    for plan in plans:
        chosen_class = " chosen" if plan.recipe.name == chosen else ""
        width = 100 * plan.nbytes / largest
        rows.append(
            f'<div class="size-row{chosen_class}"><span class="name">{escape(plan.recipe.name)}</span>'
            f'<span class="track"><span class="bar" style="width:{width:.2f}%"></span></span>'
            f'<span class="size">{size(plan.nbytes)}</span><span class="bpw">{plan.bpw:.2f} bits each</span></div>'
        )
    return f'<div class="sizes" role="img" aria-label="File sizes by recipe">{"".join(rows)}</div>'


def result_html(made: Made) -> str:
    """A finished file in a few lines: bytes, hash, error, formats by role, importance, the command that makes it."""
    loss = made.result.loss
    facts = (
        ("Size", f"{made.result.nbytes:,} bytes, {made.plan.bpw:.2f} bits per weight"),
        ("SHA-256", made.sha256),
        ("Structure", f"{made.structure} (names, shapes and formats)"),
        ("Error over all weights", f"{loss.relative:.3%} of their root mean square"),
        *((f"Formats, {role}", said) for role, said in formats_by_role(made).items()),
        ("Importance matrix", weighed_words(made.plan)),
        ("The same from a shell", made.command),
    )
    return _facts_html(facts)


def chosen_html(plan: Plan, file: GptqFile, sha256: str, command: str) -> str:
    """The same of a file whose codes were chosen on a text."""
    return _facts_html(
        (
            ("Size", f"{file.nbytes:,} bytes, {file.bpw:.2f} bits per weight"),
            ("SHA-256", sha256),
            ("Codes", f"of {file.filled:,} matrices, chosen on {file.tokens:,} tokens of the text"),
            ("Formats", ", ".join(f"{n} in {c:,} tensors" for n, c in Counter(t.target for t in plan.tensors).items())),
            ("The same from a shell", command),
        )
    )


def _facts_html(facts: Sequence[tuple[str, str]]) -> str:
    rows = "".join(f"<dt>{escape(what)}</dt><dd>{escape(said)}</dd>" for what, said in facts)
    return f'<dl class="result">{rows}</dl>'


def formats_by_role(made: Made) -> dict[str, str]:
    """What tensors of each role are stored in, the format of most bytes first; the role of most bytes first."""
    of_images = image_family(made.plan.checkpoint) is not None
    sums: dict[str, Counter[str]] = {}
    counts: dict[str, Counter[str]] = {}
    for tensor in made.result.tensors:
        role = component_of(tensor.name, of_images)
        sums.setdefault(role, Counter())[tensor.target] += tensor.nbytes
        counts.setdefault(role, Counter())[tensor.target] += 1
    return {
        role: ", ".join(f"{name} in {counts[role][name]:,} ({size(n)})" for name, n in of_role.most_common())
        for role, of_role in sorted(sums.items(), key=lambda pair: -pair[1].total())
    }


def weighed_words(plan: Plan) -> str:
    """How many of the tensors that importance could weigh it does."""
    could = weighable(plan.tensors, None)
    by_name = {tensor.name: tensor for tensor in plan.tensors}
    weighed = sum(by_name[name].importance is not None for name in could)
    return f"{weighed:,} of {len(could):,} tensors are weighed by one" if weighed else "none was used"


@dataclass(frozen=True)
class Cell:
    """A tensor on the map: the label in its cell, what is said when pointed at, and 0..1, how deep its colour is.

    pick: what a click on it tells the page, where it opens something.
    """

    label: str
    words: str
    depth: float
    pick: str = ""


def depth_of(bpw: float) -> float:
    """How deep the colour of a format is, 0..1: one scale for all pictures, from 2 to 8.5 bits per weight."""
    return min(1.0, max(0.0, (bpw - 2) / 6.5))


def format_map(plan: Plan) -> str:
    """Which matrix gets which format: layers from left to right, kinds of tensor from top to bottom."""

    def cell(t: PlannedTensor) -> Cell:
        words = f"{t.name}: {t.source} → {t.target}, {t.bpw:.4g} bits per weight. {t.reason[0].upper()}{t.reason[1:]}."
        return Cell(t.target, words, depth_of(t.bpw))

    return layer_map([t for t in plan.tensors if quantizable(t.name, t.shape)], cell, "format", "Formats by layer")


def error_map(results: Sequence[TensorResult]) -> str:
    """What each matrix lost: relative error in percent, on the same map."""
    matrices = [r for r in results if quantizable(r.name, r.shape)]
    worst = max((r.loss.relative for r in matrices), default=0) or 1.0

    def cell(r: TensorResult) -> Cell:
        percent = f"{100 * r.loss.relative:.2g}%"
        words = f"{r.name}, {r.target}: relative error {percent}, {r.loss.sqnr:.1f} dB"
        return Cell(percent, words, r.loss.relative / worst)

    return layer_map(matrices, cell, "error", "Relative error by layer")


ROWS = ("attn_q", "attn_k", "attn_v", "attn_qkv", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
WIDTH, LEFT, TALL, GAP = 960, 110, 26, 2
LETTER = 6.6  # the width of one beside a row
LABEL_FROM = 44  # narrower cells carry no label


def layer_map(tensors: Sequence, cell_of: Callable[..., Cell], kind: str, title: str) -> str:
    """A cell for each tensor, which has GGUF's name: layers from left to right, kinds of matrix from top to bottom.

    kind: the class that colours the cells, "format" or "error".
    """
    layers = [n for t in tensors if (n := number_of(t.name)) is not None]
    columns = max(layers, default=0) + 1
    rows = {name: row for row, name in enumerate(row_names(tensors))}
    left = max(LEFT, 12 + ceil(LETTER * max((len(name) for name in rows), default=0)))
    wide = (WIDTH - left) / columns
    marks = [
        f'<text class="name" x="{left - 8}" y="{row * (TALL + GAP) + 18}">{escape(name)}</text>'
        for name, row in rows.items()
    ]
    for tensor in tensors:
        layer, cell = number_of(tensor.name), cell_of(tensor)
        x, w = (left, WIDTH - left) if layer is None else (left + layer * wide, wide)
        y = rows[kind_of(tensor.name)] * (TALL + GAP)
        marks.append(
            f'<g class="{kind}" style="--depth:{cell.depth:.3f}"{_pick(cell.pick)}><title>{escape(cell.words)}</title>'
            f'<rect x="{x:.1f}" y="{y}" width="{w - GAP:.1f}" height="{TALL}" rx="3"/>'
            + (f'<text x="{x + w / 2:.1f}" y="{y + 18}">{escape(cell.label)}</text>' if w >= LABEL_FROM else "")
            + "</g>"
        )
    height = len(rows) * (TALL + GAP) + 24
    every = max(1, -(-columns // 20))
    marks += [
        f'<text class="layer" x="{left + (n + 0.5) * wide:.1f}" y="{height - 6}">{n}</text>'
        for n in range(0, columns, every)
    ]
    marks.append(f'<text class="name" x="{left - 8}" y="{height - 6}">layer</text>')
    role = "group" if any("data-pick" in mark for mark in marks) else "img"
    view = f'viewBox="0 0 {WIDTH} {height}" role="{role}" aria-label="{escape(title)}"'
    return f'<svg class="map" {view}>{"".join(marks)}</svg>'


def _pick(name: str) -> str:
    """What makes a mark one that can be clicked."""
    return f' data-pick="{escape(name)}" tabindex="0" role="button"' if name else ""


def kind_of(name: str) -> str:
    """What a tensor is called beside its row: the part of its name behind the layer."""
    stem = name.removesuffix(".weight")
    if (block := block_of(stem)) is not None:
        return f"{block[0]} {block[2]}"
    return stem if layer_of(name) is None else stem.split(".", 2)[2]


def number_of(name: str) -> int | None:
    """The layer of a language model or the block of an image model that a tensor is in; None outside them."""
    block = block_of(name)
    return layer_of(name) if block is None else block[1]


def row_names(tensors: Sequence) -> list[str]:
    """token_embd first, the kinds of a layer in the order of computation, the output last."""

    def key(name: str) -> tuple[int, str]:
        order = {"token_embd": -1, "output": len(ROWS) + 1} | {kind: i for i, kind in enumerate(ROWS)}
        return order.get(name, len(ROWS)), name

    return sorted({kind_of(t.name) for t in tensors}, key=key)
