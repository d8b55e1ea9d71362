"""What a model needs in memory, and how fast memory lets it write.

need = weights + cache + working memory
cache = sum over layers of tokens kept · kv_heads · (key_dim + value_dim) · bytes of a value
tokens a second, at most = bandwidth / (weights read for one token + cache)
"""

from collections.abc import Iterable
from dataclasses import dataclass

from quantlib import formats
from quantlib.checkpoints import Checkpoint
from quantlib.fit.attention import CacheLayer, attention_of
from quantlib.jobs import Plan, PlannedTensor, plan
from quantlib.recipes import RECIPES, Role, layer_of, role_of

BATCH = 512  # tokens of a prompt that llama.cpp works on at once
CACHE_FORMATS = ("FP16", "Q8_0", "Q4_0")
# The recipes that are compared, the most precise first.
OFFERED = (
    "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q4_K_S", "IQ4_NL", "IQ4_XS", "Q3_K_L", "Q3_K_M", "IQ3_M",
    "IQ3_S", "Q3_K_S", "IQ3_XS", "IQ3_XXS", "Q2_K", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S",
)  # fmt: skip


def cache_bytes(layers: Iterable[CacheLayer], context: int, format: str = "FP16") -> int:
    """Bytes of the keys and values of so many tokens."""
    per_value = formats.get(format).bpw / 8
    return round(sum(layer.values * layer.tokens(context) * per_value for layer in layers))


def read_bytes(plan: Plan, experts: int = 0, used: int = 0) -> int:
    """Bytes of weights that one new token reads: every matrix, but of the experts only those used.

    The token embedding is looked up, one row; where it is the output matrix too, all of it is read.
    """
    tied = not any(role_of(t.name) is Role.OUTPUT for t in plan.tensors)
    return round(sum(_read(t, tied, experts, used) for t in plan.tensors))


def _read(t: PlannedTensor, tied: bool, experts: int, used: int) -> float:
    if layer_of(t.name) is None and role_of(t.name) is Role.EMBEDDING and not tied:
        return t.nbytes / max(1, t.shape[0])
    if experts and len(t.shape) > 2:
        return t.nbytes * used / experts
    return t.nbytes


def tokens_per_second(bandwidth: float, read: int, cache: int) -> float:
    """The most tokens a second that a memory of so many bytes a second allows: each token reads weights and cache."""
    return bandwidth / max(1, read + cache)


@dataclass(frozen=True)
class Weighed:
    """A recipe's tensors, in bytes. read: weights that one token reads. bpw: everything counted."""

    recipe: str
    bpw: float
    nbytes: int
    read: int


def weigh(checkpoint: Checkpoint, view: Checkpoint, recipes: Iterable[str] = OFFERED) -> list[Weighed]:
    """What the tensors of a model take under each recipe that can be run. view: the checkpoint as GGUF."""
    experts, used = (int(view.value(f"{view.architecture}.{key}", 0)) for key in ("expert_count", "expert_used_count"))
    found = []
    for name in recipes:
        if name in RECIPES:
            planned = plan(checkpoint, name)
            nbytes = sum(t.nbytes for t in planned.tensors)
            found.append(Weighed(name, planned.bpw, nbytes, read_bytes(planned, experts, used)))
    return found


@dataclass(frozen=True)
class Need:
    """What one recipe needs for so much context, in bytes."""

    weighed: Weighed
    cache: int
    work: int

    @property
    def recipe(self) -> str:
        return self.weighed.recipe

    @property
    def total(self) -> int:
        return self.weighed.nbytes + self.cache + self.work

    def fits(self, memory: int) -> bool:
        return self.total <= memory

    def speed(self, bandwidth: float) -> float:
        """Tokens a second at most, with the context full."""
        return tokens_per_second(bandwidth, self.weighed.read, self.cache)


def needs(weighed: Iterable[Weighed], view: Checkpoint, context: int, cache_format: str = "FP16") -> list[Need]:
    """What each recipe needs for this model with so many tokens of context.

    work: the scores of one batch of tokens over the whole vocabulary, the largest part of llama.cpp's compute buffer.
    """
    cache = cache_bytes(attention_of(view), context, cache_format)
    embedding = view.tensors.get("token_embd.weight")
    work = 4 * min(BATCH, context) * (embedding.shape[0] if embedding is not None else 0)
    return [Need(each, cache, work) for each in weighed]
