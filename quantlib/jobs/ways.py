"""Three ways to choose the codes of the same blocks, and what each can be expected to lose and to take.

The recipe decides the formats, and with them the size. The way decides which of the storable blocks are stored.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

from quantlib.architectures import by_name
from quantlib.checkpoints import MetadataValue
from quantlib.jobs.expected import TYPICAL
from quantlib.jobs.planning import Plan, PlannedTensor
from quantlib.methods.shares import PLAIN, SHARES
from quantlib.recipes import layer_of

PRODUCTS = 2e10  # multiplications and additions of a forward pass that one core does in a second
TOKENS = 1 << 16  # that a calibration takes at most, evenly from all of the text; more changed little
CHARACTERS = 4  # of a text that make a token, about
SHARED = ("attn_k", "attn_v", "ffn_gate")  # they read what another matrix of their layer reads


@dataclass(frozen=True)
class Way:
    """name: as `quantize --method` takes it. title, says: for people."""

    name: str
    title: str
    says: str


AS_LLAMA_CPP = Way("ggml", "As llama.cpp would", "the bytes of llama-quantize")
BETTER = Way("best", "Better codes, same size", "a longer search in every block")
ON_A_TEXT = Way("gptq", "Chosen on a text of yours", "for what each layer puts out when it reads the text")
WAYS = (AS_LLAMA_CPP, BETTER, ON_A_TEXT)


@dataclass(frozen=True)
class Expected:
    """What a way can be expected to do to a model.

    loss: squared error of what the layers' matrices put out, as a share of that with the first way. seconds: on so many
    cores as were asked for; 0 where `unable` says why this model cannot have it.
    """

    way: Way
    loss: float
    seconds: float
    unable: str = ""


def expected(plan: Plan, tokens: int = TOKENS, cores: int | None = None) -> tuple[Expected, ...]:
    """The three ways to make a plan's file, in the order of `WAYS`; an estimate from its formats and shapes.

    loss ~ Σ n · typical² · share over the layers' matrices of n weights: what a format usually loses of a weight, and
    the share of the squared output error that the way leaves of it, as measured on the demo model. With an importance
    matrix in the plan, the first two ways have it, too.
    tokens: of the calibration text. cores: all of this machine's, where nothing is said.
    """
    cores = cores or os.cpu_count() or 1
    unable = why_not_on_a_text(plan)
    losses = [_loss(plan, way) for way in WAYS]
    fitting = 0.0 if unable else _fitting(plan, tokens)
    seconds = [_encoding(plan, AS_LLAMA_CPP), _encoding(plan, BETTER), fitting]
    return tuple(
        Expected(way, loss / losses[0] if losses[0] else 1.0, time / cores, unable if way is ON_A_TEXT else "")
        for way, loss, time in zip(WAYS, losses, seconds, strict=True)
    )


def matters(plan: Plan) -> bool:
    """Whether the way makes a difference: any matrix inside the layers gets a format whose codes can be chosen."""
    return any(not t.copied and t.target in SHARES for t in _matrices(plan))


def tokens_of(characters: int) -> int:
    """About how many tokens a text of so many characters gives a calibration."""
    return min(TOKENS, characters // CHARACTERS)


def why_not_on_a_text(plan: Plan) -> str:
    """Why a model's codes cannot be chosen on a text; empty where they can."""
    name = _value(plan, "general.architecture")
    found = by_name(name) if isinstance(name, str) else None
    if found is None or found.runs is None:
        return "this model is not run here, so it cannot read a text"
    if found.runs.layered:
        return f"layers of {found.title} read more than the layer before puts out"
    return ""


def with_effort(plan: Plan, effort: str) -> Plan:
    """The same plan with its codes searched at another effort, as `plan` takes it."""
    return replace(plan, effort=effort, tensors=tuple(replace(t, effort=effort) for t in plan.tensors))


def _loss(plan: Plan, way: Way) -> float:
    """Squared error of what the layers' matrices put out, in a unit that is the same for all ways."""
    lost = 0.0
    for tensor in _matrices(plan):
        if not tensor.copied:
            share = SHARES.get(tensor.target, PLAIN).of(way.name, tensor.importance is not None)
            lost += prod(tensor.shape) * TYPICAL.get(tensor.target, 0.0) ** 2 * share
    return lost


def _encoding(plan: Plan, way: Way) -> float:
    """Seconds of one core to encode all tensors."""
    encoded = (t for t in plan.tensors if not t.copied)
    return sum(1e-9 * prod(t.shape) * SHARES.get(t.target, PLAIN).nanoseconds(way.name) for t in encoded)


def _fitting(plan: Plan, tokens: int) -> float:
    """Seconds of one core to choose the layers' codes on a text.

    Two passes of the text through the layers, 2 n for each weight and token; the sums Σ x xᵀ over each group of inputs
    and their factor, 2 n² (tokens + n); and the search.
    """
    work, search = 0.0, 0.0
    for tensor in _matrices(plan):
        count, inputs = prod(tensor.shape), tensor.shape[-1]
        stacked, used = len(tensor.shape) == 3, 1.0
        if stacked:
            used = min(1.0, _number(plan, "expert_used_count", tensor.shape[0]) / tensor.shape[0])
        work += 4 * count * used * tokens
        if tensor.name.split(".")[2] not in SHARED:
            work += 2 * inputs**2 * (tokens * used + inputs) * (tensor.shape[0] if stacked else 1)
        search += 1e-9 * count * SHARES.get(tensor.target, PLAIN).nanoseconds(ON_A_TEXT.name)
    return work / PRODUCTS + search + _encoding(plan, AS_LLAMA_CPP)


def _matrices(plan: Plan) -> Iterator[PlannedTensor]:
    return (t for t in plan.tensors if layer_of(t.name) is not None and len(t.shape) in (2, 3))


def _number(plan: Plan, key: str, default: int) -> int:
    value = _value(plan, f"{_value(plan, 'general.architecture')}.{key}")
    return value if isinstance(value, int) and value > 0 else default


def _value(plan: Plan, key: str) -> object:
    found = plan.metadata.get(key)
    return found.value if isinstance(found, MetadataValue) else None
