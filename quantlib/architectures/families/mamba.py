"""Mamba 2: a state in place of attention, and the same mixer as hybrids have it. Source: conversion/mamba.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from quantlib.architectures.changes import Change, minus_exp, reshaped
from quantlib.architectures.config import Config, count, number
from quantlib.architectures.declaration import FILE_TYPE, Architecture, Key, Tokenizer, Weight
from quantlib.architectures.keeping import Keeping
from quantlib.architectures.parts import OUTPUT, RMS_EPSILON

COLUMN = reshaped(lambda s, config: s[:1])  # a number for each head, as a column
SQUEEZED = Change(source=lambda s, config: (s[0], 1, s[1]), rows=lambda s, config: np.arange(s[0]))
DECAY = Change(COLUMN.source, arrange=COLUMN.arrange, values=minus_exp)
IN_GROUPS = reshaped(lambda s, config: (s[0] * s[1],))


def mixer_sizes(inner: int, state: int, groups: int, heads: int, kernel: int) -> dict[str, int]:
    """Sizes of a mixer: what it works on, what passes its convolution, what its input is made into."""
    conv = inner + 2 * groups * state
    return {
        "inner": inner,
        "conv": conv,
        "kernel": kernel,
        "mixed": inner + conv + heads,
        "ssm heads": heads,
        "groups": groups,
        "grouped": inner // groups,
    }


def mixer(where: str, norm: bool | None = True) -> tuple[Weight, ...]:
    """The weights of a Mamba 2 mixer; norm: whether it has one of its own (None: where the checkpoint has it)."""

    def part(gguf: str, hf: str, *shape: str, change: Change | None = None, exact: bool = False, **more: Any) -> Weight:
        return Weight(f"blk.{{}}.{gguf}", f"{where}.{hf}", shape, change or Change(), exact=exact, **more)

    return (
        part("ssm_a", "A_log", "ssm heads", "one", change=DECAY, exact=True),
        part("ssm_d", "D", "ssm heads", "one", change=COLUMN, exact=True),
        part("ssm_conv1d.bias", "conv1d.bias", "conv", exact=True, needed=False),
        part("ssm_conv1d", "conv1d", "conv", "kernel", change=SQUEEZED),
        part("ssm_dt.bias", "dt_bias", "ssm heads", exact=True),
        part("ssm_in", "in_proj", "mixed", "width"),
        part("ssm_norm", "norm", "groups", "grouped", change=IN_GROUPS, needed=norm is True),
        part("ssm_out", "out_proj", "width", "inner"),
    )


def inner(config: Config) -> int:
    """Values that the mixer works on."""
    return config.stated_inner or config.expand * config.width


def rows(config: Config) -> int:
    """Tokens, rounded up as the embedding's rows are."""
    return -(-config.vocab // config.multiple) * config.multiple


MAMBA2 = Architecture(
    name="mamba2",
    title="Mamba 2",
    model_type="mamba2",
    classes=("Mamba2ForCausalLM",),
    defaults={
        "layers": 64, "width": 4096, "vocab": 32_768, "heads": 1, "head_dim": 64, "rms_eps": 1e-5,
        "expand": 2, "kernel": 4, "state": 128, "ssm_groups": 1, "multiple": 16,
    },
    settings={
        "width": count("hidden_size", "d_model", "dim", low=1, high=2**24),
        "rms_eps": number("layer_norm_epsilon", "rms_norm_eps", low=0.0, high=1.0),
        "stated_inner": count("mamba_d_ssm", "intermediate_size", "d_inner", low=1, high=2**24),
        "expand": count("expand", "mamba_expand", low=1, high=64),
        "kernel": count("conv_kernel", "d_conv", low=1, high=64),
        "state": count("state_size", "d_state", low=1, high=2**16),
        "ssm_groups": count("n_groups", low=1, high=2**16),
        "multiple": count("pad_vocab_size_multiple", low=1, high=2**16),
    },
    theta=None,
    sizes=lambda config: {
        "padded": rows(config),
        **mixer_sizes(
            inner(config), config.state, config.ssm_groups, inner(config) // config.head_dim, config.kernel
        ),
    },
    weights=(
        Weight("token_embd", "embeddings", ("padded", "width")),
        Weight("output_norm", "norm_f", ("width",)),
        replace(OUTPUT, shape=("padded", "width")),
        Weight("blk.{}.attn_norm", "layers.{}.norm", ("width",)),
        *mixer("layers.{}.mixer"),
    ),
    keys=(
        Key("context_length", "uint32", lambda config: 2**20),
        Key("embedding_length", "uint32", "width"),
        Key("feed_forward_length", "uint32", lambda config: 0),
        Key("attention.head_count", "uint32", lambda config: 0),
        Key("block_count", "uint32", "layers"),
        Key("ssm.conv_kernel", "uint32", "kernel"),
        Key("ssm.inner_size", "uint32", inner),
        Key("ssm.state_size", "uint32", "state"),
        Key("ssm.time_step_rank", "uint32", lambda config: inner(config) // config.head_dim),
        Key("ssm.group_count", "uint32", "ssm_groups"),
        RMS_EPSILON,
        FILE_TYPE,
    ),
    prefixes=("backbone.", "model.backbone.", "model.", ""),
    tokenizer=Tokenizer(pre={"gpt-2": "olmo"}, padded=rows),
    keeps=Keeping(state="all"),
)  # fmt: skip
