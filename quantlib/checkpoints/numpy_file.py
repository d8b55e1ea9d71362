"""NumPy's files: .npy, one array after a header of text, and .npz, a zip archive of such files.

The header is read as text of three known keys and never evaluated. Source: the module numpy.lib.format.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from quantlib.checkpoints.base import Checkpoint, MappedFile, StoredFile, Tensor, fault, shown
from quantlib.checkpoints.safetensors_file import MAX_DIMS, MAX_TENSORS
from quantlib.checkpoints.spans import Span, row_major, stored_span, tensor_of
from quantlib.checkpoints.zip_archive import members, span_of

MAGIC = b"\x93NUMPY"
MAX_HEADER = 1 << 16  # bytes; headers of arrays of numbers have about 120
ENDING = ".npy"

_DESCR = r"'descr'\s*+:\s*+'(?P<descr>[^'\\]{1,64}+)'"
_ORDER = r"'fortran_order'\s*+:\s*+(?P<order>True|False)"
_SHAPE = r"'shape'\s*+:\s*+\((?P<shape>(?:\s*+\d{1,18}+L?\s*+(?:,|(?=\))))*+\s*+)\)"
_HEADER = re.compile(rf"\{{\s*+(?:(?:{_DESCR}|{_ORDER}|{_SHAPE})\s*+,?\s*+){{3}}\}}\s*+")
_TYPE = re.compile(r"([<>|=]?)([a-zA-Z?])(\d{0,4})")

# What NumPy calls a type of numbers -> how safetensors spells it.
SPELLINGS = {
    **{f"f{n}": f"F{8 * n}" for n in (2, 4, 8, 16)},
    **{f"{kind}{n}": f"{kind.upper()}{8 * n}" for kind in "iu" for n in (1, 2, 4, 8)},
    **{f"c{n}": f"C{8 * n}" for n in (8, 16)},
    "b1": "BOOL",
}
OTHERS = {"O": "objects of Python", "S": "text", "U": "text", "M": "dates", "m": "spans of time"}


def open_npy(path: Path) -> Checkpoint:
    """An array of NumPy as a checkpoint of one tensor, which has the file's name: kind "numpy"."""
    file = MappedFile(path)
    try:
        tensor = _array(stored_span(file, 0, file.size), path.stem or "array", shown(path.name))
        file.unmap()
    except BaseException:
        file.close()
        raise
    return Checkpoint(path, "numpy", {}, None, {tensor.name: tensor}, files=(file,))


def open_npz(path: Path) -> Checkpoint:
    """An archive of arrays as a checkpoint, each under its name: kind "numpy". Compressed ones are read in pieces.

    An array that holds no numbers is left out, with a warning.
    """
    file = MappedFile(path)
    try:
        tensors, warnings = _arrays(file)
        file.unmap()
    except BaseException:
        file.close()
        raise
    return Checkpoint(path, "numpy", {}, None, tensors, tuple(warnings), (file,))


class _NoNumbers(Exception):
    """What an array holds instead of numbers, in words."""


def _arrays(file: StoredFile) -> tuple[dict[str, Tensor], list[str]]:
    tensors: dict[str, Tensor] = {}
    left: list[str] = []
    for member in members(file).values():
        name = member.name.removesuffix(ENDING)
        if name in tensors:
            raise fault(file.path, f"holds two arrays of the name {shown(name)}.")
        if len(tensors) >= MAX_TENSORS:
            raise fault(file.path, f"holds more than {MAX_TENSORS:,} arrays; no checkpoint has more.")
        try:
            tensors[name] = _read(span_of(file, member), name, f"its array {shown(name)}")
        except _NoNumbers as found:
            left.append(f"{shown(name)} ({found})")
    if left and not tensors:
        raise fault(file.path, f"holds no array of numbers, but {left[0]}.")
    return tensors, [f"Arrays that hold no numbers are left out: {', '.join(left[:4])}."] if left else []


def _array(span: Span, name: str, what: str) -> Tensor:
    try:
        return _read(span, name, "it")
    except _NoNumbers as found:
        raise fault(span.file.path, f"holds {found}, and only arrays of numbers are read.") from None


def _read(span: Span, name: str, what: str) -> Tensor:
    """The array in a span. Raises CheckpointError for what does not hold, and _NoNumbers for other arrays."""
    path = span.file.path
    start = span.read(0, min(span.size, 12)).tobytes()
    version = start[6:7]
    wide = 2 if version == b"\1" else 4
    if not start.startswith(MAGIC) or version not in (b"\1", b"\2", b"\3") or len(start) < 8 + wide:
        raise fault(path, f"holds bytes where {what} should begin that are none of NumPy's, in versions 1 to 3.")
    length = int.from_bytes(start[8 : 8 + wide], "little")
    begin = 8 + wide + length
    if length > MAX_HEADER or begin > span.size:
        raise fault(path, f"claims {length:,} bytes of text before {what}, more than there are or than any has.")
    text = span.read(8 + wide, begin).tobytes().decode("utf-8", "replace")
    found = _HEADER.fullmatch(text)
    if found is None or None in found.group("descr", "order", "shape"):
        if re.search(r"'descr'\s*:\s*\[", text):
            raise _NoNumbers("records of several fields")
        raise fault(path, f"describes {what} by something other than type, order and shape.")
    shape = tuple(int(part) for part in re.findall(r"\d+", found["shape"]))
    spelling, itemsize, swapped = _type_of(path, found["descr"], what)
    if len(shape) > MAX_DIMS:
        raise fault(path, f"gives {what} {len(shape)} dimensions, more than the {MAX_DIMS} that are read.")
    nbytes, there = math.prod(shape) * itemsize, span.size - begin
    if nbytes != there:
        why = "it is cut" if nbytes > there else "it holds more than one array, or no whole one"
        took = f"{nbytes:,}" if nbytes < 2**64 else "over 2^64"
        raise fault(path, f"gives {what} a shape of {took} bytes where {there:,} follow: {why}.")
    strides = tuple(math.prod(shape[:i]) for i in range(len(shape))) if found["order"] == "True" else row_major(shape)
    first = None if span.start is None else span.start + begin
    data = Span(span.file, there, first, lambda a, b: span.read(begin + a, begin + b))
    return tensor_of(data, name, spelling, itemsize, shape, strides, swapped=swapped)


def _type_of(path: Path, descr: str, what: str) -> tuple[str, int, bool]:
    """(spelling, bytes of a value, whether the most significant byte comes first) of NumPy's name of a type."""
    found = _TYPE.fullmatch(descr)
    kind, digits = (found[2], found[3]) if found else ("", "")
    if kind in OTHERS:
        raise _NoNumbers(OTHERS[kind])
    size = int(digits or 1)
    if kind == "V" and 1 <= size <= 16:
        return f"V{size}", size, False  # types that NumPy does not know, such as bfloat16: bytes without a meaning
    spelling = SPELLINGS.get(f"{kind}{digits}")
    if found is None or spelling is None:
        raise fault(path, f"stores {what} as {shown(descr)}, which is no type of numbers that is read.")
    return spelling, size, found[1] == ">"
