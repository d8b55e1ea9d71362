"""AutoRound checkpoints: packed as GPTQ's or as AWQ's, some modules with settings of their own.

Source: auto_round's export, by what its packing does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from quantlib.checkpoints.base import Tensor
from quantlib.checkpoints.prequantized.gptq import awq, gptq, stores_version_2
from quantlib.checkpoints.prequantized.scheme import Undecodable
from quantlib.checkpoints.untrusted import Fields

LESS_ONE = ("auto_round:auto_gptq", "auto_round:gptq")  # whose zero points are stored less one, as in GPTQ's version 1
AS_THEY_ARE = ("auto_round", "auto_round:gptqmodel", "auto_round:auto_round")


def autoround(path: Path, settings: Fields, modules: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The weights of an AutoRound checkpoint, which says how they are packed and what holds for single modules."""
    packing = settings.string("packing_format", settings.string("backend", "auto_round", limit=64), limit=64)
    if "awq" in packing:
        return awq(path, settings, modules)
    if packing not in (*LESS_ONE, *AS_THEY_ARE):
        raise Undecodable(f"AutoRound packed as '{packing}'")
    version = "gptq" if packing in LESS_ONE else "gptq_v2"
    if version == "gptq" and stores_version_2(settings, modules):
        version = "gptq_v2"
    out: dict[str, Tensor] = {}
    for (bits, group), named in _alike(path, settings, modules).items():
        stated = {**settings.values, "bits": bits, "group_size": group, "checkpoint_format": version}
        out |= gptq(path, Fields(path, stated, settings.what), named)
    return out


def _alike(
    path: Path, settings: Fields, modules: Mapping[str, Mapping[str, Tensor]]
) -> dict[tuple[int, int], dict[str, Mapping[str, Tensor]]]:
    """The modules by their bits and group size."""
    own = settings.mapping("extra_config")
    usual = settings.integer("bits", 2, 8, 4), settings.integer("group_size", -1, 2**20, 128)
    out: dict[tuple[int, int], dict[str, Mapping[str, Tensor]]] = {}
    for name, parts in modules.items():
        said = own.get(name, next((value for key, value in own.items() if _fits(key, name)), None))
        fields = Fields(path, said if isinstance(said, dict) else {}, "of a module that ")
        bits = fields.integer("bits", 2, 16, usual[0])
        group = fields.integer("group_size", -1, 2**20, usual[1])
        out.setdefault((bits, group), {})[name] = parts
    return out


def _fits(pattern: str, name: str) -> bool:
    try:
        return len(pattern) < 1000 and re.fullmatch(pattern, name) is not None
    except re.error:
        return False
