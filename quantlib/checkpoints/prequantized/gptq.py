"""GPTQ and AWQ checkpoints: integer codes packed along the inputs or the outputs, with scales and zero points by group.

w = scale * (code - zero). Source: pack() of GPTQModel's qlinear and WQLinear_GEMM.from_linear of AutoAWQ.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

from quantlib.checkpoints.base import Tensor
from quantlib.checkpoints.prequantized.packing import decoded_tensor, integers, need, unpacked, words_of
from quantlib.checkpoints.prequantized.scheme import Undecodable
from quantlib.checkpoints.untrusted import Fields

MAX_GROUP = 2**20
# AWQ's GEMM kernel wants the outputs of a word in this order: nibble i holds output ORDER[i].
ORDER = (0, 2, 4, 6, 1, 3, 5, 7)


def gptq(path: Path, settings: Fields, modules: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The weights of a GPTQ checkpoint: qweight int32 (in * bits / 32, out), packed along the inputs."""
    bits = settings.integer("bits", 2, 8, 4)
    layout = settings.string("checkpoint_format", "gptq", limit=64)
    if bits not in (2, 3, 4, 8):
        raise Undecodable(f"GPTQ with {bits} bits")
    if layout not in ("gptq", "gptq_v2"):
        raise Undecodable(f"GPTQ in the layout '{layout}'")
    group = settings.integer("group_size", -1, MAX_GROUP, 128)
    # Version 1 stores the zero point minus one.
    stored_less = 1 if layout == "gptq" and not stores_version_2(settings, modules) else 0
    origin = f"GPTQ, {bits} bits, {_groups(group)}"
    return {
        f"{name}.weight": _gptq(path, name, parts, bits, group, stored_less, origin)
        for name, parts in modules.items()
        if "qweight" in parts
    }


def stores_version_2(settings: Fields, modules: Mapping[str, Mapping[str, Tensor]]) -> bool:
    """Whether a checkpoint that says version 1 has version 2's zero points.

    It shows in a symmetric one, whose zero point is the middle, 2^(bits - 1): version 1 stores one less. The first
    matrix tells for all.
    """
    bits = settings.integer("bits", 2, 8, 4)
    if settings.string("checkpoint_format", "gptq", limit=64) != "gptq" or not settings.boolean("sym", False):
        return False
    first = next((parts["qzeros"] for parts in modules.values() if "qzeros" in parts), None)
    if first is None or first.format != "I32" or len(first.shape) != 2 or not first.size or bits == 3:
        return False
    zeros = unpacked(integers(first).view(np.uint32).T, bits, first.shape[1] * 32 // bits)
    return bool((zeros == 2 ** (bits - 1)).all())


def version_note(settings: Fields, modules: Mapping[str, Mapping[str, Tensor]]) -> str | None:
    """What to say where the zero points are not those of the stated version."""
    if not stores_version_2(settings, modules):
        return None
    return (
        "The checkpoint says that its zero points are stored as in version 1 of GPTQ's layout, and they are those of "
        "version 2 (all in the middle): they are read so. Loaders that believe it are off by one step."
    )


def _groups(group: int) -> str:
    return "a scale for each row" if group < 1 else f"groups of {group}"


def _gptq(
    path: Path, name: str, parts: Mapping[str, Tensor], bits: int, group: int, stored_less: int, origin: str
) -> Tensor:
    for part in ("qzeros", "scales"):
        need(path, part in parts, name, f"has no '{part}'")
    qweight, qzeros, scales = parts["qweight"], parts["qzeros"], parts["scales"]
    packed = len(qweight.shape) == 2 and qweight.format == qzeros.format == "I32"
    need(path, packed, qweight.name, "is no matrix of 32-bit words")
    outputs, inputs = qweight.shape[1], qweight.shape[0] * 32 // bits
    groups = scales.shape[0] if len(scales.shape) == 2 else 0
    fits = scales.shape == (groups, outputs) and qzeros.shape == (groups, -(-outputs * bits // 32)) and scales.decodable
    need(path, fits, name, "has scales or zero points of another shape than its weights")

    @cache
    def groups_of_inputs() -> np.ndarray:
        if "g_idx" not in parts:
            found: np.ndarray = np.arange(inputs) // (group if group > 0 else inputs)
        else:
            found = integers(parts["g_idx"]).reshape(-1) if parts["g_idx"].format == "I32" else np.empty(0)
        inside = found.size == inputs > 0 and found.min() >= 0 and found.max() < groups
        need(path, inside, name, "has a 'g_idx' that does not name a group for each input")
        return found

    def rows(start: int, stop: int) -> np.ndarray:
        of_group = groups_of_inputs()
        codes = unpacked(integers(qweight)[:, start:stop].view(np.uint32), bits, inputs)  # (in, rows)
        first, last, bit = words_of(start, stop, bits)
        words = integers(qzeros)[:, first:last].view(np.uint32).T  # (words, groups)
        zeros = unpacked(words, bits, stop - start, bit).T + stored_less  # (groups, rows)
        scale = scales.rows()[:, start:stop]  # (groups, rows)
        return (scale[of_group] * (codes - zeros[of_group]).astype(np.float32)).T

    return decoded_tensor(f"{name}.weight", (outputs, inputs), qweight, origin, rows)


def awq(path: Path, settings: Fields, modules: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The weights of an AWQ checkpoint in its GEMM layout: qweight int32 (in, out / 8), packed along the outputs."""
    bits = settings.integer("bits", 2, 8, settings.integer("w_bit", 2, 8, 4))
    layout = settings.string("version", "gemm", limit=64)
    if bits != 4 or layout.lower() != "gemm":
        raise Undecodable(f"AWQ with {bits} bits in the layout '{layout}'")
    return {f"{name}.weight": _awq(path, name, parts) for name, parts in modules.items() if "qweight" in parts}


def _awq(path: Path, name: str, parts: Mapping[str, Tensor]) -> Tensor:
    for part in ("qzeros", "scales"):
        need(path, part in parts, name, f"has no '{part}'")
    qweight, qzeros, scales = parts["qweight"], parts["qzeros"], parts["scales"]
    packed = len(qweight.shape) == 2 and qweight.format == qzeros.format == "I32"
    need(path, packed, qweight.name, "is no matrix of 32-bit words")
    inputs, outputs = qweight.shape[0], qweight.shape[1] * 8
    groups = scales.shape[0] if len(scales.shape) == 2 else 0
    fits = scales.shape == (groups, outputs) and qzeros.shape == (groups, outputs // 8) and scales.decodable
    need(path, fits and groups > 0 and inputs % groups == 0, name, "has scales or zero points of another shape")
    size = inputs // groups

    def codes(tensor: Tensor, start: int, stop: int) -> np.ndarray:
        words = integers(tensor)[:, start // 8 : -(-stop // 8)].view(np.uint32)  # (n, words)
        out = np.empty((*words.shape, 8), np.int32)
        for nibble, output in enumerate(ORDER):
            out[..., output] = (words >> np.uint32(4 * nibble)) & np.uint32(15)
        return out.reshape(len(words), -1)[:, start % 8 :][:, : stop - start]  # (n, rows)

    def rows(start: int, stop: int) -> np.ndarray:
        zeros = np.repeat(codes(qzeros, start, stop), size, axis=0)  # (in, rows)
        scale = np.repeat(scales.rows()[:, start:stop], size, axis=0)
        return ((codes(qweight, start, stop) - zeros).astype(np.float32) * scale).T

    return decoded_tensor(f"{name}.weight", (outputs, inputs), qweight, f"AWQ, 4 bits, groups of {size}", rows)
