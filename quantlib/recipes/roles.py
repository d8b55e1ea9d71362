"""What a tensor does in a transformer, by its GGUF name, and whether recipes touch it."""

import re
from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache

from quantlib.architectures import diffusion, rules_of

NAMES = 2**14  # of tensors that are remembered: every recipe of a model asks about the same ones


class Role(StrEnum):
    """What a tensor does in a transformer, as far as recipes tell tensors apart."""

    OUTPUT = "the output matrix"
    EMBEDDING = "the token embedding"
    QKV = "attention query-key-value"
    KV_B = "attention key-value expansion"
    V = "attention value"
    K = "attention key"
    Q = "attention query"
    ATTN_OUTPUT = "attention output"
    FFN_UP = "feed-forward up"
    FFN_GATE = "feed-forward gate"
    FFN_DOWN = "feed-forward down"
    OTHER = "other"


# The first pattern found in a tensor's GGUF name decides.
ROLE_PATTERNS = (
    (re.compile(r"^output\.weight$"), Role.OUTPUT),
    (re.compile(r"^(per_layer_)?token_embd\.weight$"), Role.EMBEDDING),
    (re.compile(r"attn_qkv\.weight"), Role.QKV),
    (re.compile(r"attn_kv_b\.weight"), Role.KV_B),
    (re.compile(r"attn_v\.weight"), Role.V),
    (re.compile(r"attn_k\.weight"), Role.K),
    (re.compile(r"attn_q\.weight"), Role.Q),
    (re.compile(r"attn_output\.weight"), Role.ATTN_OUTPUT),
    (re.compile(r"ffn_up"), Role.FFN_UP),
    (re.compile(r"ffn_gate"), Role.FFN_GATE),
    (re.compile(r"ffn_down"), Role.FFN_DOWN),
)
VALUE_LIKE = frozenset({Role.V, Role.QKV, Role.KV_B})

# Names, or parts of names, of matrices that stay as they are: norms, routers, convolutions, small or positional tables.
KEPT = re.compile(
    r"_norm\.weight|ffn_gate_inp\.weight|ffn_gate_tid2eid\.weight|altup|laurel|per_layer_model_proj"
    r"|^position_embd\.weight$|^token_types\.weight$|ssm_conv1d|shortconv\.conv\.weight|indexer\.[kq]_proj\.weight"
    r"|time_mix_(first|w[012]|v[012]|a[012]|g[12]|decay_w[12]|lerp_fused)\.weight|attn_rel_b\.weight"
    r"|\.position_embd|sam\.(pos_embd|neck\.|net_)|\.rel_pos|\.patch_(embd|merger)|a\.rvq\.codebook|mm\.a\.code_embd"
)

# Of these, the ones that llama.cpp's converter stores like any matrix, where llama-quantize leaves them as they are.
CONVERTED = re.compile(
    r"altup_(router|proj|unembd_proj)\.weight|laurel_[lr]\.weight|per_layer_model_proj\.weight|attn_rel_b\.weight"
)


@lru_cache(maxsize=NAMES)
def role_of(name: str) -> Role:
    """The role of a tensor by its GGUF name."""
    return next((role for pattern, role in ROLE_PATTERNS if pattern.search(name)), Role.OTHER)


@lru_cache(maxsize=NAMES)
def layer_of(name: str) -> int | None:
    """The layer in `blk.<layer>.`; None for tensors outside the layers."""
    found = re.match(r"blk\.(\d+)\.", name)
    return int(found[1]) if found else None


def quantizable(name: str, shape: Sequence[int], architecture: str | None = None) -> bool:
    """Whether recipes touch this tensor: a matrix named `...weight` that is not one of the KEPT.

    architecture: GGUF's general.architecture; a family of image models says for itself what it keeps, and some language
    models have exceptions.
    """
    if (family := diffusion.BY_NAME.get(architecture or "")) is not None:
        return family.quantizes(name, shape)
    dimensions = len(shape)
    while dimensions > 1 and shape[len(shape) - dimensions] == 1:  # a (1, n) matrix counts as a vector
        dimensions -= 1
    kept = KEPT.search(name) or any(part in name for part in rules_of(architecture).kept)
    return dimensions >= 2 and name.endswith("weight") and not kept
