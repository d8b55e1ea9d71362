"""The general.* keys of a converted model: its name from card, config or folder, its size, its generation defaults."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import gguf

from quantlib.checkpoints.base import MetadataValue, Tensor
from quantlib.checkpoints.convert.model_card import (
    FIELDS,
    MAX_ID,
    components,
    lists,
    read_card,
    said,
    sources,
    title,
)
from quantlib.checkpoints.untrusted import Fields, read_json_if_there
from quantlib.errors import CheckpointError

# generation_config.json key -> (GGUF key, GGUF type), in the order they are written.
SAMPLING = {
    "sequence": ("general.sampling.sequence", "string"),
    "top_k": ("general.sampling.top_k", "int32"),
    "top_p": ("general.sampling.top_p", "float32"),
    "min_p": ("general.sampling.min_p", "float32"),
    "xtc_probability": ("general.sampling.xtc_probability", "float32"),
    "xtc_threshold": ("general.sampling.xtc_threshold", "float32"),
    "temperature": ("general.sampling.temp", "float32"),
    "penalty_last_n": ("general.sampling.penalty_last_n", "int32"),
    "penalty_repeat": ("general.sampling.penalty_repeat", "float32"),
    "mirostat": ("general.sampling.mirostat", "int32"),
    "mirostat_tau": ("general.sampling.mirostat_tau", "float32"),
    "mirostat_eta": ("general.sampling.mirostat_eta", "float32"),
}

Counts = tuple[int, int, int, int]  # weights in all, outside experts, of one expert of each stack; experts


def count_weights(tensors: Iterable[Tensor]) -> Counts:
    """What the size label tells, such as 7B or 8x7B; stacks of experts have three dimensions."""
    total = shared = each = stacks = experts = 0
    for tensor in tensors:
        total += tensor.size
        if "_exps." in tensor.name and len(tensor.shape) >= 3:
            each += tensor.size // max(1, tensor.shape[-3])
            experts += tensor.shape[-3]
            stacks += 1
        else:
            shared += tensor.size
    return total, shared, each, experts // stacks if stacks else 0


def general_metadata(
    folder: Path, name_or_path: str | None, counts: Counts, called: str | None = None, kind: str = "model"
) -> dict[str, MetadataValue]:
    """general.type to general.languages as llama.cpp's converter derives them: from the card, the names, the sizes.

    called: the folder's name, where it lies elsewhere. kind: what the file is; only a whole model generates.
    """
    size, called, card = counts[0], called or _folder_name(folder), read_card(folder)
    parts = said(card)
    for model_id in _ids(called, name_or_path):
        full, organization, basename, finetune, version, size_label = components(model_id, size)
        found = {
            "name": title(full) if full else None,
            "version": version,
            "organization": title(organization) if organization else None,
            "finetune": finetune,
            "basename": basename,
            "size_label": size_label,
        }
        parts = {key: value for key, value in found.items() if value is not None} | parts
    parts.setdefault("name", called)
    if size > 0:  # below zero: of the matrices that an adapter changes
        parts.setdefault("size_label", gguf.size_label(*counts))
    return {
        "general.type": MetadataValue("string", kind),
        **(_sampling(folder) if kind == "model" else {}),
        **{f"general.{key}": MetadataValue("string", parts[key]) for key in FIELDS if key in parts},
        **sources(card, size),
        **lists(card),
    }


def _ids(called: str, name_or_path: str | None) -> Iterable[str]:
    # Most hubs write owner/name here; anything with more slashes is a path of the machine it was trained on.
    if name_or_path and name_or_path.count("/") <= 1 and len(name_or_path) <= MAX_ID:
        yield name_or_path
    yield called[:MAX_ID]


def _folder_name(folder: Path) -> str:
    """The name by which the folder was given, also for "." and for links, which stay unresolved."""
    return Path(os.path.abspath(folder)).name or "model"


def generation_config(folder: Path) -> dict[str, object]:
    """generation_config.json; empty where it is not there or broken: its defaults are not worth refusing a model."""
    try:
        return read_json_if_there(folder / "generation_config.json") or {}
    except CheckpointError:
        return {}


def _sampling(folder: Path) -> dict[str, MetadataValue]:
    path, values = folder / "generation_config.json", generation_config(folder)
    if values.get("penalty_repeat") is None and values.get("repetition_penalty") is not None:
        values = values | {"penalty_repeat": values["repetition_penalty"]}
    fields, out = Fields(path, values), {}
    value: str | int | float | None
    for key, (name, kind) in SAMPLING.items():
        if kind == "string":
            value = fields.string(key, limit=4096)
        elif kind == "int32":
            value = fields.integer(key, -(2**31), 2**31 - 1)
        else:
            value = fields.number(key, -1e30, 1e30)
        if value is not None:
            out[name] = MetadataValue(kind, value)
    return out
