"""What a model's README.md says of itself, in the YAML before its text, as llama.cpp's converter takes it over.

Source: gguf.Metadata.load_model_card(), apply_metadata_heuristic() and set_gguf_meta_model().
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import accumulate
from pathlib import Path

import gguf
import yaml

from quantlib.checkpoints.base import MetadataValue
from quantlib.checkpoints.untrusted import decode_text, read_bytes_if_there
from quantlib.errors import CheckpointError

MAX_CARD = 2**22  # bytes of README.md
MAX_FRONT = 2**16  # characters of its YAML
MAX_NESTING = 32  # brackets within brackets: the parser takes seconds over thousands of them
MAX_TEXT = 4096
MAX_ENTRIES = 256
MAX_ID = 256  # characters of a model's name that are taken apart

# general.* key -> the card's keys that may say it, the first that does.
FIELDS = {
    "name": ("name", "model_name"),
    "author": ("author", "model_author", "model_creator"),
    "version": ("version", "model_version"),
    "organization": ("organization", "model_organization"),
    "finetune": ("finetune", "model_finetune"),
    "basename": ("basename", "model_basename", "model_type"),
    "description": ("description", "model_description"),
    "size_label": ("size_label", "model_size_label"),
    "license": ("license",),
    "license.name": ("license_name",),
    "license.link": ("license_link",),
    "source.url": ("url", "model_url"),
    "source.doi": ("doi", "model_doi"),
    "source.uuid": ("uuid", "model_uuid"),
    "source.repo_url": ("repo_url", "model_repo_url"),
}
LISTS = {"tags": ("tags", "pipeline_tag"), "languages": ("languages", "language")}
# What the model was made of: general.*.count and its entries.
SOURCES = {
    "base_model": ("base_model", "base_models", "base_model_sources"),
    "dataset": ("datasets", "dataset", "dataset_sources"),
}
ENTRY = ("name", "author", "version", "organization", "description", "url", "doi", "uuid", "repo_url")
HUB = "https://huggingface.co/"


def components(model_id: str, size: int) -> tuple[str | None, ...]:
    """Title, organization, basename, finetune, version and size label that a model's name holds."""
    try:
        return gguf.Metadata.get_model_id_components(model_id, size)
    except (IndexError, ValueError):  # its parser trips over odd names, such as those of dashes alone
        return model_id, None, None, None, None, None


def title(text: str) -> str:
    """A name as a title: llama-2-7b becomes Llama 2 7b."""
    id_to_title: Callable[[str], str] = gguf.Metadata.id_to_title  # which says nothing of its types
    return id_to_title(text)


def read_card(folder: Path) -> dict[str, object]:
    """The YAML before the text of README.md, all scalars as text; empty where there is none or it is broken.

    A card is for people: like the converter's, a broken one is no reason to refuse a model.
    """
    path = folder / "README.md"
    try:
        data = read_bytes_if_there(path, MAX_CARD)
        text = decode_text(path, data or b"", "text")
    except CheckpointError:
        return {}
    found = re.match(r"---\r?\n(.*?\n)---\s*?(?:\n|\Z)", text, re.DOTALL)
    if not found or len(found[1]) > MAX_FRONT or _nesting(found[1]) > MAX_NESTING:
        return {}
    try:
        # Text stays text: a language "no" is no boolean, a version 1.10 no number.
        card = yaml.load(found[1].replace("\t", "  "), yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError, ValueError):
        return {}
    return card if isinstance(card, dict) else {}


def _nesting(text: str) -> int:
    """How many brackets are open at most."""
    return max(accumulate((1 if char in "[{" else -1 for char in re.findall(r"[\[\]{}]", text)), initial=0))


def said(card: Mapping[str, object]) -> dict[str, str]:
    """general.* keys that the card says as they are; several licences are joined by commas."""
    out = {}
    for name, keys in FIELDS.items():
        values = (_joined(card.get(key)) for key in keys)
        value = next((value for value in values if value), None)
        if value:
            out[name] = value
    return out


def lists(card: Mapping[str, object]) -> dict[str, MetadataValue]:
    """general.tags and general.languages."""
    found = {name: [text for key in keys for text in _texts(card.get(key))] for name, keys in LISTS.items()}
    return {f"general.{name}": MetadataValue("array[string]", texts) for name, texts in found.items() if texts}


def sources(card: Mapping[str, object], size: int) -> dict[str, MetadataValue]:
    """general.base_model.* and general.dataset.*: how many, and what the name of each says."""
    out: dict[str, MetadataValue] = {}
    for kind, keys in SOURCES.items():
        value = next((card[key] for key in keys if key in card), None)
        entries = [entry for item in _items(value) if (entry := _entry(item, size)) is not None]
        if entries:
            out[f"general.{kind}.count"] = MetadataValue("uint32", len(entries))
        for number, entry in enumerate(entries):
            for key in ENTRY:
                if key in entry:
                    out[f"general.{kind}.{number}.{key}"] = MetadataValue("string", entry[key])
    return out


def _entry(item: object, size: int) -> dict[str, str] | None:
    """One model or dataset: an object as it is; an owner/name or an address taken apart."""
    if isinstance(item, dict):
        return {key: text for key in ENTRY if (text := _text(item.get(key)))}
    text = _text(item)
    if not text:
        return None
    if text.startswith(("http://", "https://", "ssh://")):
        found = re.fullmatch(r"https?://huggingface\.co/([^/]+/[^/]+)", text)
        named = _named(found[1], size) if found else {}
        return {**named, "repo_url": text}
    named = _named(text, size)
    owner, slash, name = text.partition("/")
    return {**named, "repo_url": f"{HUB}{owner}/{name}"} if slash and "name" in named else named


def _named(model_id: str, size: int) -> dict[str, str]:
    full, owner, _, _, version, _ = components(model_id[:MAX_ID], size)
    out = {"name": title(full) if full else None, "version": version, "organization": title(owner) if owner else None}
    return {key: value for key, value in out.items() if value is not None}


def _text(value: object) -> str | None:
    """A text of a card, shortened; None for what is no text, and for YAML's words for nothing."""
    if not isinstance(value, str) or value in ("", "~", "null", "Null", "NULL"):
        return None
    return value[:MAX_TEXT]


def _items(value: object) -> list[object]:
    return value[:MAX_ENTRIES] if isinstance(value, list) else [] if value is None else [value]


def _texts(value: object) -> list[str]:
    return [text for item in _items(value) if (text := _text(item))]


def _joined(value: object) -> str | None:
    return ",".join(_texts(value)) or None
