"""How a transformer computes: what makes one kind differ from another, as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Computation:
    """A kind of transformer. Biases, and an output matrix of its own, are used wherever the checkpoint has them.

    norm: "rms" divides by the root of the mean square, "layer" subtracts the mean first and adds a bias.
    norm_before, norm_after: whether attention and feed-forward read normalized values, and return them normalized.
    head_norm: queries and keys are normalized head by head ("head") or all heads at once ("all").
    rotation: which channels turn together, neighbours (2i, 2i + 1) or the two halves (i, i + d/2); None: positions
    are learned vectors, added to the embedding. unrotated: every so many-th layer knows no positions.
    activation: "silu" or "gelu" (its tanh form); gated: whether it multiplies a second matrix's output.
    fused_attention, fused_gate: one matrix for queries, keys and values; one for gate and up.
    scaled_embedding: whether embeddings are multiplied with sqrt(hidden).
    wide_scale: numbers of layers at which scores are divided by sqrt(hidden / heads), not by sqrt(head_dim): the
    largest models of a family do, and no key of GGUF says so. local_base: the frequency of layers with a window where
    the file does not say it.
    """

    norm: str = "rms"
    norm_before: bool = True
    norm_after: bool = False
    head_norm: str | None = None
    rotation: str | None = "halves"
    unrotated: int | None = None
    activation: str = "silu"
    gated: bool = True
    fused_attention: bool = False
    fused_gate: bool = False
    scaled_embedding: bool = False
    wide_scale: frozenset[int] = frozenset()
    local_base: float | None = None
