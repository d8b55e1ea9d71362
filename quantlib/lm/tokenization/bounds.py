"""What of a tokenizer.json may run: known steps, few of them, short, and none that lengthens a text without end."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from quantlib.checkpoints.base import fault, shown
from quantlib.checkpoints.untrusted import Fields

MODELS = frozenset(["BPE", "Unigram", "WordPiece", "WordLevel"])
# What the `tokenizers` library knows of each part, and under which key a sequence of them has its steps.
KNOWN = {
    "normalizer": """BertNormalizer ByteLevel Lowercase NFC NFD NFKC NFKD Nmt Precompiled Prepend Replace Strip
        StripAccents""",
    "pre_tokenizer": """BertPreTokenizer ByteLevel CharDelimiterSplit Digits FixedLength Metaspace Punctuation Split
        UnicodeScripts Whitespace WhitespaceSplit""",
    "decoder": "BPEDecoder ByteFallback ByteLevel CTC Fuse Metaspace Replace Strip WordPiece",
}
SEQUENCES = {"normalizer": "normalizers", "pre_tokenizer": "pretokenizers", "decoder": "decoders"}
MAX_STEPS, MAX_NESTING = 64, 8  # the most in use are 11 steps and 2 levels
MAX_STRING = 2**14  # characters of an expression or of a text; the longest expression in use has about 1,500
MAX_CHARSMAP = 2**22  # characters of the map that SentencePiece's normalizer is written as; XLM-R's has 316,720
MAX_GROWTH = 64  # times that the replacements of one tokenizer may lengthen a text, one after the other
MAX_WORD = 10_000  # characters of a word that WordPiece takes apart, for which its time grows as the square; usual: 100


def bounded(path: Path, tokenizer: dict[str, object]) -> dict[str, object]:
    """What is run of a parsed tokenizer.json, in which nothing can grow beyond what a text and the file's size explain.

    Padding, truncation and the tokens that are put around a text are left out: a text's own tokens need none of them.
    Raises CheckpointError where a step is of an unknown kind, too long, one of too many, or lengthens texts too much.
    """
    parts = {part: _steps(path, tokenizer.get(part), part) for part in KNOWN}
    for part in ("normalizer", "decoder"):
        growth = math.prod(_growth(step) for step in _each(parts[part], SEQUENCES[part]))
        if growth > MAX_GROWTH:
            raise fault(
                path,
                f"has {part}s that can make a text {min(growth, 1e9):,.0f} times longer or more; {MAX_GROWTH} times is "
                "the most that is run.",
            )
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": Fields(path, tokenizer).array("added_tokens"),
        **parts,
        "post_processor": None,
        "model": _model(path, Fields(path, tokenizer).mapping("model")),
    }


def _model(path: Path, model: dict[str, object]) -> dict[str, object]:
    kind = model.get("type")
    if kind is not None and kind not in MODELS:  # old files do not say it, and the library tells by the other keys
        raise fault(path, f"has a tokenizer model of the type {shown(str(kind))}, which is not known here.")
    fields = Fields(path, model, "in its model that ")
    for key in ("unk_token", "continuing_subword_prefix", "end_of_word_suffix"):
        fields.string(key, limit=MAX_STRING)
    fields.integer("max_input_chars_per_word", 0, MAX_WORD)
    # Dropout is for training: with it the same text would become other tokens each time.
    return model | {"dropout": None} if model.get("dropout") is not None else model


def _steps(path: Path, value: object, part: str) -> object:
    """The steps of one part, as they are, once each was looked at."""
    known = KNOWN[part].split()
    words = part.replace("_", "-")
    if value is None:
        return None
    todo, count = [(value, 0)], 0
    while todo:
        step, depth = todo.pop()
        count += 1
        if not isinstance(step, dict):
            raise fault(path, f"has a {words} that is not an object.")
        if count > MAX_STEPS or depth > MAX_NESTING:
            raise fault(
                path,
                f"has more than {MAX_STEPS} steps in its {words}, or nests them more than {MAX_NESTING} deep, "
                "which no tokenizer needs.",
            )
        kind = step.get("type")
        if kind == "Sequence":
            todo += [(inner, depth + 1) for inner in Fields(path, step).array(SEQUENCES[part])]
        elif kind not in known:
            raise fault(path, f"has a {words} of the type {shown(str(kind))}, which is not known here.")
        else:
            _short(path, step, words)
    return value


def _short(path: Path, step: dict[str, object], part: str) -> None:
    """That all strings within one step have a length that a step can need."""
    for key, value in step.items():
        limit = MAX_CHARSMAP if key == "precompiled_charsmap" else MAX_STRING
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
        for text in inner:
            if isinstance(text, (dict, list)) or (isinstance(text, str) and len(text) > limit):
                raise fault(
                    path,
                    f"has a {part} whose {shown(key)} is nested or has more than {limit:,} characters, "
                    "which no tokenizer needs.",
                )


def _each(value: object, key: str) -> Iterator[dict[str, object]]:
    """The steps of a part that was looked at, sequences taken apart."""
    if isinstance(value, dict) and value.get("type") == "Sequence":
        for inner in value.get(key) or ():
            yield from _each(inner, key)
    elif isinstance(value, dict):
        yield value


def _growth(step: dict[str, object]) -> float:
    """By how much a replacement lengthens a text at most; 1 for what only respells characters.

    What is put in front of a text is compared with a text of one character. An expression is taken to match one
    character at least; what it makes of matches of none is left to the limits of the process that runs it.
    """
    match step:
        case {"type": "Replace", "content": str(content), "pattern": {"String": str(found)}}:
            return max(1.0, len(content) / max(1, len(found)))
        case {"type": "Replace", "content": str(content)}:
            return max(1.0, float(len(content)))
        case {"type": "Prepend", "prepend": str(text)}:
            return 1.0 + len(text)
        case _:
            return 1.0
