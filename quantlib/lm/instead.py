"""What layers have in place of plain attention: attention to latents, linear attention, short convolutions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantlib.lm.attention import attend
from quantlib.lm.delta import convolved, delta_rule, softplus, unit
from quantlib.lm.nonlinear import sigmoid, silu
from quantlib.lm.positions import rotate, turn

if TYPE_CHECKING:
    from quantlib.lm.model import Model, Pass


def latent_attention(model: Model, x: np.ndarray, w: str, here: Pass) -> np.ndarray:
    """Attention whose heads all read the same latents: each head's query is brought to them, and what it gathers is
    brought back to its values. DeepSeek-AI, "DeepSeek-V2", 2024.
    """
    s, m = model.shape, model.shape.latent
    if w + "attn_q.weight" in model.weights:
        q = model.product(x, w + "attn_q.weight", here.observe)
    else:
        q = model.norm(model.product(x, w + "attn_q_a.weight", here.observe), w + "attn_q_a_norm")
        q = model.product(q, w + "attn_q_b.weight", here.observe)
    q = q.reshape(here.sequences, -1, s.heads, m.still + m.turning)
    made = model.product(x, w + "attn_kv_a_mqa.weight", here.observe).reshape(here.sequences, -1, m.rank + m.turning)
    latents = model.norm(made[..., : m.rank], w + "attn_kv_a_norm")[:, :, None]
    angles = turn(s.rotary, here.positions, False, model.factors(here.positions))
    pairs = model.architecture.rotation
    turned = rotate(np.ascontiguousarray(made[..., m.rank :])[:, :, None], angles, pairs)
    brought = np.einsum("snhi,hri->snhr", q[..., : m.still], model.weight(w + "attn_k_b.weight"), optimize=True)
    q = np.concatenate(
        [brought, rotate(np.ascontiguousarray(q[..., m.still :]), angles, model.architecture.rotation)], -1
    )
    k = np.concatenate([latents, turned], -1).transpose(0, 2, 1, 3)
    v = np.ascontiguousarray(latents.transpose(0, 2, 1, 3))
    if here.cache is not None:
        k, v = here.cache.take(here.layer, k, v)
    mix = attend(q * np.float32(s.scale), k, v).reshape(here.sequences, -1, s.heads, m.rank)
    out = np.einsum("snhr,hvr->snhv", mix, model.weight(w + "attn_v_b.weight"), optimize=True)
    return model.product(out.reshape(len(x), -1), w + "attn_output.weight", here.observe)


def linear_attention(model: Model, x: np.ndarray, w: str, here: Pass) -> np.ndarray:
    """A gated delta rule over a state for each head, behind a short convolution; see `delta`."""
    d, kind = model.shape.delta, model.architecture.delta
    states = here.cache.states[here.layer] if here.cache is not None else None
    last, state = states if states is not None else (None, None)
    qkv = model.product(x, w + "attn_qkv.weight", here.observe).reshape(here.sequences, -1, d.channels)
    gate = model.product(x, w + "attn_gate.weight", here.observe)
    beta, decay = steps(model, x, w, here)
    qkv, last = convolved(qkv, model.weight(w + "ssm_conv1d.weight"), last)
    qkv = silu(qkv)
    sizes = np.cumsum([d.key_heads * d.key_dim] * 2)
    q, k, v = (part.reshape(*qkv.shape[:2], -1, width) for part, width in zip(
        np.split(qkv, sizes, axis=-1), (d.key_dim, d.key_dim, d.value_dim), strict=True
    ))  # fmt: skip
    share = d.value_heads // d.key_heads
    spread = (lambda a: np.tile(a, (1, 1, share, 1))) if kind.tiled else (lambda a: np.repeat(a, share, axis=2))
    q, k = spread(unit(q) / np.float32(np.sqrt(d.key_dim))), spread(unit(k))
    out, state = delta_rule(q, k, v, decay, beta, state)
    if here.cache is not None:
        here.cache.states[here.layer] = (last, state)
    out = model.norm(out, w + "ssm_norm") * silu(gate.reshape(out.shape))
    return model.product(out.reshape(len(x), -1), w + "ssm_out.weight", here.observe)


def steps(model: Model, x: np.ndarray, w: str, here: Pass) -> tuple[np.ndarray, np.ndarray]:
    """How far each head's state moves at a token, and the logarithm of how much stays: (sequences, n, heads)."""
    d = model.shape.delta
    if model.architecture.delta.joined:
        both = model.product(x, w + "ssm_ba.weight", here.observe).reshape(len(x), d.key_heads, 2, -1)
        step, decay = both[:, :, 0], both[:, :, 1]
    else:
        step, decay = (model.product(x, f"{w}ssm_{part}.weight", here.observe) for part in ("beta", "alpha"))
    step, decay = (part.reshape(here.sequences, -1, d.value_heads) for part in (step, decay))
    rate = model.weight(w + "ssm_a").reshape(-1)
    return sigmoid(step), rate * softplus(decay + model.weight(w + "ssm_dt.bias").reshape(-1))


def convolution(model: Model, x: np.ndarray, w: str, here: Pass) -> np.ndarray:
    """out · (c * conv(b * h)), where in · x = [b, c, h]: a short convolution with gates before and behind."""
    states = here.cache.states[here.layer] if here.cache is not None else None
    parts = model.product(x, w + "shortconv.in_proj.weight", here.observe)
    b, c, h = np.split(parts.reshape(here.sequences, -1, parts.shape[-1]), 3, axis=-1)
    out, last = convolved(b * h, model.weight(w + "shortconv.conv.weight"), states[0] if states else None)
    if here.cache is not None:
        here.cache.states[here.layer] = (last,)
    return model.product((c * out).reshape(len(x), -1), w + "shortconv.out_proj.weight", here.observe)
