"""Tokenizer files as a stranger may write them: a small honest one, and what makes others of it."""

from __future__ import annotations

import json
from pathlib import Path

VOCABULARY = {"a": 0, "b": 1, "ab": 2, "x": 3, "y": 4, "é": 5, " ": 6, "</s>": 7}
END = {
    "id": 7,
    "content": "</s>",
    "single_word": False,
    "lstrip": False,
    "rstrip": False,
    "normalized": False,
    "special": True,
}


def tokenizer(**parts: object) -> dict[str, object]:
    """A tokenizer.json of eight tokens, with these parts in place of its own."""
    empty = ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    model = {"type": "BPE", "vocab": VOCABULARY, "merges": [["a", "b"]]}
    return {"version": "1.0", **dict.fromkeys(empty), "added_tokens": [END], "model": model} | parts


def replace(found: str, content: str, kind: str = "String") -> dict[str, object]:
    return {"type": "Replace", "pattern": {kind: found}, "content": content}


def sequence(steps: list[dict[str, object]], key: str = "normalizers") -> dict[str, object]:
    return {"type": "Sequence", key: steps}


def split(expression: str) -> dict[str, object]:
    return {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False}


def nested(depth: int) -> dict[str, object]:
    value: dict[str, object] = {"type": "NFC"}
    for _ in range(depth):
        value = sequence([value])
    return value


def write_over(folder: Path, **parts: object) -> Path:
    """The folder, whose tokenizer.json now has these parts."""
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | parts), encoding="utf-8")
    return folder
