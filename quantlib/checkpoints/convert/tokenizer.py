"""The tokenizer of a Hugging Face folder as GGUF's tokenizer.* keys."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from quantlib.architectures import Architecture, Config
from quantlib.checkpoints.base import MetadataValue
from quantlib.checkpoints.convert.special_tokens import special_metadata
from quantlib.checkpoints.convert.vocabulary import (
    added_tokens,
    byte_level_vocabulary,
    fallback_vocabulary,
    has_space_prefix,
    is_byte_level,
    sentencepiece_vocabulary,
    wordpiece_vocabulary,
)
from quantlib.checkpoints.untrusted import Fields, read_json_if_there

SPACE_PREFIX = "tokenizer.ggml.add_space_prefix"
CODE_LLAMA_SIZE, SMALL_GRANITE_SIZE = 32_016, 49_152
CODE_LLAMA_IDS = {"prefix": 32_007, "suffix": 32_008, "middle": 32_009, "eot": 32_010}


def _sorts_of_text(folder: Path, model: dict[str, object]) -> dict[str, MetadataValue]:
    """How many sorts of text BERT tells apart: first and second, usually."""
    count = Fields(folder / "config.json", model).int("type_vocab_size", 1, 2**16, 2)
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
    out: dict[str, MetadataValue] = {}
    prefix_space = Fields(config_path, stated).bool("add_prefix_space") if how.space_prefix == "config" else None
    if prefix_space is not None:
        out[SPACE_PREFIX] = MetadataValue("bool", prefix_space)
    sorts = _sorts_of_text(folder, model) if how.kind == "wordpiece" else {}
    merges, bound = False, None
    if (folder / "tokenizer.model").is_file() and how.kind == "any":
        added = read_json_if_there(folder / "added_tokens.json")
        further = added_tokens(tokenizer_path, tokenizer) if tokenizer is not None and how.json_tokens else []
        vocabulary = sentencepiece_vocabulary(folder / "tokenizer.model", size, added, stated, further)
        bound = len(vocabulary.tokens)
    elif tokenizer is None:
        missing = (
            "There is no tokenizer.model or tokenizer.json, so llama.cpp can load the GGUF file but not read text."
        )
        # Without a vocabulary llama.cpp wants to be told so, and how many tokens there are.
        out |= sorts | {"tokenizer.ggml.model": MetadataValue("string", "none")}
        return out, (missing,)
    elif how.kind == "wordpiece":
        out |= sorts
        vocabulary = wordpiece_vocabulary(tokenizer_path, tokenizer, stated, size)
        bound = len(vocabulary.tokens)
    elif is_byte_level(tokenizer):
        vocabulary, merges = byte_level_vocabulary(tokenizer_path, tokenizer, stated, size), True
    else:
        vocabulary = fallback_vocabulary(tokenizer_path, tokenizer, stated)
        bound = len(vocabulary.tokens)
        if not has_space_prefix(tokenizer):  # llama.cpp puts one before a text where nothing is said
            out[SPACE_PREFIX] = MetadataValue("bool", False)
    vocabulary = replace(vocabulary, pre=how.pre.get(vocabulary.pre, vocabulary.pre))
    out |= vocabulary.metadata()
    out |= special_metadata(folder, tokenizer, stated, model, merges, bound, how.tokens)
    for kind, number in how.ids:
        out.setdefault(f"tokenizer.ggml.{kind}_token_id", MetadataValue("uint32", number))
    if how.vocab_size and size == CODE_LLAMA_SIZE:
        for kind, number in CODE_LLAMA_IDS.items():
            out.setdefault(f"tokenizer.ggml.{kind}_token_id", MetadataValue("uint32", number))
    if how.vocab_size and size == SMALL_GRANITE_SIZE:
        out["tokenizer.ggml.add_bos_token"] = MetadataValue("bool", False)
    if how.space_prefix is False and vocabulary.model == "llama":
        out[SPACE_PREFIX] = MetadataValue("bool", False)
    return out, vocabulary.warnings
