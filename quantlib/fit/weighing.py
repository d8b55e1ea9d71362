"""What a model's tensors take under every recipe: the file, what is loaded where, what one token reads."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

from quantlib.checkpoints import Checkpoint, Tensor
from quantlib.jobs import Plan, PlannedTensor, plan
from quantlib.recipes import RECIPES, Role, layer_of, role_of

DIVIDES_NOT = "do not divide"  # in the reason of a format that stands in for another
ROUTED = re.compile(r"_exps\.")
NATIVE = "MXFP4_MOE"  # keeps experts that are published in MXFP4
# The recipes that are compared, the most precise first. Those of four bits and fewer are weighed as made with an
# importance matrix, as nearly all files of the hub are; a few without one too.
PLAIN = ("BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S")
IMPORTANT = (
    "Q4_K_M", "Q4_K_S", "IQ4_NL", "IQ4_XS", "Q3_K_L", "Q3_K_M", "IQ3_M", "IQ3_S", "Q3_K_S", "IQ3_XS", "IQ3_XXS",
    "Q2_K", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S",
)  # fmt: skip
WITHOUT = ("Q4_K_M", "Q4_K_S", "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K")
OFFERED = PLAIN + IMPORTANT


Routing = tuple[int, int, int]  # layers that a token passes, experts of each, and how many of those it uses


@dataclass(frozen=True)
class Parts:
    """Bytes of tensors by where llama.cpp loads them.

    layers, experts: of each layer, without and only those that are routed to. output: the output matrix and what
    belongs to no layer; where the model shares it with the token embedding, a copy of that. table: the token embedding,
    which stays in the computer's memory, as do `inputs`, embeddings of each layer. idle: layers that predict further
    tokens, which are not loaded.
    """

    layers: tuple[int, ...]
    experts: tuple[int, ...]
    output: int
    table: int
    inputs: int
    shared: bool
    idle: int

    @property
    def on_cards(self) -> int:
        """Bytes that graphics cards hold where all layers are theirs."""
        return sum(self.layers) + sum(self.experts) + self.output

    @property
    def beside(self) -> int:
        """Bytes that stay in the computer's memory all the same."""
        return self.table + self.inputs

    @property
    def loaded(self) -> int:
        """Bytes in one memory that holds everything."""
        return self.on_cards + self.inputs + (0 if self.shared else self.table)


@dataclass(frozen=True)
class Weighed:
    """A recipe's tensors, in bytes. nbytes: of all tensors; file: with the header, as far as it is known.

    imatrix: made with an importance matrix. read: weights that one token reads. bpw: everything counted. formats: the
    share of weights in each format, the largest first. fallback: the share whose rows do not divide into the blocks of
    the recipe's format, so that another one stands in.
    """

    recipe: str
    imatrix: bool
    bpw: float
    nbytes: int
    file: int
    parts: Parts
    read: int
    formats: tuple[tuple[str, float], ...] = ()
    fallback: float = 0.0


def weigh(checkpoint: Checkpoint, view: Checkpoint, recipes: Iterable[str] | None = None) -> list[Weighed]:
    """What a model's tensors take under each recipe that can be run. view: the checkpoint as GGUF.

    recipes: names to be weighed, without an importance matrix; all that are offered where it is None.
    """
    wanted = [(name, False) for name in recipes] if recipes is not None else _offered(view)
    routing = routing_of(view)
    found = [
        _of_plan(plan(checkpoint, name, important=known), known, routing) for name, known in wanted if name in RECIPES
    ]
    native = next((w.nbytes for w in found if w.recipe == NATIVE), None)
    # Where the experts are published in four bits, a recipe that makes the file no smaller is no choice.
    return [w for w in found if native is None or w.nbytes < native or w.recipe in (NATIVE, *PLAIN[:2])]


def routing_of(view: Checkpoint) -> Routing:
    """Layers that a token passes, experts of each, and how many of those it uses."""
    trunk = max(0, _number(view, "block_count") - _number(view, "nextn_predict_layers"))
    return trunk, _number(view, "expert_count"), _number(view, "expert_used_count")


def _offered(view: Checkpoint) -> list[tuple[str, bool]]:
    native = [(NATIVE, False)] if any(t.format == "MXFP4" for t in view) else []
    pairs = [(name, False) for name in PLAIN] + native
    for name in IMPORTANT:
        pairs.append((name, True))
        if name in WITHOUT:
            pairs.append((name, False))
    return pairs


def _of_plan(planned: Plan, imatrix: bool, routing: Routing) -> Weighed:
    return weighed_tensors(planned.tensors, planned.recipe.name, imatrix, routing, planned.nbytes)


def weighed_tensors(
    tensors: Sequence[PlannedTensor] | Sequence[Tensor],
    recipe: str,
    imatrix: bool,
    routing: Routing,
    file: int,
) -> Weighed:
    """Tensors, planned or stored, in bytes."""
    trunk, experts, used = routing
    parts = parts_of(tensors, trunk)
    share = used / experts if experts else 1
    rows = sum(t.nbytes / max(1, t.shape[0]) for t in tensors if _looked_up(t))
    weights: Counter[str] = Counter()
    stand_in = 0
    for t in tensors:
        size = prod(t.shape)
        weights[t.format if isinstance(t, Tensor) else t.target] += size
        stand_in += size if isinstance(t, PlannedTensor) and DIVIDES_NOT in t.reason else 0
    total, nbytes = max(1, weights.total()), sum(t.nbytes for t in tensors)
    return Weighed(
        recipe, imatrix, 8 * nbytes / total, nbytes, file, parts,
        read=round(sum(parts.layers) + share * sum(parts.experts) + parts.output + rows),
        formats=tuple((name, count / total) for name, count in weights.most_common()),
        fallback=stand_in / total,
    )  # fmt: skip


def parts_of(tensors: Sequence[PlannedTensor] | Sequence[Tensor], trunk: int) -> Parts:
    """The tensors by where they are loaded."""
    layers, routed = [0] * trunk, [0] * trunk
    outside = inputs = table = idle = 0
    shared = not any(role_of(t.name) is Role.OUTPUT for t in tensors)
    for t in tensors:
        layer = layer_of(t.name)
        if layer is not None and layer >= trunk:
            idle += t.nbytes
        elif layer is not None:
            (routed if ROUTED.search(t.name) else layers)[layer] += t.nbytes
        elif t.name == "token_embd.weight":
            table = t.nbytes
        elif _looked_up(t):
            inputs += t.nbytes
        else:
            outside += t.nbytes
    return Parts(tuple(layers), tuple(routed), outside + (table if shared else 0), table, inputs, shared, idle)


def _looked_up(t: PlannedTensor | Tensor) -> bool:
    return layer_of(t.name) is None and role_of(t.name) is Role.EMBEDDING


def _number(view: Checkpoint, key: str) -> int:
    value = view.value(f"{view.architecture}.{key}", 0)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
