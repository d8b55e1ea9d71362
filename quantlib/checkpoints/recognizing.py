"""What a file or a folder is, by its content: the names that people give to files say little."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

LOOKED_AT = 4096  # bytes from the start of a file that tell what it is
GGUF, SAFETENSORS, NUMPY, ARCHIVE, TORCH, ONNX = "GGUF", "safetensors", "NumPy", "NumPy archive", "PyTorch", "ONNX"
# How a bare pickle of protocol 2 to 5 begins, which torch.save wrote before version 1.6.
PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
PICKLE_NAMES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_WEB = re.compile(rb"\s*<(!doctype html|html|\?xml|head)", re.IGNORECASE)
_ADDRESS = re.compile(
    r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+)(?:/(?:tree|blob|resolve)/.*)?/?", re.ASCII
)
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


@dataclass(frozen=True)
class Recognized:
    """kind: one of the six that are read, or another kind of file, for which `words` say what it is and what to do."""

    kind: str
    words: str = ""


def recognize(start: bytes, size: int, name: str = "") -> Recognized:
    """What a file is that starts with these bytes (LOOKED_AT of them, or all), is so long and has this name.

    Anything that is not told is taken for safetensors, whose reader says what is wrong with it.
    """
    if start.startswith(b"GGUF"):
        return Recognized(GGUF)
    if (kind := _foreign(start, size, name.lower())) is not None:
        return kind
    if name.lower().endswith(".gguf") and not _may_be_safetensors(start, size):
        return Recognized(GGUF)  # its reader says what is missing
    return Recognized(SAFETENSORS)


def _may_be_safetensors(start: bytes, size: int) -> bool:
    """Whether a header of plausible length that begins an object comes first."""
    return len(start) > 8 and int.from_bytes(start[:8], "little") <= size - 8 and start[8:9] in b"{ "


def _foreign(start: bytes, size: int, name: str) -> Recognized | None:
    if _may_be_safetensors(start, size):
        return _pickle(name)
    if (kind := _of_arrays(start, name)) is not None:
        return Recognized(kind)
    if start.startswith(b"version https://git-lfs"):
        return Recognized(
            "Git LFS",
            "is a pointer of Git LFS, not the weights themselves: run `git lfs pull` in its folder, then try again.",
        )
    if start.startswith(PICKLES):
        return _pickle(".bin")
    if _WEB.match(start):
        return Recognized(
            "web page", "is a web page, not a model: the download asks for a log-in or the link is another one."
        )
    if (pickle := _pickle(name)) is not None:
        return pickle
    if start.lstrip()[:1] in (b"{", b"[") and _is_text(start):
        if b'"weight_map"' in start:
            return Recognized("index", "is an index of shards, not the weights: open the folder that it lies in.")
        return Recognized(
            "JSON", "is a JSON file, not weights: open the folder that it lies in, or the .safetensors file."
        )
    if start and _is_text(start):
        return Recognized("text", "is a text file, not a model: open a .safetensors or .gguf file, or a model folder.")
    return None


def _of_arrays(start: bytes, name: str) -> str | None:
    """The kind of a file of NumPy, PyTorch or ONNX; of a zip archive, the name of its first member tells."""
    if start.startswith(b"\x93NUMPY"):
        return NUMPY
    if start.startswith(b"PK\x05\x06") and name.endswith(".npz"):
        return ARCHIVE  # without any member
    if start.startswith(b"PK\x03\x04"):
        first = start[30 : 30 + int.from_bytes(start[26:28], "little")]
        return ARCHIVE if first.endswith(b".npy") or (name.endswith(".npz") and not first) else TORCH
    if name.endswith(".onnx") or (start[:1] == b"\x08" and b"onnx" in start[:64].lower()):
        return None if _WEB.match(start) else ONNX
    return None


def _pickle(name: str) -> Recognized | None:
    if not name.endswith(PICKLE_NAMES):
        return None
    return Recognized(
        "pickle",
        "is a bare pickle, as PyTorch wrote before version 1.6 (or named like one), and loading one can run any code "
        "in it; save the model as safetensors and open that.",
    )


def _is_text(start: bytes) -> bool:
    """Whether it reads as text: UTF-8, but for a character that is cut at the end, without control characters."""
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3:
            return False
        text = start[: error.start].decode("utf-8")
    return not any(ord(c) < 32 and c not in "\t\r\n\f" for c in text)


def recognize_folder(folder: Path) -> str | None:
    """What a folder without a config.json is, and what to do: a sentence after its name; None where nothing tells."""
    if (folder / "adapter_config.json").is_file():
        return (
            "holds a LoRA adapter, which is a change to a model and no model: `quantlib quantize MODEL OUT --adapter "
            "FOLDER` adds it to its model, and `quantlib adapter FOLDER OUT --base MODEL` makes llama.cpp's file of it."
        )
    inner = sorted(path.parent.name for path in folder.glob("*/config.json"))
    if inner:
        return f"has no config.json, but its folder {inner[0]!r} has: open that one."
    return None


def hub_address(text: str) -> str | None:
    """hf://owner/name, where a person wrote owner/name or pasted the address of a model's page; else None."""
    text = text.strip()
    if found := _ADDRESS.fullmatch(text):
        return f"hf://{found[1]}"
    return f"hf://{text}" if _NAME.fullmatch(text) else None
