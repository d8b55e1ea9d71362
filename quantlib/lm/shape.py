"""The numbers of one model that runs, whatever its kind."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """The numbers that make one model differ from another of its kind. window, caps: None where it has none."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward: int
    vocabulary: int
    context: int
    norm_epsilon: float
    rotary: Rotary
    scale: float  # what scores are multiplied with
    window: int | None = None
    attention_cap: float | None = None  # c · tanh(scores / c)
    final_cap: float | None = None
    windows: tuple[bool, ...] | None = None  # which layers have one, where the file says it
    local_head_dim: int | None = None  # of layers with a window, where their heads are of another width
    shared_layers: int = 0  # how many of the last layers take keys and values from one before
    layer_input: int = 0  # channels of each layer's own input
    feed_forwards: tuple[int, ...] | None = None  # where layers differ
    embedding_scale: float | None = None
    residual_scale: float | None = None  # what a layer's parts are multiplied with before they are added
    logit_scale: float | None = None
    experts: Experts | None = None
    temperature: float | None = None  # queries grow by it beyond the first context, with the logarithm of how far
    latent: Latent | None = None
    delta: DeltaShape | None = None

    def head_of(self, local: bool) -> int:
        """Values of a head, in a layer with a window or in another."""
        return self.local_head_dim or self.head_dim if local else self.head_dim


@dataclass(frozen=True)
class Experts:
    """How many experts of which width there are, how many a token uses, and how it chooses: see Routing.

    groups: experts are chosen within the best groups, so many of so many; scale: what the experts' sum is multiplied
    with.
    """

    count: int
    used: int
    width: int
    scoring: str
    normalized: bool
    scale: float = 1.0
    groups: int = 1
    groups_used: int = 1


@dataclass(frozen=True)
class Latent:
    """Attention to latents (MLA): rank numbers for each token, from which the heads' keys and values are made.

    turning: channels of a key that are shared by all heads and turn with the position; still: those that do not.
    """

    rank: int
    turning: int
    still: int
    value: int

    def needed(self, s: Shape) -> dict[str, tuple[int, ...]]:
        """The tensors of a layer of this kind."""
        return {
            "attn_kv_a_mqa": (self.rank + self.turning, s.hidden),
            "attn_kv_a_norm": (self.rank,),
            "attn_k_b": (s.heads, self.rank, self.still),
            "attn_v_b": (s.heads, self.value, self.rank),
            "attn_output": (s.hidden, s.heads * self.value),
        }


@dataclass(frozen=True)
class DeltaShape:
    """Sizes of linear attention: heads of keys and of values, their widths, and tokens that the convolution sees."""

    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int
    kernel: int

    @property
    def values(self) -> int:
        """Values of all heads."""
        return self.value_heads * self.value_dim

    @property
    def channels(self) -> int:
        """Queries, keys and values."""
        return 2 * self.key_heads * self.key_dim + self.values


@dataclass(frozen=True)
class Rotary:
    """How queries and keys turn with their position: base^(-2i/dims), stretched in one of several ways.

    local_base, local_dims: of layers with a window. scaling: "linear", "yarn" or "longrope"; factor: of how much more
    context. exact: yarn's ramp is not rounded to whole frequencies; sized: it makes queries and keys larger too.
    """

    dims: int  # channels of a head that turn
    base: float = 10000.0
    local_base: float | None = None
    scaling: str | None = None
    factor: float = 1.0
    original_context: int | None = None
    attention_factor: float | None = None
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    local_dims: int | None = None
    exact: bool = False
    sized: bool = True
