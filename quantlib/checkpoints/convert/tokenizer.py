"""The tokenizer of a Hugging Face folder as GGUF's tokenizer.* keys."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from quantlib.architectures import Architecture, Config
from quantlib.architectures.declaration import Tokenizer
from quantlib.checkpoints.base import MetadataValue
from quantlib.checkpoints.convert.general import generation_config
from quantlib.checkpoints.convert.special_tokens import ID_KEYS, special_metadata
from quantlib.checkpoints.convert.unigram import read_unigram
from quantlib.checkpoints.convert.vocabulary import (
    UNUSED,
    Vocabulary,
    added_tokens,
    byte_level_vocabulary,
    fallback_vocabulary,
    has_space_prefix,
    is_byte_level,
    merged_vocabulary,
    sentencepiece_vocabulary,
    wordpiece_vocabulary,
)
from quantlib.checkpoints.untrusted import Fields, read_json_if_there

SPACE_PREFIX = "tokenizer.ggml.add_space_prefix"
CODE_LLAMA_SIZE, SMALL_GRANITE_SIZE = 32_016, 49_152
CODE_LLAMA_IDS = {"prefix": 32_007, "suffix": 32_008, "middle": 32_009, "eot": 32_010}


def _sorts_of_text(folder: Path, model: dict[str, object]) -> dict[str, MetadataValue]:
    """How many sorts of text BERT tells apart: first and second, usually."""
    count = Fields(folder / "config.json", model).integer("type_vocab_size", 1, 2**16, 2)
    return {"tokenizer.ggml.token_type_count": MetadataValue("uint32", count)}


def tokenizer_metadata(
    folder: Path, model: dict[str, object], config: Config, architecture: Architecture
) -> tuple[dict[str, MetadataValue], tuple[str, ...]]:
    """The tokenizer.* keys in the converter's order, and warnings; `model` is what config.json says of it.

    tokenizer.model (SentencePiece) goes before tokenizer.json; without either the model is "none", with a warning.
    """
    how = architecture.tokenizer
    size = how.padded(config) if how.padded else config.vocab
    config_path, tokenizer_path = folder / "tokenizer_config.json", folder / "tokenizer.json"
    stated = read_json_if_there(config_path) or {}
    tokenizer = read_json_if_there(tokenizer_path)
    out = {f"tokenizer.ggml.{flag}_token": MetadataValue("bool", True) for flag in how.flags}
    first = Fields(config_path, stated).boolean("add_prefix_space") if how.space_prefix in ("config", "last") else None
    if first is not None and how.space_prefix == "config":
        out[SPACE_PREFIX] = MetadataValue("bool", first)
    found = _vocabulary(folder, tokenizer, stated, model, size, how)
    if found is None:
        missing = (
            "There is no tokenizer.model or tokenizer.json, so llama.cpp can load the GGUF file but not read text."
        )
        # Without a vocabulary llama.cpp wants to be told so, and how many tokens there are.
        sorts = _sorts_of_text(folder, model) if how.kind == "wordpiece" else {}
        out |= sorts | {"tokenizer.ggml.model": MetadataValue("string", "none")}
        return out, (missing,)
    out |= found.metadata
    out |= special_metadata(folder, tokenizer, stated, model, found.merges, found.bound, how.tokens)
    _ends(folder, model, how, out)
    for kind, number in how.ids:
        out.setdefault(f"tokenizer.ggml.{kind}_token_id", MetadataValue("uint32", number))
    if how.vocab_size and size == CODE_LLAMA_SIZE:
        for kind, number in CODE_LLAMA_IDS.items():
            out.setdefault(f"tokenizer.ggml.{kind}_token_id", MetadataValue("uint32", number))
    if how.vocab_size and size == SMALL_GRANITE_SIZE:
        out["tokenizer.ggml.add_bos_token"] = MetadataValue("bool", False)
    if how.space_prefix is False and found.scored:
        out[SPACE_PREFIX] = MetadataValue("bool", False)
    if first is not None and how.space_prefix == "last":
        out[SPACE_PREFIX] = MetadataValue("bool", first)
    if how.kind == "merged":
        out.pop("tokenizer.ggml.add_bos_token", None)
        out["tokenizer.ggml.add_bos_token"] = MetadataValue("bool", True)
    return out, (*found.warnings, *_rows_without_tokens(found.metadata, config.vocab))


def _rows_without_tokens(metadata: dict[str, MetadataValue], rows: int) -> tuple[str, ...]:
    """A note with both numbers where the embedding has more rows than the tokenizer has tokens, or fewer."""
    tokens = metadata["tokenizer.ggml.tokens"].value
    types = metadata["tokenizer.ggml.token_type"].value
    padded = sum(
        kind == UNUSED and text == f"[PAD{at}]" for at, (text, kind) in enumerate(zip(tokens, types, strict=True))
    )
    count = len(tokens) - padded
    if count == rows:
        return ()
    rest = "rows without a token stay as they are" if count < rows else "the model has no weights for the rest"
    return (f"The embedding has {rows:,} rows and the tokenizer {count:,} tokens; {rest}.",)


@dataclass(frozen=True)
class _Found:
    """A vocabulary's keys; whether its merges follow, up to which id special tokens may lie, whether it has scores."""

    metadata: dict[str, MetadataValue]
    merges: bool = False
    bound: int | None = None
    scored: bool = False
    warnings: tuple[str, ...] = ()


def _vocabulary(
    folder: Path,
    tokenizer: dict[str, object] | None,
    stated: dict[str, object],
    model: dict[str, object],
    size: int,
    how: Tokenizer,
) -> _Found | None:
    """The vocabulary in the files that an architecture reads; None where there are none."""
    path = folder / "tokenizer.json"
    if how.kind in ("unigram", "fairseq"):
        sorts = None
        if how.kind == "fairseq":
            sorts = Fields(folder / "config.json", model).integer("type_vocab_size", 1, 2**16, 1)
        unigram = read_unigram(folder, size, stated, how.kind == "fairseq")
        return None if unigram is None else _Found(unigram.metadata(sorts), bound=len(unigram.tokens))
    if (folder / "tokenizer.model").is_file() and how.kind == "any":
        added = read_json_if_there(folder / "added_tokens.json")
        further = added_tokens(path, tokenizer) if tokenizer is not None and how.json_tokens else []
        found = sentencepiece_vocabulary(folder / "tokenizer.model", size, added, stated, further)
        return _Found(found.metadata(), bound=len(found.tokens), scored=True, warnings=found.warnings)
    if tokenizer is None:
        return None
    if how.kind == "wordpiece":
        found = wordpiece_vocabulary(path, tokenizer, stated, size)
        return _Found(_sorts_of_text(folder, model) | _named(found, how).metadata(), bound=len(found.tokens))
    if how.kind == "merged":
        found = merged_vocabulary(path, tokenizer, stated, how.model or "llama", how.visible, how.control)
        return _Found(found.metadata(), merges=True, scored=True)
    if is_byte_level(tokenizer):
        found = _named(byte_level_vocabulary(path, tokenizer, stated, size), how)
        return _Found(found.metadata(), merges=True, warnings=found.warnings)
    found = fallback_vocabulary(path, tokenizer, stated)
    # llama.cpp puts a space before a text where nothing is said.
    prefix = {} if has_space_prefix(tokenizer) else {SPACE_PREFIX: MetadataValue("bool", False)}
    return _Found(prefix | found.metadata(), bound=len(found.tokens), scored=True, warnings=found.warnings)


def _named(vocabulary: Vocabulary, how: Tokenizer) -> Vocabulary:
    """With its pre-tokenizer called as the architecture calls it."""
    return replace(vocabulary, pre=how.pre.get(vocabulary.pre or "", vocabulary.pre))


def _ends(folder: Path, model: dict[str, object], how: Tokenizer, out: dict[str, MetadataValue]) -> None:
    """The end of a text, where another key than eos_token_id says it, and then that of a turn."""
    for key in how.ends:
        number = Fields(folder / "config.json", model).integer(key, -1, 2**31 - 1)
        if number is not None and number >= 0:
            out[ID_KEYS["eos"]] = MetadataValue("uint32", number)
        both = generation_config(folder).get("eos_token_id")
        if isinstance(both, list) and len(both) > 1 and type(both[0]) is int and 0 <= both[0] < 2**31:
            out[ID_KEYS["eot"]] = MetadataValue("uint32", both[0])
