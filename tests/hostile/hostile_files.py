"""Valid small files as parts that a test changes by name, and what every refusal must look like."""

import json
import re
import struct
import tracemalloc
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

import quantlib.checkpoints.convert  # noqa: F401  loaded with the first conversion, which is no memory of a refusal
from quantlib.checkpoints import open_checkpoint
from quantlib.errors import CheckpointError

MEMORY = 4_000_000  # bytes that refusing a file may allocate


def refusal(path: Path, action=open_checkpoint) -> str:
    """The sentence with which a file is refused: one line that names the file, made without allocating much."""
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError) as caught:
            action(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    sentence = str(caught.value)
    assert peak < MEMORY, sentence
    assert len(sentence) < 400, sentence
    assert sentence.isprintable(), sentence
    assert sentence.endswith("."), sentence
    assert not re.search(r"\. [A-Z]", sentence), sentence
    return sentence


# --- safetensors ---


@dataclass(frozen=True)
class Safetensors:
    """A valid file of two tensors: header is JSON text, data follows."""

    entries: dict = field(
        default_factory=lambda: {
            "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
            "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
        }
    )
    header: bytes | None = None  # instead of the entries
    length: int | None = None  # instead of the header's true length
    data: bytes = bytes(32)

    def entry(self, name: str, **changes) -> "Safetensors":
        return replace(self, entries=self.entries | {name: self.entries.get(name, {}) | changes})

    def encode(self) -> bytes:
        header = json.dumps(self.entries).encode() if self.header is None else self.header
        return struct.pack("<Q", len(header) if self.length is None else self.length) + header + self.data


# --- GGUF ---


def string(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def uint32(value: int) -> bytes:
    return struct.pack("<II", 4, value)


def array(kind: int, count: int, data: bytes) -> bytes:
    return struct.pack("<IIQ", 9, kind, count) + data


def info(name: str | bytes, ne: tuple[int, ...], kind: int, offset: int) -> bytes:
    return string(name) + struct.pack(f"<I{len(ne)}QIQ", len(ne), *ne, kind, offset)


@dataclass(frozen=True)
class Gguf:
    """A valid file: an F32 tensor "a" of 2 rows, a Q8_0 tensor "b" of one row, tokens, and what a reader expects."""

    magic: bytes = b"GGUF"
    version: int = 3
    n_tensors: int | None = None
    n_keys: int | None = None
    keys: tuple[bytes, ...] = (
        string("general.architecture") + struct.pack("<I", 8) + string("llama"),
        string("general.alignment") + uint32(32),
        string("tokenizer.ggml.tokens") + array(8, 3, string("<s>") + string("é") + string("")),
        string("tokenizer.ggml.scores") + array(6, 3, struct.pack("<3f", 0, -1, -2)),
    )
    infos: tuple[bytes, ...] = (info("a", (3, 2), 0, 0), info("b", (32,), 8, 32))
    data: bytes = bytes(32 + 34 + 30)

    def key(self, *keys: bytes) -> "Gguf":
        return replace(self, keys=self.keys + keys)

    def encode(self) -> bytes:
        n_tensors = len(self.infos) if self.n_tensors is None else self.n_tensors
        n_keys = len(self.keys) if self.n_keys is None else self.n_keys
        head = self.magic + struct.pack("<IQQ", self.version, n_tensors, n_keys)
        head += b"".join(self.keys) + b"".join(self.infos)
        return head + bytes(-len(head) % 32) + self.data
