"""Vocabularies of Unigram models (SentencePiece's, T5's and XLM-R's) as GGUF lists them.

Source: set_vocab() in llama.cpp's conversion/t5.py, _xlmroberta_set_vocab() in conversion/bert.py.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quantlib.checkpoints.base import MetadataValue, fault
from quantlib.checkpoints.convert.protobuf import BYTES, VARINT, fields
from quantlib.checkpoints.convert.vocabulary import (
    CONTROL,
    NORMAL,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    Vocabulary,
    added_tokens,
    model_bytes,
    named_tokens,
    pieces,
    stated_ids,
)
from quantlib.checkpoints.untrusted import Fields, read_json

MODELS = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
MAX_CHARSMAP = 2**24  # bytes


@dataclass(frozen=True)
class Unigram:
    """A Unigram model: its pieces, and what it does to a text before it is cut."""

    tokens: list[str]
    scores: list[float]
    types: list[int]
    space_prefix: bool = True
    extra_spaces_removed: bool = True
    charsmap: bytes = b""

    def metadata(self, sorts: int | None) -> dict[str, MetadataValue]:
        """tokenizer.ggml.model to .precompiled_charsmap; sorts: how many sorts of text the model tells apart."""
        vocabulary = Vocabulary("t5", "default", self.tokens, self.types, self.scores)
        out = vocabulary.metadata()
        out["tokenizer.ggml.add_space_prefix"] = MetadataValue("bool", self.space_prefix)
        if sorts is not None:
            out["tokenizer.ggml.token_type_count"] = MetadataValue("uint32", sorts)
        out["tokenizer.ggml.remove_extra_whitespaces"] = MetadataValue("bool", self.extra_spaces_removed)
        if self.charsmap:
            values = np.frombuffer(self.charsmap, np.uint8)
            out["tokenizer.ggml.precompiled_charsmap"] = MetadataValue("array[uint8]", values)
        return out


def read_unigram(folder: Path, size: int, config: dict[str, object], realigned: bool) -> Unigram | None:
    """The Unigram model of a folder, padded to `size` tokens; None where there is none.

    realigned: whether the first four tokens are not SentencePiece's but fairseq's <s>, <pad>, </s> and <unk>.
    """
    path = next((folder / name for name in MODELS if (folder / name).is_file()), None)
    if path is not None:
        added = folder / "added_tokens.json"
        stated = read_json(added) if added.is_file() and not realigned else {}
        found = of_sentencepiece(path, model_bytes(path), size, stated, realigned)
        return _aligned(found) if realigned else found
    path = folder / "tokenizer.json"
    return _of_json(path, read_json(path), size, config) if path.is_file() else None


def of_sentencepiece(
    path: Path, data: bytes, size: int, stated: Mapping[str, object], realigned: bool = False
) -> Unigram:
    """A SentencePiece model, padded to `size` tokens. path: the file that it is from; stated: added tokens and ids."""
    # of the normalizer: dummy prefix, extra spaces removed, its map of characters
    settings: dict[int, int | bytes] = {3: 1, 4: 1, 2: b""}
    for number, wire, value in fields(path, data):
        if (number, wire) == (2, BYTES) and isinstance(value, bytes):
            kind = next((v for n, w, v in fields(path, value) if (n, w) == (3, VARINT)), 1)
            if kind != 1:
                raise fault(path, "is no Unigram model, and this architecture needs one.")
        if (number, wire) == (3, BYTES) and isinstance(value, bytes):
            settings |= {n: v for n, w, v in fields(path, value) if n in settings and w in (VARINT, BYTES)}
    listed = pieces(path, data)
    count = max(size, len(listed)) if realigned else size
    tokens, scores, types = [f"[PAD{i}]" for i in range(count)], [-10000.0] * count, [UNUSED] * count
    for number, (text, score, kind) in enumerate(listed[:count]):
        tokens[number], scores[number], types[number] = text, score, NORMAL if kind == USER_DEFINED else kind
    for text, id in stated_ids(path.with_name("added_tokens.json"), stated):
        if id < count:
            tokens[id], scores[id], types[id] = text, -1000.0, USER_DEFINED
    charsmap = settings[2] if isinstance(settings[2], bytes) else b""
    return Unigram(tokens, scores, types, bool(settings[3]), bool(settings[4]), charsmap)


def _aligned(found: Unigram) -> Unigram:
    """The same with fairseq's first four tokens in place of SentencePiece's first three."""
    return Unigram(
        ["<s>", "<pad>", "</s>", "<unk>", *found.tokens[3:-1]],
        [0.0] * 4 + found.scores[3:-1],
        [CONTROL, CONTROL, CONTROL, UNKNOWN, *found.types[3:-1]],
        found.space_prefix,
        found.extra_spaces_removed,
        found.charsmap,
    )


def _of_json(path: Path, tokenizer: dict[str, object], size: int, config: dict[str, object]) -> Unigram:
    model = Fields(path, Fields(path, tokenizer).mapping("model"), "in its model that ")
    listed = model.array("vocab")
    if not listed or not all(
        isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str) and type(entry[1]) in (int, float)
        for entry in listed
    ):
        raise fault(path, "has no list of tokens with scores in its 'model', which this architecture needs.")
    count = max(size, len(listed))
    tokens, scores, types = [f"[PAD{i}]" for i in range(count)], [-10000.0] * count, [UNUSED] * count
    added = {token.id: token for token in added_tokens(path, tokenizer)}
    named, unknown = named_tokens(config), model.integer("unk_id", 0, 2**31 - 1, 3)
    for number, (text, score) in enumerate(listed):
        tokens[number], scores[number] = text, float(score)
        special = text in named or (number in added and added[number].special)
        kind = UNKNOWN if number == unknown else CONTROL if special else NORMAL
        types[number] = USER_DEFINED if kind == NORMAL and number in added else kind
    return Unigram(tokens, scores, types, charsmap=_charsmap(path, tokenizer))


def _charsmap(path: Path, tokenizer: dict[str, object]) -> bytes:
    steps = [tokenizer.get("normalizer")]
    while steps:
        step = steps.pop()
        if not isinstance(step, dict):
            continue
        inner = step.get("normalizers")
        steps += inner if isinstance(inner, list) else []
        text = step.get("precompiled_charsmap")
        if isinstance(text, str) and len(text) <= MAX_CHARSMAP:
            try:
                return base64.b64decode(text, validate=True)
            except binascii.Error:
                raise fault(path, "has a 'precompiled_charsmap' that is not base64.") from None
    return b""
