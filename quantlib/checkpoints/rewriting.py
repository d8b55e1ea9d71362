"""GGUF files made from GGUF files without touching their weights: other metadata, several parts, one whole.

What is written is read back and compared before it takes its name. Parts are cut, named and described as
llama-gguf-split does it. Source: tools/gguf-split/gguf-split.cpp of llama.cpp.
"""

from __future__ import annotations

import hashlib
import math
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from quantlib.checkpoints.base import Checkpoint, MetadataValue, Tensor, shown
from quantlib.checkpoints.digests import PIECE, stored_pieces
from quantlib.checkpoints.gguf_types import DEFAULT_ALIGNMENT
from quantlib.checkpoints.gguf_writer import GGUFWriter, Layout, encode_value, gguf_layout
from quantlib.destinations import GGUF, Destination, check_distinct, destination
from quantlib.errors import CheckpointError, JobError

Show = Callable[[float, str], None]

SPLIT_NO, SPLIT_COUNT, SPLIT_TENSORS = "split.no", "split.count", "split.tensors.count"
MOST_PARTS = 65_535  # that a number of a part may count
# What llama.cpp's --override-kv calls types -> GGUF's names.
ALIASES = {"int": "uint32", "float": "float32", "str": "string", "bool": "bool"}
WHOLES = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
TYPES = {*ALIASES, *WHOLES, "float64", "float32", "string", "bool"}


def parse_setting(text: str, metadata: Mapping[str, MetadataValue]) -> tuple[str, MetadataValue]:
    """A key and its value from KEY=VALUE or KEY=TYPE:VALUE, as llama.cpp writes it.

    Without a type it keeps the one that the key has in `metadata`; of a new key, the value tells.
    Raises CheckpointError for what is no such text, and for a value that its type cannot hold.
    """
    key, found, value = text.partition("=")
    if not found or not key:
        raise CheckpointError(f"{shown(text)} is not of the form KEY=VALUE, such as general.name=Mine.")
    kind, typed, rest = value.partition(":")
    if typed and kind in TYPES:
        value = rest
        kind = "int32" if kind == "int" and rest.startswith("-") else ALIASES.get(kind, kind)
    elif key in metadata:
        kind = metadata[key].type
        if kind.startswith("array["):
            raise CheckpointError(f"{shown(key)} holds a list, which is not set by hand; it can be deleted.")
    else:
        kind = _kind_of(value)
    made = MetadataValue(kind, _value(key, kind, value))
    encode_value(key, made)  # whether it fits
    return key, made


def _kind_of(value: str) -> str:
    if value in ("true", "false"):
        return "bool"
    if re.fullmatch(r"-?\d{1,19}", value):
        return "uint32" if 0 <= int(value) < 2**32 else "int64"
    try:
        return "float32" if math.isfinite(float(value)) else "string"
    except ValueError:
        return "string"


def _value(key: str, kind: str, text: str) -> object:
    try:
        if kind == "bool":
            return {"true": True, "false": False}[text]
        if kind in WHOLES:
            if len(text) > 40:
                raise ValueError
            return int(text)
        return float(text) if kind.startswith("float") else text
    except (ValueError, KeyError):
        raise CheckpointError(f"{shown(key)} is of the type {kind}, and {shown(text)} is not.") from None


def edited(
    metadata: Mapping[str, MetadataValue], settings: Sequence[str] = (), deleted: Sequence[str] = ()
) -> dict[str, MetadataValue]:
    """The metadata with keys set, new ones at the end, and keys deleted. Raises CheckpointError."""
    out = dict(metadata)
    for key in deleted:
        if key not in out:
            raise CheckpointError(f"There is no metadata key {shown(key)} to delete.")
        del out[key]
    for text in settings:
        key, value = parse_setting(text, metadata)
        if key.startswith("split."):
            raise CheckpointError(f"{shown(key)} describes how a file is cut; `split` and `merge` set it.")
        out[key] = value
    return out


def whole_gguf(checkpoint: Checkpoint) -> None:
    """Raises CheckpointError unless a checkpoint is a GGUF file in one piece."""
    if checkpoint.kind != "gguf":
        raise CheckpointError(f"{shown(checkpoint.source.name)} is no GGUF file; `quantize --recipe BF16` makes one.")
    if len(checkpoint.files) > 1 or (SPLIT_COUNT in checkpoint.metadata and checkpoint.value(SPLIT_COUNT)):
        raise CheckpointError(f"{shown(checkpoint.source.name)} is cut into parts; `merge` makes one file of them.")


def write_checked(
    out: Destination,
    metadata: Mapping[str, MetadataValue],
    tensors: Sequence[Tensor],
    progress: Show | None = None,
) -> int:
    """Write a GGUF file of these tensors' stored bytes, read it back, and return its size.

    Raises CheckpointError for what GGUF cannot hold, JobError where the disk lacks room or returns other bytes.
    """
    layout = gguf_layout(metadata, [(t.name, t.shape, t.format) for t in tensors])
    _check_room(out.path, layout.nbytes)
    total = max(1, 2 * layout.nbytes)
    with out.replacing() as file:
        copy = _Copy(file, lambda done: progress and progress(done / total, out.path.name))
        writer = GGUFWriter(copy, layout)
        for tensor in tensors:
            for piece in stored_pieces(tensor):
                writer.write(piece)
        writer.finish()
        file.flush()
        if _read_back(file, lambda done: progress and progress((layout.nbytes + done) / total, "")) != copy.digest:
            raise JobError(f"{out.path} does not hold what was written to it: the disk fails; choose another one.")
    return layout.nbytes


class _Copy:
    """A file that notes the SHA-256 of what is written to it."""

    def __init__(self, file: BinaryIO, show: Callable[[int], object]):
        self._file, self._hash, self._done, self._show = file, hashlib.sha256(), 0, show

    def write(self, data: bytes | memoryview) -> int:
        self._hash.update(data)
        self._done += memoryview(data).nbytes
        self._show(self._done)
        return self._file.write(data)

    @property
    def digest(self) -> bytes:
        return self._hash.digest()


def _read_back(file: BinaryIO, show: Callable[[int], object]) -> bytes:
    found, done = hashlib.sha256(), 0
    file.seek(0)
    while piece := file.read(PIECE):
        found.update(piece)
        done += len(piece)
        show(done)
    return found.digest()


def _check_room(path: Path, nbytes: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if free < nbytes:
        raise JobError(f"{path} needs {nbytes:,} bytes and {path.parent} has {free:,} left; free some room.")


def rewrite(
    checkpoint: Checkpoint,
    out: str | Path,
    metadata: Mapping[str, MetadataValue],
    overwrite: bool = False,
    progress: Show | None = None,
) -> int:
    """A GGUF file with other metadata and the same tensors, byte for byte; returns its size.

    Raises CheckpointError, and JobError where the file cannot be written.
    """
    whole_gguf(checkpoint)
    place = destination(out, GGUF, checkpoint.paths, None, overwrite)
    return write_checked(place, metadata, list(checkpoint), progress)


def merge(checkpoint: Checkpoint, out: str | Path, overwrite: bool = False, progress: Show | None = None) -> int:
    """One GGUF file of all parts of a split one, whose first was opened; returns its size.

    Raises CheckpointError for a file that is whole, and JobError where the file cannot be written.
    """
    if checkpoint.kind != "gguf" or SPLIT_COUNT not in checkpoint.metadata:
        raise CheckpointError(f"{shown(checkpoint.source.name)} is not one of several parts, so nothing is merged.")
    place = destination(out, GGUF, checkpoint.paths, None, overwrite)
    metadata = {k: v for k, v in checkpoint.metadata.items() if k not in (SPLIT_NO, SPLIT_COUNT, SPLIT_TENSORS)}
    return write_checked(place, metadata, list(checkpoint), progress)


def parts_of(tensors: Sequence[Tensor], most_tensors: int | None, most_bytes: int | None) -> list[list[Tensor]]:
    """The tensors of each part: so many at most, or of so many bytes together, at least one."""
    parts: list[list[Tensor]] = [[]]
    held = 0
    for tensor in tensors:
        nbytes = -(-tensor.nbytes // DEFAULT_ALIGNMENT) * DEFAULT_ALIGNMENT
        full = len(parts[-1]) == most_tensors if most_bytes is None else held + nbytes > most_bytes
        if parts[-1] and full:
            parts.append([])
            held = 0
        parts[-1].append(tensor)
        held += nbytes
    return parts


def part_names(prefix: str | Path, count: int) -> list[Path]:
    """The names of the parts, as llama.cpp looks for them."""
    prefix = Path(prefix)
    stem = prefix.name.removesuffix(".gguf")
    return [prefix.with_name(f"{stem}-{i:05}-of-{count:05}.gguf") for i in range(1, count + 1)]


def split(
    checkpoint: Checkpoint,
    prefix: str | Path,
    parts: Sequence[Sequence[Tensor]],
    overwrite: bool = False,
    progress: Show | None = None,
) -> list[Path]:
    """Write each of the parts; the first one has the metadata. Returns their names, prefix-00001-of-0000N.gguf.

    Raises CheckpointError for a file that is split already, and JobError where one cannot be written.
    """
    whole_gguf(checkpoint)
    if len(parts) > MOST_PARTS:
        raise CheckpointError(f"That makes {len(parts):,} parts, more than the {MOST_PARTS:,} that can be counted.")
    names = part_names(prefix, len(parts))
    places = [destination(name, GGUF, checkpoint.paths, None, overwrite) for name in names]
    check_distinct(names)
    layouts = [_part_layout(checkpoint, i, parts) for i in range(len(parts))]
    _check_room(names[0], sum(layout.nbytes for _, layout in layouts))
    total, before = sum(layout.nbytes for _, layout in layouts), 0
    for place, part, (metadata, layout) in zip(places, parts, layouts, strict=True):
        share, start = layout.nbytes / total, before / total
        show = (lambda f, name, s=share, b=start: progress(b + s * f, name)) if progress else None
        before += write_checked(place, metadata, part, show)
    return names


def _part_layout(
    checkpoint: Checkpoint, number: int, parts: Sequence[Sequence[Tensor]]
) -> tuple[dict[str, MetadataValue], Layout]:
    own = {
        SPLIT_NO: MetadataValue("uint16", number),
        SPLIT_COUNT: MetadataValue("uint16", len(parts)),
        SPLIT_TENSORS: MetadataValue("int32", sum(map(len, parts))),
    }
    kept = dict(checkpoint.metadata) if number == 0 else {}
    alignment = checkpoint.metadata.get("general.alignment")
    metadata = {**kept, **({"general.alignment": alignment} if alignment and number else {}), **own}
    return metadata, gguf_layout(metadata, [(t.name, t.shape, t.format) for t in parts[number]])
