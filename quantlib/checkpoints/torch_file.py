"""PyTorch's files (.pt, .pth, .bin, .ckpt) in the zip form that torch.save writes, read without running their pickle.

The archive holds data.pkl, which describes the tensors, and one member for each storage, whose bytes are read where
they lie. Every size, offset and stride is checked against its storage. Source: torch/serialization.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from quantlib.checkpoints.base import Checkpoint, MappedFile, StoredFile, Tensor, fault, shown
from quantlib.checkpoints.pickled import MAX_PICKLE, TYPES, Storage, Stored, read_pickle
from quantlib.checkpoints.safetensors_file import MAX_DIMS, MAX_TENSORS
from quantlib.checkpoints.spans import Span, extent, tensor_of
from quantlib.checkpoints.zip_archive import Member, members, span_of

PICKLE = "data.pkl"
DEEPEST = 32  # lists and dicts inside each other
LONGEST = 4096  # characters of a tensor's name, with those of the dicts around it
SHARED = 16  # times that a file's bytes may be used by its tensors in all
MOST_FACTS = 64
# Dicts in which training loops keep a model's weights, beside what else they save.
WRAPPERS = ("state_dict", "model_state_dict", "model", "module", "net", "params")


def open_torch(path: Path) -> Checkpoint:
    """A file of torch.save as a checkpoint: kind "pytorch"; numbers and texts beside the tensors are its metadata.

    Raises CheckpointError for a pickle that asks for anything but tensors, and for whatever does not hold.
    """
    file = MappedFile(path)
    try:
        tensors, facts = read_torch(file)
        file.unmap()
    except BaseException:
        file.close()
        raise
    return Checkpoint(path, "pytorch", facts, None, tensors, files=(file,))


def read_torch(file: StoredFile, most: int = MAX_TENSORS) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a file in the order of its pickle, and the plain values that lie beside them.

    most: as many tensors as the file may have, beside those of the other shards.
    """
    found = members(file)
    folder = _folder(file, found)
    order = found.get(f"{folder}byteorder")
    if order is not None and _content(file, order, 16) != b"little":
        raise fault(file.path, "was written on a machine of another byte order; save it again on this kind of machine.")
    value = read_pickle(file.path, _content(file, found[folder + PICKLE], MAX_PICKLE))
    storages = _Storages(file, found, f"{folder}data/")
    tensors: dict[str, Tensor] = {}
    used = 0
    for name, stored in _unwrapped(value, dict(_named(file.path, value, most))).items():
        tensors[name] = storages.tensor(name, stored)
        used += tensors[name].nbytes
        if used > SHARED * file.size:
            raise fault(file.path, f"of {file.size:,} bytes describes tensors of over {SHARED} times as many together.")
    if not tensors:
        raise fault(file.path, "holds no tensor.")
    return tensors, _facts(value)


def _folder(file: StoredFile, found: Mapping[str, Member]) -> str:
    """The folder of the archive in which all lies, with its slash."""
    pickles = [name for name in found if name.rpartition("/")[2] == PICKLE and name.count("/") <= 1]
    if len(pickles) != 1:
        raise fault(file.path, "is a zip archive, but none of torch.save: it holds no data.pkl, or several.")
    folder = pickles[0].removesuffix(PICKLE)
    if any(name.startswith(f"{folder}code/") for name in found):
        raise fault(
            file.path, "is a program of TorchScript, which is not read; save its weights alone: torch.save("
            "model.state_dict(), ...).",
        )  # fmt: skip
    return folder


def _content(file: StoredFile, member: Member, most: int) -> bytes:
    if member.size > most:
        raise fault(file.path, f"has {member.size:,} bytes in {shown(member.name)}, more than the {most:,} read of it.")
    return span_of(file, member).read(0, member.size).tobytes()


class _Storages:
    """The storages of an archive, each looked up once."""

    def __init__(self, file: StoredFile, found: Mapping[str, Member], folder: str):
        self._file, self._members, self._folder = file, found, folder
        self._spans: dict[str, Span] = {}

    def _span(self, storage: Storage, itemsize: int) -> Span:
        member = self._members.get(self._folder + storage.key)
        if member is None:
            raise fault(self._file.path, f"lacks the storage {shown(storage.key)}, which its pickle names.")
        nbytes = storage.count * (itemsize if storage.type else 1)
        if nbytes != member.size:
            raise fault(
                self._file.path,
                f"says the storage {shown(storage.key)} has {nbytes:,} bytes, but it has {member.size:,}.",
            )
        if storage.key not in self._spans:
            self._spans[storage.key] = span_of(self._file, member)
        return self._spans[storage.key]

    def tensor(self, name: str, stored: Stored) -> Tensor:
        """A tensor in its storage, once it is known to lie there."""
        spelling, itemsize = TYPES[stored.type]
        span = self._span(stored.storage, itemsize)
        if len(stored.shape) > MAX_DIMS:
            raise fault(
                self._file.path, f"gives {shown(name)} {len(stored.shape)} dimensions; {MAX_DIMS} are the most read."
            )
        values = extent(stored.shape, stored.strides)
        if values and stored.offset + values > span.size // itemsize:
            raise fault(
                self._file.path,
                f"places {shown(name)} beyond its storage {shown(stored.storage.key)} of {span.size:,} bytes.",
            )
        size = 1
        for d in stored.shape:
            size *= d
            if values and size > span.size // itemsize:
                raise fault(
                    self._file.path, f"lets {shown(name)} repeat values of its storage; save it after .contiguous()."
                )
        return tensor_of(span, name, spelling, itemsize, stored.shape, stored.strides, stored.offset if values else 0)


def _named(path: Path, value: Any, most: int) -> Iterator[tuple[str, Stored]]:
    """Every tensor in dicts and lists in dicts and lists, by the keys on the way to it, with dots between."""
    names: set[str] = set()
    seen: set[int] = set()

    def walk(value: Any, at: str, depth: int) -> Iterator[tuple[str, Stored]]:
        if isinstance(value, Stored):
            name = at or "tensor"
            if name in names:
                raise fault(path, f"holds two tensors that are called {shown(name)}.")
            if len(names) >= most:
                raise fault(path, f"holds more than {most:,} tensors; no checkpoint has more than {MAX_TENSORS:,}.")
            names.add(name)
            yield name, value
        elif isinstance(value, (dict, list, tuple)) and id(value) not in seen:
            seen.add(id(value))
            if depth > DEEPEST:
                raise fault(path, f"nests dicts and lists more than {DEEPEST} deep, which no checkpoint needs.")
            for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
                if isinstance(inner, (Stored, dict, list, tuple)):
                    name = f"{at}.{key}" if at else str(key)
                    if len(name) > LONGEST:
                        raise fault(path, f"holds a name of {len(name):,} characters: {shown(name)}.")
                    yield from walk(inner, name, depth + 1)

    return walk(value, "", 0)


def _unwrapped(value: Any, tensors: dict[str, Stored]) -> dict[str, Stored]:
    """The same, without the name of the one dict in which all of them lie, where it only says that."""
    around = [key for key in WRAPPERS if isinstance(value, dict) and isinstance(value.get(key), dict)]
    for key in around:
        if all(name.startswith(f"{key}.") for name in tensors):
            return {name[len(key) + 1 :]: stored for name, stored in tensors.items()}
    return tensors


def _facts(value: Any) -> dict[str, Any]:
    """Numbers and texts that lie beside the tensors, such as an epoch."""
    if not isinstance(value, dict):
        return {}
    plain = ((str(k), v) for k, v in value.items() if type(v) in (bool, int, float, str))
    return {k: v[:LONGEST] if isinstance(v, str) else v for k, v in islice(plain, MOST_FACTS)}
