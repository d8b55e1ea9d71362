"""How a transformer computes: what makes one kind differ from another, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Routing:
    """How tokens are given to experts, where the metadata of a model do not say it.

    scoring: "softmax" or "sigmoid" of the router's scores, or "softmax of the chosen" after the choice.
    normalized: whether the weights of the chosen experts are made to add up to 1.
    """

    scoring: str = "softmax"
    normalized: bool = False


@dataclass(frozen=True)
class Delta:
    """Linear attention with a gated delta rule. tiled: value heads go round after round over the key heads, instead of
    all of one key head first. joined: steps and decays of the key heads are made by one matrix.
    """

    tiled: bool = True
    joined: bool = False


@dataclass(frozen=True)
class Encoding:
    """How an encoder makes vectors of tokens that all see each other.

    norm: as of Computation. norm_first: whether attention and feed-forward read normalized values; else each is added
    to its input, and the sum is normalized.
    positions: "learned" vectors, "rotary" angles, or "distances", for each of which every head adds a number to its
    scores, which are not scaled then.
    full_every: every so many-th layer from the first on sees all tokens, the others a window, half of it to each side.
    activation: as of Computation, in feed-forward parts without a gate; gate: in those with one. halves: whether gate
    and up are one matrix, the gate first.
    prefix, output: what GGUF puts before the names of its tensors, and what it calls the output of attention.
    """

    norm: str = "layer"
    norm_first: bool = False
    positions: Literal["learned", "rotary", "distances"] = "learned"
    full_every: int = 1
    activation: str = "erf"
    gate: str = "silu"
    halves: bool = False
    prefix: str = ""
    output: str = "attn_output"


@dataclass(frozen=True)
class Computation:
    """A kind of transformer. Biases, and an output matrix of its own, are used wherever the checkpoint has them.

    norm: "rms" divides by the root of the mean square, "layer" subtracts the mean first and adds a bias if it has one.
    norm_before, norm_after: whether attention and feed-forward read normalized values, and return them normalized.
    second_norm: what GGUF calls the norm before the feed-forward part. parallel: both parts read the same values, and
    are added together; where they share a norm there is no second.
    head_norm: queries and keys are normalized head by head ("head") or all heads at once ("all"); normed_after: behind
    the rotation. gated_queries: each query comes with a gate for what the head puts out.
    rotation: which channels turn together, neighbours (2i, 2i + 1) or the two halves (i, i + d/2); None: positions
    are learned vectors, added to the embedding. unrotated: every so many-th layer knows no positions; where
    `windows_rotate`, no layer without a window does.
    normed_values, unscaled: values are normalized head by head, and scores are not scaled. layered: each layer has an
    input of its own for each token, and some take keys and values from a layer before them.
    latent: keys and values are made of few numbers for each token (MLA). delta: some layers are of linear attention.
    convolved: some layers are short convolutions in place of attention.
    activation: "silu", "gelu" (its tanh form), "erf" (gelu itself) or "swiglu" (clamped, as gpt-oss has it); gated:
    whether it multiplies a second matrix's output. routing: of the layers that have experts.
    fused_attention, fused_gate: one matrix for queries, keys and values; one for gate and up.
    scaled_embedding: whether embeddings are multiplied with sqrt(hidden). divides_logits: whether logits are divided by
    their scale, not multiplied with it. exact_yarn: the ramp between stretched and kept frequencies starts and ends
    between two of them.
    wide_scale: numbers of layers at which scores are divided by sqrt(hidden / heads), not by sqrt(head_dim): the
    largest models of a family do, and no key of GGUF says so. local_base: the frequency of layers with a window where
    the file does not say it.
    """

    norm: str = "rms"
    norm_before: bool = True
    norm_after: bool = False
    second_norm: str = "ffn_norm"
    parallel: bool = False
    head_norm: str | None = None
    normed_after: bool = False
    gated_queries: bool = False
    rotation: str | None = "halves"
    unrotated: int | None = None
    windows_rotate: bool = False
    normed_values: bool = False
    unscaled: bool = False
    layered: bool = False
    latent: bool = False
    delta: Delta | None = None
    convolved: bool = False
    activation: str = "silu"
    gated: bool = True
    routing: Routing = Routing()
    fused_attention: bool = False
    fused_gate: bool = False
    scaled_embedding: bool = False
    divides_logits: bool = False
    exact_yarn: bool = False
    wide_scale: frozenset[int] = frozenset()
    local_base: float | None = None
