"""Tokens of a model as GGUF lists them: from a byte-level BPE, a SentencePiece model, or a BPE with byte fallback.

Source: get_vocab_base() and _create_vocab_sentencepiece() in llama.cpp's conversion/base.py, gguf.LlamaHfVocab.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from quantlib.architectures.pre_tokenizers import pre_tokenizer_name
from quantlib.checkpoints.base import MappedFile, MetadataValue, fault, shown
from quantlib.checkpoints.convert.protobuf import BYTES, FIXED32, VARINT, fields
from quantlib.checkpoints.untrusted import MAX_JSON, Fields, decode_text

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
MAX_TOKEN = 2**16  # characters

SPECIAL_KEYS = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by id with their types, scores for SentencePiece, the tokenizer's names in llama.cpp, and warnings."""

    model: str  # "gpt2", "llama" or "bert"
    pre: str | None
    tokens: list[str]
    types: list[int]
    scores: list[float] | None = None
    warnings: tuple[str, ...] = ()

    def metadata(self) -> dict[str, MetadataValue]:
        """tokenizer.ggml.model to tokenizer.ggml.token_type."""
        out: dict[str, MetadataValue] = {
            "tokenizer.ggml.model": MetadataValue("string", self.model),
        }
        if self.pre is not None:
            out["tokenizer.ggml.pre"] = MetadataValue("string", self.pre)
        out["tokenizer.ggml.tokens"] = MetadataValue("array[string]", self.tokens)
        if self.scores is not None:
            out["tokenizer.ggml.scores"] = MetadataValue("array[float32]", self.scores)
        return out | {"tokenizer.ggml.token_type": MetadataValue("array[int32]", self.types)}


@dataclass(frozen=True)
class AddedToken:
    """A token that tokenizer.json adds to its model's vocabulary."""

    id: int
    content: str
    special: bool
    normalized: bool


def added_tokens(path: Path, tokenizer: dict[str, object]) -> list[AddedToken]:
    """The added tokens of a parsed tokenizer.json."""
    out = []
    for value in Fields(path, tokenizer).array("added_tokens"):
        if not isinstance(value, dict):
            raise fault(path, "has an added token that is not an object.")
        entry = Fields(path, value, "of an added token that ")
        number, content = entry.integer("id", 0, 2**31 - 1), entry.string("content", limit=MAX_TOKEN)
        if number is None or content is None:
            raise fault(path, "has an added token without 'id' or 'content'.")
        out.append(AddedToken(number, content, entry.boolean("special", False), entry.boolean("normalized", True)))
    return out


def is_byte_level(tokenizer: dict[str, object]) -> bool:
    """Whether a tokenizer.json holds a BPE over bytes, as GPT-2's and Llama 3's."""
    model = tokenizer.get("model")
    return isinstance(model, dict) and model.get("type") == "BPE" and model.get("byte_fallback") is not True


def byte_level_vocabulary(path: Path, tokenizer: dict[str, object], config: dict[str, object], size: int) -> Vocabulary:
    """The vocabulary of a byte-level BPE, padded to `size` tokens; an unknown pre-tokenizer becomes "default"."""
    tokens, types = _padded(path, tokenizer, config, size)
    pre = pre_tokenizer_name(tokenizer)
    warnings: tuple[str, ...] = ()
    if pre is None:
        warnings = (
            "The pre-tokenizer in tokenizer.json is none that llama.cpp is known to have, so the GGUF file says "
            "'default', and llama.cpp may split some texts into other tokens.",
        )
    return Vocabulary("gpt2", pre or "default", tokens, types, None, warnings)


UNCASED = 30_522  # tokens of the vocabulary of lower-case English words


def wordpiece_vocabulary(path: Path, tokenizer: dict[str, object], config: dict[str, object], size: int) -> Vocabulary:
    """BERT's vocabulary, padded to `size`: what starts a word gets ▁, what continues one loses its ##.

    The name of the pre-tokenizer changes nothing in llama.cpp, which has one for all WordPiece models; its converter
    knows the uncased vocabulary that most are trained with by the name of another that shares it.
    """
    tokens, types = _padded(path, tokenizer, config, size)
    spelled = [_word_part(text, kind) for text, kind in zip(tokens, types, strict=True)]
    published = len(tokens) >= UNCASED and tokens[101:104] == ["[CLS]", "[SEP]", "[MASK]"]
    return Vocabulary("bert", "jina-v2-en" if published else "bert-bge", spelled, types)


def _word_part(text: str, kind: int) -> str:
    return text if kind == CONTROL else text[2:] if text.startswith("##") else "▁" + text


def _padded(
    path: Path, tokenizer: dict[str, object], config: dict[str, object], size: int
) -> tuple[list[str], list[int]]:
    """Tokens by id and their types; ids that no token has up to `size` are unused."""
    by_id = _model_vocabulary(path, tokenizer, size)
    added = {token.id: token for token in added_tokens(path, tokenizer)}
    named = named_tokens(config)
    control = {token for token, number in by_id.items() if token in named} | {
        t.content for t in added.values() if t.special
    }
    texts: dict[int, str] = {number: text for text, number in by_id.items()}
    texts |= {number: token.content for number, token in added.items()}
    if texts and max(texts) >= size:
        raise fault(path, f"has a token with id {max(texts):,}, but config.json says the vocabulary has {size:,}.")
    byte_decoder = _is_type(tokenizer.get("decoder"), "ByteLevel")
    tokens, types = [], []
    for number in range(size):
        text = texts.get(number)
        if text is None:
            tokens.append(f"[PAD{number}]")
            types.append(UNUSED)
        elif number not in added and text not in control:
            tokens.append(text)
            types.append(NORMAL)
        else:
            token = added.get(number)
            if token is not None and not token.normalized and byte_decoder:
                text = _through_bytes(text)
            special = text in control or (token is not None and token.special) or looks_special(text)
            tokens.append(text if special else text.replace("▁", " "))
            types.append(CONTROL if special else USER_DEFINED)
    return tokens, types


def fallback_vocabulary(path: Path, tokenizer: dict[str, object], config: dict[str, object]) -> Vocabulary:
    """The vocabulary of a BPE with byte fallback, which is what becomes of SentencePiece without its model file."""
    by_id = _model_vocabulary(path, tokenizer, 2**22)
    base = len(by_id)
    texts = {number: text for text, number in by_id.items()}
    extra = sorted((t for t in added_tokens(path, tokenizer) if t.id >= base), key=lambda token: token.id)
    if set(texts) != set(range(base)) or [t.id for t in extra] != list(range(base, base + len(extra))):
        raise fault(path, "leaves gaps between the ids of its tokens, which GGUF has no place for.")
    named = named_tokens(config)
    tokens, types = [], []
    for number in range(base):
        tokens.append(texts[number])
        is_byte = re.fullmatch(r"<0x[0-9A-Fa-f]{2}>", texts[number])
        types.append(BYTE if is_byte else CONTROL if texts[number] in named else NORMAL)
    for token in extra:
        tokens.append(token.content)
        types.append(CONTROL if token.content in named else USER_DEFINED)
    return Vocabulary("llama", "default", tokens, types, _scores(path, tokenizer, tokens))


def merged_vocabulary(
    path: Path,
    tokenizer: dict[str, object],
    config: dict[str, object],
    model: str,
    visible: frozenset[str],
    control: frozenset[str],
) -> Vocabulary:
    """The vocabulary of a BPE with byte fallback whose merges are kept beside it: no score tells tokens apart.

    visible: special tokens that are shown where they stand in a text; control: those that are not, even if not named.
    """
    found = fallback_vocabulary(path, tokenizer, config)
    pairs = zip(found.tokens, found.types, strict=True)
    types = [USER_DEFINED if text in visible else CONTROL if text in control else kind for text, kind in pairs]
    return Vocabulary(model, None, found.tokens, types, [-1000.0] * len(types))


def _scores(path: Path, tokenizer: dict[str, object], tokens: list[str]) -> list[float]:
    """A score for each token by its place among the merges, as SentencePiece has it: the sooner merged, the higher.

    llama.cpp joins the neighbours whose token has the highest score. What no merge makes stands below them all.
    """
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(merges_of(path, tokenizer)):
        ranks.setdefault("".join(merge), rank)
    return [-float(ranks.get(token, len(ranks) + 1)) for token in tokens]


def merges_of(path: Path, tokenizer: dict[str, object]) -> Iterator[tuple[str, str]]:
    """The pairs of tokens that a BPE merges, in order; they are written as "left right" or as two texts."""
    merges = Fields(path, Fields(path, tokenizer).mapping("model"), "in its model that ").array("merges")
    for number, merge in enumerate(merges):
        if isinstance(merge, str) and len(merge) <= 2 * MAX_TOKEN:
            left, _, right = merge.partition(" ")
            yield left, right
        elif isinstance(merge, list) and len(merge) == 2 and all(isinstance(part, str) for part in merge):
            yield merge[0], merge[1]
        else:
            raise fault(path, f"has a merge (number {number:,}) that is no pair of tokens.")


def has_space_prefix(tokenizer: dict[str, object]) -> bool:
    """Whether a BPE with byte fallback puts a ▁ before a text: by its normalizer, or by its pre-tokenizer."""
    steps = [tokenizer.get("normalizer"), tokenizer.get("pre_tokenizer")]
    while steps:
        step = steps.pop()
        if not isinstance(step, dict):
            continue
        for inner in (step.get("normalizers"), step.get("pretokenizers")):
            steps += inner if isinstance(inner, list) else []
        if step.get("type") == "Prepend" or (
            step.get("type") == "Metaspace" and step.get("prepend_scheme", "always") != "never"
        ):
            return True
    return False


def sentencepiece_vocabulary(
    path: Path,
    size: int,
    added: dict[str, object] | None,
    config: dict[str, object],
    further: Sequence[AddedToken] = (),
) -> Vocabulary:
    """The vocabulary of a tokenizer.model, padded to `size`, with added_tokens.json and the config's added tokens.

    further: added tokens of tokenizer.json, which some architectures take over as they are marked there.
    """
    tokens = [f"[PAD{i}]" for i in range(size)]
    scores, types = [-10000.0] * size, [UNUSED] * size
    warnings: list[str] = []
    for number, (text, score, kind) in enumerate(pieces(path, model_bytes(path))):
        if number >= size:
            warnings.append(f"tokenizer.model has more tokens than the {size:,} of config.json; the rest is left out.")
            break
        # llama.cpp's converter knows no user-defined pieces here: those are named by tokenizer_config.json.
        tokens[number], scores[number], types[number] = text, score, NORMAL if kind == USER_DEFINED else kind
    for text, id in stated_ids(path.with_name("added_tokens.json"), added or {}):
        if id < size:
            tokens[id], scores[id], types[id] = text, -1000.0, USER_DEFINED
    config_path = path.with_name("tokenizer_config.json")
    for key, value in Fields(config_path, config).mapping("added_tokens_decoder").items():
        if not re.fullmatch(r"\d{1,9}", key, re.ASCII) or not isinstance(value, dict):
            raise fault(config_path, f"has an entry {shown(key)} in 'added_tokens_decoder' that is no token.")
        entry = Fields(config_path, value, "of an added token that ")
        number, text = int(key), entry.string("content", "", limit=MAX_TOKEN)
        if number >= size:
            continue
        special = entry.boolean("special", False) or looks_special(text)
        tokens[number] = text if special else text.replace("▁", " ")
        scores[number], types[number] = -1000.0, CONTROL if special else USER_DEFINED
    for token in further:
        if token.id < size:
            kind = CONTROL if token.special else USER_DEFINED
            tokens[token.id], scores[token.id], types[token.id] = token.content, -1000.0, kind
    return Vocabulary("llama", "default", tokens, types, scores, tuple(warnings))


def stated_ids(path: Path, added: Mapping[str, object]) -> Iterator[tuple[str, int]]:
    """The tokens of an added_tokens.json with their ids; CheckpointError where one is no non-negative integer."""
    for text, id in added.items():
        if type(id) is not int or id < 0:
            raise fault(path, f"gives {shown(text)} an id that is no non-negative integer.")
        yield text, id


def model_bytes(path: Path) -> bytes:
    """The bytes of a SentencePiece model."""
    file = MappedFile(path)
    try:
        if file.size > MAX_JSON:
            raise fault(path, f"has {file.size:,} bytes, more than the {MAX_JSON:,} that are read of a tokenizer.")
        return file.bytes(0, file.size).tobytes()
    finally:
        file.close()


def pieces(path: Path, data: bytes) -> list[tuple[str, float, int]]:
    """(text, score, type) of every piece of a SentencePiece model."""
    out: list[tuple[str, float, int]] = []
    for number, wire, value in fields(path, data):
        if number != 1:
            continue
        if wire != BYTES or not isinstance(value, bytes):
            raise fault(path, "is no SentencePiece model: its field 1 holds no pieces.")
        text, score, kind = b"", 0.0, NORMAL
        for inner, inner_wire, content in fields(path, value):
            if isinstance(content, int):
                kind = content if (inner, inner_wire) == (3, VARINT) else kind
            elif (inner, inner_wire) == (1, BYTES):
                text = content
            elif (inner, inner_wire) == (2, FIXED32):
                score = struct.unpack("<f", content)[0]
        if kind not in (NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE):
            raise fault(path, f"gives piece {len(out):,} the type {kind:,}, which SentencePiece does not have.")
        if len(out) >= 2**22:
            raise fault(path, f"has more than {2**22:,} pieces.")
        out.append((decode_text(path, text, f"a piece (number {len(out):,})"), score, kind))
    if not out:
        raise fault(path, "is no SentencePiece model: it holds no pieces.")
    return out


def _model_vocabulary(path: Path, tokenizer: dict[str, object], size: int) -> dict[str, int]:
    """Token -> id of the model in a tokenizer.json, checked: ids are integers, no two tokens share one."""
    vocab = Fields(path, Fields(path, tokenizer).mapping("model"), "in its model that ").mapping("vocab")
    if not vocab:
        raise fault(path, "has no vocabulary in its 'model'.")
    ids = {token: id for token, id in vocab.items() if type(id) is int and 0 <= id < 2**31}
    if len(ids) != len(vocab) or len(set(ids.values())) != len(vocab):
        raise fault(path, "has a vocabulary whose ids are not integers that differ from each other.")
    if len(vocab) > size:
        raise fault(path, f"has {len(vocab):,} tokens, but config.json says the vocabulary has {size:,}.")
    return ids


def named_tokens(config: dict[str, object]) -> set[str]:
    """The special tokens that tokenizer_config.json names: they are control tokens wherever they come from."""
    values = [config.get(f"{kind}_token") for kind in SPECIAL_KEYS]
    for key in ("additional_special_tokens", "extra_special_tokens"):
        more = config.get(key)
        values += more if isinstance(more, list) else list(more.values()) if isinstance(more, dict) else []
    contents = (value.get("content") if isinstance(value, dict) else value for value in values)
    return {content for content in contents if isinstance(content, str)}


def looks_special(text: str) -> bool:
    """Tokens that published models forgot to mark as special, by their spelling."""
    return (
        text in ("<pad>", "<mask>", "<2mass>", "[@BOS@]")
        or (text.startswith("<|") and text.endswith("|>"))
        or (text.startswith("<｜") and text.endswith("｜>"))
        or (text.startswith("<unused") and text.endswith(">"))
    )


def _is_type(value: object, name: str) -> bool:
    return isinstance(value, dict) and value.get("type") == name


def _byte_chars() -> dict[str, int]:
    """GPT-2's characters for the 256 bytes: printable ones stand for themselves, the others follow from U+0100 on."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(rest)}


_BYTES_OF = _byte_chars()


def _through_bytes(text: str) -> str:
    """A token as the byte-level decoder gives it back: characters that stand for bytes become those bytes."""
    if not all(char in _BYTES_OF for char in text):
        return text
    return bytes(_BYTES_OF[char] for char in text).decode("utf-8", errors="replace")
