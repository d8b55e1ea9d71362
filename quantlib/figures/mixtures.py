"""Recipes of one family side by side: which tensor gets which format, layer by layer, and what each takes in all."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import prod

from quantlib import formats
from quantlib.figures.runs import depth_of, kind_of, row_names
from quantlib.figures.treemap import words
from quantlib.fit import KNOWN
from quantlib.jobs import Plan
from quantlib.recipes import RECIPES, layer_of, quantizable

WIDTH, LEFT, TALL, GAP, HEAD = 960, 104, 19, 18, 26
CODES = ("code", "sign")  # roles of what is stored for each weight, not for a block

# Recipes whose names differ only in how much they mix, the smallest first.
FAMILIES = {
    "Q2_K": ("Q2_K_S", "Q2_K"),
    "Q3_K": ("Q3_K_S", "Q3_K_M", "Q3_K_L"),
    "Q4_K": ("Q4_K_S", "Q4_K_M"),
    "Q5_K": ("Q5_K_S", "Q5_K_M"),
    "IQ2": ("IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M"),
    "IQ3": ("IQ3_XXS", "IQ3_XS", "IQ3_S", "IQ3_M"),
    "IQ4": ("IQ4_XS", "IQ4_NL"),
}


def mixtures_svg(plans: Sequence[Plan]) -> str:
    """A panel for each plan of one model: kinds of tensor from top to bottom, layers from left to right.

    A mark on a cell: another format than in the plan before it.
    """
    matrices = [[t for t in plan.tensors if quantizable(t.name, t.shape)] for plan in plans]
    rows = {name: row for row, name in enumerate(row_names(matrices[0]))}
    panel = (WIDTH - LEFT - GAP * (len(plans) - 1)) / len(plans)
    layers = max((n for t in matrices[0] if (n := layer_of(t.name)) is not None), default=0) + 1
    marks = [
        f'<text class="name" x="{LEFT - 8}" y="{HEAD + row * TALL + 14}">{escape(name)}</text>'
        for name, row in rows.items()
    ]
    before: dict[str, str] = {}
    for number, (plan, tensors) in enumerate(zip(plans, matrices, strict=True)):
        left = LEFT + number * (panel + GAP)
        marks.append(f'<text class="title" x="{left:.1f}" y="16">{escape(plan.recipe.name)}</text>')
        for t in tensors:
            layer = layer_of(t.name)
            wide = panel if layer is None else panel / layers
            x = left if layer is None else left + layer * wide
            y = HEAD + rows[kind_of(t.name)] * TALL
            other = before.get(t.name, t.target) != t.target
            gap = 1 if wide > 5 else 0.3
            dot = f'<circle cx="{x + wide / 2:.1f}" cy="{y + TALL / 2 - 1:.1f}" r="2.2"/>' if other else ""
            marks.append(
                f'<g class="cell" style="--depth:{depth_of(t.bpw):.3f}" data-words="{escape(words(t), quote=True)}">'
                f'<rect x="{x:.2f}" y="{y}" width="{wide - gap:.2f}" height="{TALL - 2}" rx="1.5"/>{dot}</g>'
            )
        before = {t.name: t.target for t in tensors}
    height = HEAD + len(rows) * TALL + 4
    label = "Formats by tensor and layer under " + ", ".join(plan.recipe.name for plan in plans)
    view = f'viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}"'
    return f'<svg class="mixtures" {view}>{"".join(marks)}</svg>'


def legend_html(plans: Sequence[Plan]) -> str:
    """The formats that occur, from few bits to many, each beside its depth of colour."""
    used = {t.target for plan in plans for t in plan.tensors if quantizable(t.name, t.shape)}
    items = "".join(
        f'<span><i style="--depth:{depth_of(f.bpw):.3f}"></i>{f.name} <small>{f.bpw:g} bpw</small></span>'
        for f in sorted((formats.get(name) for name in used), key=lambda f: f.bpw)
    )
    return f'<p class="formats">{items}</p>'


def comparison(plans: Sequence[Plan]) -> list[dict]:
    """A row for each plan: its size, its bits per weight, and how many matrices have each format."""
    rows = []
    for plan in plans:
        counts = Counter(t.target for t in plan.tensors if quantizable(t.name, t.shape))
        rows.append(
            {"recipe": plan.recipe.name, "bytes": plan.nbytes, "bpw": round(plan.bpw, 4)}
            | {"formats": ", ".join(f"{count} × {name}" for name, count in counts.most_common())}
        )
    return rows


def by_format(plan: Plan) -> list[dict]:
    """The file to the byte: a row for each format, and one for the header and the padding between tensors."""
    rows = []
    for name in sorted({t.target for t in plan.tensors}, key=lambda n: formats.get(n).bpw):
        tensors = [t for t in plan.tensors if t.target == name]
        weights = sum(prod(t.shape) for t in tensors)
        fmt = formats.get(name)
        rows.append(
            {
                "part": name, "bytes": sum(t.nbytes for t in tensors), "tensors": len(tensors), "weights": weights,
                "blocks": weights // fmt.values, "bytes of a block": fmt.nbytes,
            }
        )  # fmt: skip
    inside = sum(row["bytes"] for row in rows)
    rows.append(
        {"part": "header and padding", "bytes": plan.nbytes - inside, "tensors": None, "weights": None, "blocks": None,
         "bytes of a block": None}
    )  # fmt: skip
    return rows


@dataclass(frozen=True)
class Bill:
    """Bits per weight of a model in a recipe: of the codes, of what comes on top in a block, of other formats."""

    recipe: str
    default: str
    codes: float
    scales: float
    others: float

    @property
    def bpw(self) -> float:
        return self.codes + self.scales + self.others

    @property
    def words(self) -> str:
        block = self.codes + self.scales
        return (
            f"The codes have {self.codes:g} bits. With its scales {self.default} takes {block:g}. And the recipe gives "
            f"some tensors other formats, which makes **{self.bpw:.4f}** bits per weight over the whole model."
        )


def bill(plan: Plan) -> Bill:
    """What the bits of a plan are spent on. Codes: with signs and high bits, which belong to them."""
    form = formats.get(plan.recipe.default)
    of_codes = sum(f.count * f.width for f in form.layout.fields if f.role in CODES) / form.values
    return Bill(plan.recipe.name, form.name, of_codes, form.bpw - of_codes, plan.bpw - form.bpw)


def bill_html(plan: Plan) -> str:
    """The bill as three bars to scale, each beginning where the one before ends; the sum is not written."""
    found = bill(plan)
    items = (("code", "codes", found.codes), ("super-scale", f"scales of {found.default}", found.scales),
             ("sub-minimum", "tensors in other formats", found.others))  # fmt: skip
    whole, left, rows = max(found.bpw, found.codes + found.scales), 0.0, []
    for role, name, bits in items:
        start = left if bits >= 0 else left + bits
        place = f"margin-left:{100 * start / whole:.2f}%;width:{100 * abs(bits) / whole:.2f}%"
        rows.append(
            f'<div class="bill-row"><span>{escape(name)}</span><span class="track">'
            f'<i style="{place};background:var(--role-{role})"></i></span><b>{bits:+.2f}</b></div>'
        )
        left += bits
    label = f"Bits for each weight of {plan.checkpoint.source.name} in {found.recipe}: what they are spent on"
    return f'<div class="bill" role="img" aria-label="{escape(label, quote=True)}">{"".join(rows)}</div>'


def nearest(bpw: float, choices: Sequence[str]) -> str:
    """Which of these counts of bits, as they are written, is nearest."""
    return min(choices, key=lambda bits: abs(float(bits) - bpw))


def lessons() -> tuple[str, str, str]:
    """What the chapter teaches, from the recipes' own declarations."""
    kept = [r.name for r in RECIPES.values() if r.quantizes and r.output in (None, r.default)]
    q4 = KNOWN["Llama-3-8B"].planned("Q4_K_M").bpw
    return (
        f"The number counts the bits of a code. Scales and larger formats come on top: Q4_K_M takes {q4:.1f} bits. "
        f"Only {' and '.join(kept)} leave the output matrix in their own format.",
        "K means super-blocks. 0 and 1 are the older blocks, and IQ means codebooks.",
        "S, M and L are mixtures: they say which tensors get a format with more bits. The formats stay the same.",
    )
