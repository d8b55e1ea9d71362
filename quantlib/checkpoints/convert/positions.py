"""Rotary positions as config.json describes them.

Source: the defaults are those of transformers' PreTrainedConfig.standardize_rope_params().
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeGuard

from quantlib.architectures.rope import Rope
from quantlib.checkpoints.base import fault, shown
from quantlib.checkpoints.untrusted import Fields

MAX_FACTORS = 2**15
# Names by which models say the base frequency, that of layers with a window, and the share of a head that turns.
BASE = ("global_rope_theta", "rope_theta", "rotary_emb_base")
LOCAL = ("local_rope_theta", "swa_rope_theta", "rope_local_base_freq")
PARTIAL = ("partial_rotary_factor", "rope_pct", "rope_percent")


def read_rope(path: Path, fields: Fields, theta: float) -> Rope:
    """rope_parameters as of transformers 5, once or for each kind of layer; before, rope_scaling and rope_theta."""
    key = "rope_parameters" if fields.values.get("rope_parameters") is not None else "rope_scaling"
    what = f"in {shown(key)} that "
    rope = Fields(path, fields.mapping(key), what)
    local = next((fields.number(k, 1e-3, 1e12) for k in LOCAL if fields.values.get(k) is not None), None)
    if rope.values.get("full_attention") is not None:
        sliding = Fields(path, rope.mapping("sliding_attention"), what)
        local = sliding.number("rope_theta", 1e-3, 1e12, local)
        if rope.values.get("rope_type") is None:  # else the whole says how layers that see everything are stretched
            rope = Fields(path, rope.mapping("full_attention"), what)
    # Models that say it outside mean the same: Phi-3 does.
    original = fields.integer("original_max_position_embeddings", 1, 2**31 - 1)
    original = rope.integer("original_max_position_embeddings", 1, 2**31 - 1, original)
    kind = rope.string("rope_type", rope.string("type", "default", limit=64), limit=64).lower()
    attention = rope.number("attention_factor", -1e6, 1e6, rope.number("attn_factor", -1e6, 1e6))
    partial = next((fields.number(k, 0.0, 1.0) for k in PARTIAL if fields.values.get(k) is not None), None)
    partial = rope.number("partial_rotary_factor", 0.0, 1.0, partial)
    base = next((fields.number(k, 1e-3, 1e12) for k in BASE if fields.values.get(k) is not None), theta)
    found = Rope(
        type=kind,
        theta=rope.number("rope_theta", 1e-3, 1e12, base),
        local_theta=local,
        partial=partial,
        factor=rope.number("factor", 1e-6, 1e6),
        low_freq_factor=rope.number("low_freq_factor", 1e-6, 1e6),
        high_freq_factor=rope.number("high_freq_factor", 1e-6, 1e6),
        original_context=original,
        extrapolation_factor=rope.number("extrapolation_factor", -1e6, 1e6),
        attention_factor=attention,
        beta_fast=rope.number("beta_fast", -1e6, 1e6),
        beta_slow=rope.number("beta_slow", -1e6, 1e6),
        sections=_sections(rope),
        numbers={k: float(v) for k, v in rope.values.items() if _is_number(v) and abs(v) < 1e30},
        long_factors=_factors(rope, "long_factor"),
        short_factors=_factors(rope, "short_factor"),
    )
    if found.type == "yarn" and found.factor is not None and original is None:
        raise fault(path, "scales its positions by yarn, but does not say 'original_max_position_embeddings'.")
    return found


def _factors(rope: Fields, key: str) -> tuple[float, ...]:
    values = rope.array(key)
    if len(values) > MAX_FACTORS or not all(type(v) in (int, float) and 0 < v < 1e6 for v in values):
        raise fault(rope.path, f"has a {shown(key)} that is not a list of at most {MAX_FACTORS:,} positive numbers.")
    return tuple(float(value) for value in values)


def _sections(rope: Fields) -> tuple[int, ...]:
    values = rope.array("mrope_section")
    if len(values) > 4 or not all(type(v) is int and 0 <= v < 2**15 for v in values):
        raise fault(rope.path, "has an 'mrope_section' that is not a list of at most four counts.")
    return (*values, *[0] * (4 - len(values))) if values else ()


def _is_number(value: object) -> TypeGuard[int | float]:
    return type(value) in (int, float)
