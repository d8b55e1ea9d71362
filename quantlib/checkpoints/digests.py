"""SHA-256 of files and of the tensors in them, a fingerprint of a checkpoint's structure, and how two of them differ.

All of it looks at stored bytes, in pieces of a few megabytes: nothing is decoded, and memory does not grow with a file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quantlib.checkpoints.base import Checkpoint, MappedFile, MetadataValue, StoredFile, Tensor
from quantlib.checkpoints.gguf_writer import encode_value

PIECE = 1 << 22  # bytes that are read at once
THREADS = 4


def stored_pieces(tensor: Tensor) -> Iterator[np.ndarray]:
    """The stored bytes of a tensor in order, row after row, a few megabytes at a time."""
    step = max(1, PIECE * tensor.nrows // max(1, tensor.nbytes))
    for start in range(0, tensor.nrows if tensor.nbytes else 0, step):
        yield tensor.raw(start, min(start + step, tensor.nrows))


def tensor_digest(tensor: Tensor) -> str:
    """SHA-256 of a tensor's stored bytes, in hexadecimal."""
    found = hashlib.sha256()
    for piece in stored_pieces(tensor):
        found.update(np.ascontiguousarray(piece).data)
    return found.hexdigest()


def file_digest(file: StoredFile) -> str:
    """SHA-256 of a whole file, in hexadecimal."""
    found = hashlib.sha256()
    for start in range(0, file.size, PIECE):
        found.update(file.read(start, min(start + PIECE, file.size)).data)
    return found.hexdigest()


def structure_digest(checkpoint: Checkpoint) -> str:
    """SHA-256 of names, shapes and formats of all tensors, sorted by name: the same for two models of one make."""
    lines = sorted(f"{t.name}\t{'x'.join(map(str, t.shape))}\t{t.format}\n" for t in checkpoint)
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Digests:
    """SHA-256 of files by name and of tensors by name, and the fingerprint of the structure."""

    files: Mapping[str, str]
    tensors: Mapping[str, str]
    structure: str


def digests(
    checkpoint: Checkpoint,
    tensors: bool = True,
    threads: int | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> Digests:
    """All digests of a checkpoint. tensors: those of each tensor too, for which its bytes are read once more.

    Raises CheckpointError where a file cannot be read.
    """
    whole = {file.path.name: file for file in checkpoint.files}
    each = list(checkpoint.tensors.values()) if tensors else []
    total = sum(f.size for f in whole.values()) + sum(t.nbytes for t in each)
    done, found = 0, []
    with ThreadPoolExecutor(threads or THREADS) as pool:
        work = [(name, file.size, pool.submit(file_digest, file)) for name, file in whole.items()]
        work += [(t.name, t.nbytes, pool.submit(tensor_digest, t)) for t in each]
        try:
            for name, nbytes, waiting in work:
                found.append(waiting.result())
                done += nbytes
                if progress:
                    progress(done / max(1, total), name)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    names = [t.name for t in each]
    return Digests(
        dict(zip(whole, found, strict=False)),
        dict(zip(names, found[len(whole) :], strict=True)),
        structure_digest(checkpoint),
    )


def digest_of(path: Path) -> str:
    """SHA-256 of a file by its path, in hexadecimal. Raises CheckpointError where it cannot be read."""
    file = MappedFile(path)
    try:
        return file_digest(file)
    finally:
        file.close()


@dataclass(frozen=True)
class Difference:
    """One thing in which two checkpoints differ. what: "metadata" or "tensor"; None where a side lacks it."""

    what: str
    name: str
    first: str | None
    second: str | None


def differences(first: Checkpoint, second: Checkpoint, metadata: bool = True) -> Iterator[Difference]:
    """In what two checkpoints differ: keys of their metadata, then tensors by name, shape, format and stored bytes.

    Each tensor's bytes are read up to the first piece that differs. Raises CheckpointError where one cannot be read.
    """
    if metadata:
        values = [{key: _plain(key, value) for key, value in side.metadata.items()} for side in (first, second)]
        for key in dict.fromkeys((*values[0], *values[1])):
            a, b = (side.get(key) for side in values)
            if a != b:
                yield Difference("metadata", key, *(None if v is None else v[1] for v in (a, b)))
    for name in dict.fromkeys((*first.tensors, *second.tensors)):
        one, other = first.tensors.get(name), second.tensors.get(name)
        if one is None or other is None:
            yield Difference("tensor", name, *(None if t is None else _said(t) for t in (one, other)))
        elif _said(one) != _said(other):
            yield Difference("tensor", name, _said(one), _said(other))
        elif (row := _first_difference(one, other)) is not None:
            yield Difference("tensor", name, _said(one), f"{_said(other)}, other bytes from row {row:,} on")


def _said(tensor: Tensor) -> str:
    return f"{tensor.format} {list(tensor.shape)}"


def _first_difference(one: Tensor, other: Tensor) -> int | None:
    """The first row that differs, None where all bytes are the same."""
    row = 0
    for a, b in zip(stored_pieces(one), stored_pieces(other), strict=True):
        if not np.array_equal(a, b):
            return row + int(np.flatnonzero((a != b).reshape(len(a), -1).any(1))[0])
        row += len(a)
    return None


def _plain(key: str, value: Any) -> tuple[bytes, str]:
    """A value of metadata as bytes that are equal where it is, and as a short text."""
    if isinstance(value, MetadataValue):
        exact = encode_value(key, value)
        plain = value.value
        text = f"{len(plain):,} values" if value.type.startswith("array[") else str(plain)
    else:
        text = json.dumps(value, sort_keys=True, default=str, ensure_ascii=False)
        exact = text.encode("utf-8", "surrogatepass")
    return exact, text if len(text) <= 200 else text[:200] + "…"
