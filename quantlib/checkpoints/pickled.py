"""Reading what torch.save pickles, without running it.

A pickle is a program that may call any function of Python. Here its opcodes build plain values only: numbers, texts,
lists, dicts, and descriptions of tensors. The names that a checkpoint of tensors needs stand in a table; every other
name ends the reading, with that name in the sentence, and nothing that a pickle names is ever looked up or called.
Source: the documentation of Python's module pickletools, and torch/_utils.py for what its functions are given.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantlib.checkpoints.base import fault, shown

MAX_PICKLE = 1 << 26  # bytes; a checkpoint of 10,000 tensors has about 2 million
MAX_CONTAINERS = 1 << 21  # of which each tensor takes about five
MAX_WHOLE = 8  # bytes of a number; longer ones could be made to collide in a dict


@dataclass(frozen=True, eq=False)
class Name:
    """A function or type of the table, as a value: never the thing itself."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True)
class Storage:
    """Numbers that lie in a member of the archive. type: None for bytes whose type the tensor says."""

    type: str | None
    key: str
    count: int


@dataclass(frozen=True, eq=False)
class Stored:
    """A tensor: where its values lie in a storage, in values of its type."""

    storage: Storage
    type: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Something:
    """A value that is no tensor and whose content is not needed."""


# What torch calls its types of numbers -> how safetensors spells them, and the bytes of one.
TYPES = {
    "float64": ("F64", 8), "float32": ("F32", 4), "float16": ("F16", 2), "bfloat16": ("BF16", 2),
    "int64": ("I64", 8), "int32": ("I32", 4), "int16": ("I16", 2), "int8": ("I8", 1),
    "uint64": ("U64", 8), "uint32": ("U32", 4), "uint16": ("U16", 2), "uint8": ("U8", 1), "bool": ("BOOL", 1),
    "float8_e4m3fn": ("F8_E4M3", 1), "float8_e5m2": ("F8_E5M2", 1), "float8_e8m0fnu": ("F8_E8M0", 1),
    "float8_e4m3fnuz": ("F8_E4M3FNUZ", 1), "float8_e5m2fnuz": ("F8_E5M2FNUZ", 1),
    "complex64": ("C64", 8), "complex128": ("C128", 16),
}  # fmt: skip
STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128", "UntypedStorage": None,
}  # fmt: skip


class _Wrong(Exception):
    """A function of the table is given what no tensor has."""


def _check(holds: bool) -> None:
    if not holds:
        raise _Wrong


def _wholes(value: object) -> tuple[int, ...]:
    _check(isinstance(value, (tuple, list)) and len(value) <= 64)
    assert isinstance(value, (tuple, list))
    _check(all(type(n) is int and 0 <= n < 2**62 for n in value))
    return tuple(value)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *more: Any) -> Stored:
    """torch._utils._rebuild_tensor, _v2 and _v3: the last says the type of a storage of bytes."""
    _check(isinstance(storage, Storage) and type(offset) is int and 0 <= offset < 2**62)
    told = next((v.name for v in more if isinstance(v, Name) and v.name in TYPES), None)
    type_ = told or storage.type
    _check(type_ is not None)
    shape, strides = _wholes(shape), _wholes(strides)
    _check(len(shape) == len(strides))
    return Stored(storage, str(type_), offset, shape, strides)


def _first(*values: Any) -> Any:
    """What wraps a tensor: a parameter."""
    _check(len(values) >= 1)
    return values[0]


def _from_type(function: Any, _type: Any, values: Any, *_: Any) -> Any:
    """torch._tensor._rebuild_from_type_v2: a tensor with attributes of Python."""
    _check(isinstance(function, Name) and isinstance(values, tuple))
    rebuild = CALLED.get(str(function))
    _check(rebuild is not None and rebuild is not _from_type)
    assert rebuild is not None
    return rebuild(*values)


def _dict(*values: Any) -> dict[Any, Any]:
    """collections.OrderedDict, of pairs where there are any."""
    pairs = values[0] if values else []
    if isinstance(pairs, dict):
        return pairs
    _check(isinstance(pairs, list) and all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs))
    return {_key(key): value for key, value in pairs}


def _list(*values: Any) -> list[Any]:
    """A set, as the list that it is made of."""
    _check(not values or isinstance(values[0], list))
    return values[0] if values else []


def _size(*values: Any) -> tuple[Any, ...]:
    return _wholes(values[0]) if values else ()


def _something(*_: Any) -> Something:
    return Something()


def _key(key: Any) -> Any:
    """A key of a dict: of kinds of which nobody can choose many that collide."""
    _check(key is None or type(key) in (str, int, float, bool))
    return key


# What a checkpoint of tensors calls, each by the full name in the pickle -> what stands for its result here.
CALLED: dict[str, Callable[..., Any]] = {
    **{f"torch._utils._rebuild_tensor{version}": _tensor for version in ("", "_v2", "_v3")},
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "collections.OrderedDict": _dict,
    "collections.Counter": _dict,
    **{f"{module}.{name}": _list for module in ("builtins", "__builtin__") for name in ("set", "frozenset")},
    "torch.Size": _size,
    "torch.device": _something,
    "numpy.dtype": _something,
    **{f"numpy.{core}.multiarray.scalar": _something for core in ("core", "_core")},
    "_codecs.encode": _something,
}
# What it only mentions: types of tensors, of their numbers and of their storages.
MENTIONED = {
    "torch.Tensor", "torch.nn.parameter.Parameter",
    *(f"torch.{name}" for name in TYPES),
    *(f"torch.{name}" for name in STORAGES),
    "torch.storage.UntypedStorage", "torch.storage.TypedStorage",
}  # fmt: skip


def read_pickle(path: Path, data: bytes) -> Any:
    """The value that a pickle of protocol 2 to 5 describes, made of plain values, `Stored` and `Something`.

    Raises CheckpointError for a name that is not in the tables, for an opcode that checkpoints lack, and for bytes that
    are no pickle.
    """
    machine = _Machine(path, data)
    try:
        return machine.run()
    except (IndexError, struct.error, UnicodeDecodeError, TypeError, ValueError, AttributeError, OverflowError):
        raise fault(path, f"holds a broken pickle: it makes no sense at its byte {machine.at:,}.") from None


class _Machine:
    """The machine that pickles are written for: a stack, marks in it, and a memo; without any way to run code."""

    def __init__(self, path: Path, data: bytes):
        self.path, self.data, self.at = path, data, 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.containers = 0

    def run(self) -> Any:
        while True:
            code = self.data[self.at]
            self.at += 1
            if code == 0x2E:  # STOP
                if len(self.stack) != 1:
                    raise ValueError
                return self.stack[0]
            step = _STEPS.get(code)
            if step is None:
                raise fault(
                    self.path, f"holds a pickle with the opcode {code:#04x}, which checkpoints of tensors do not have."
                )
            step(self)

    # --- reading the pickle itself ---

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise IndexError
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, form: str) -> Any:
        (value,) = struct.unpack(form, self.take(struct.calcsize(form)))
        return value

    def text(self, form: str) -> None:
        self.stack.append(self.take(self.number(form)).decode("utf-8"))

    def line(self) -> str:
        end = self.data.index(b"\n", self.at)
        found = self.data[self.at : end].decode("utf-8")
        self.at = end + 1
        return found

    # --- opcodes ---

    def whole(self, count: int) -> None:
        if count > MAX_WHOLE:
            raise fault(self.path, f"holds a pickle with a number of {count:,} bytes, which no checkpoint needs.")
        self.stack.append(int.from_bytes(self.take(count), "little", signed=True))

    def container(self, value: Any) -> None:
        self.containers += 1
        if self.containers > MAX_CONTAINERS:
            raise fault(self.path, f"holds a pickle of more than {MAX_CONTAINERS:,} lists, which no checkpoint has.")
        self.stack.append(value)

    def marked(self) -> list[Any]:
        """What was pushed since the last mark."""
        at = self.marks.pop()
        if at > len(self.stack):
            raise IndexError
        values = self.stack[at:]
        del self.stack[at:]
        return values

    def pop(self) -> Any:
        if self.marks and len(self.stack) <= self.marks[-1]:
            raise IndexError
        return self.stack.pop()

    def tuple_of(self, count: int) -> None:
        values = [self.pop() for _ in range(count)]
        self.container(tuple(reversed(values)))

    def append(self, values: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise TypeError
        self.stack[-1].extend(values)

    def set_items(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(values) % 2:
            raise TypeError
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[self.called("dict", _key, key)] = value

    def pair(self) -> list[Any]:
        value, key = self.pop(), self.pop()
        return [key, value]

    def named(self, module: str, name: str) -> None:
        full = f"{module}.{name}"
        if full not in CALLED and full not in MENTIONED:
            raise fault(
                self.path,
                f"asks for {shown(full)}, which is no part of a tensor, so it was not opened and nothing was run; save "
                "its weights alone, best as safetensors.",
            )
        self.stack.append(Name(module, name))

    def called(self, what: str, function: Callable[..., Any], *values: Any) -> Any:
        try:
            return function(*values)
        except (_Wrong, TypeError):
            raise fault(self.path, f"gives {shown(what)} something that no tensor has, at byte {self.at:,}.") from None

    def reduce(self) -> None:
        values, function = self.pop(), self.pop()
        found = CALLED.get(str(function)) if isinstance(function, Name) else None
        if found is None or not isinstance(values, tuple):
            raise fault(self.path, f"calls {shown(function)[:60]}, which is no function that makes a tensor.")
        self.container(self.called(str(function), found, *values))

    def build(self) -> None:
        """Attributes of what is on top: those of a dict of tensors and the like, which are not needed."""
        self.pop()
        if not isinstance(self.stack[-1], (dict, list, Something, Stored)):
            raise TypeError

    def persistent(self) -> None:
        """A storage: ("storage", its type, its name in the archive, where it was, how many values)."""
        what = self.pop()
        if not (isinstance(what, tuple) and len(what) == 5 and what[0] == "storage"):
            raise TypeError
        _, type_, key, _, count = what
        if not isinstance(type_, Name) or type_.name not in STORAGES:
            raise fault(self.path, f"stores a tensor as {shown(type_)[:60]}, which is no type of numbers that is read.")
        if type(key) is not str or type(count) is not int or not 0 <= count < 2**62:
            raise TypeError
        self.stack.append(Storage(STORAGES[type_.name], key, count))

    def remember(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def recall(self, index: int) -> None:
        if index not in self.memo:
            raise IndexError
        self.stack.append(self.memo[index])

    def global_line(self) -> None:
        module = self.line()
        self.named(module, self.line())

    def global_stack(self) -> None:
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            raise TypeError
        self.named(module, name)


_STEPS: dict[int, Callable[[_Machine], Any]] = {
    ord(code): step
    for code, step in {
        "\x80": lambda m: m.take(1),  # PROTO
        "\x95": lambda m: m.take(8),  # FRAME
        "(": lambda m: m.marks.append(len(m.stack)),
        "N": lambda m: m.stack.append(None),
        "\x88": lambda m: m.stack.append(True),
        "\x89": lambda m: m.stack.append(False),
        "J": lambda m: m.stack.append(m.number("<i")),
        "K": lambda m: m.stack.append(m.number("<B")),
        "M": lambda m: m.stack.append(m.number("<H")),
        "G": lambda m: m.stack.append(m.number(">d")),
        "\x8a": lambda m: m.whole(m.number("<B")),
        "\x8b": lambda m: m.whole(m.number("<I")),
        "X": lambda m: m.text("<I"),
        "\x8c": lambda m: m.text("<B"),
        "\x8d": lambda m: m.text("<Q"),
        "B": lambda m: m.stack.append(m.take(m.number("<I"))),
        "C": lambda m: m.stack.append(m.take(m.number("<B"))),
        "\x8e": lambda m: m.stack.append(m.take(m.number("<Q"))),
        "T": lambda m: m.stack.append(m.take(m.number("<I"))),
        "U": lambda m: m.stack.append(m.take(m.number("<B"))),
        "}": lambda m: m.container({}),
        "]": lambda m: m.container([]),
        "\x8f": lambda m: m.container([]),  # EMPTY_SET
        ")": lambda m: m.stack.append(()),
        "\x85": lambda m: m.tuple_of(1),
        "\x86": lambda m: m.tuple_of(2),
        "\x87": lambda m: m.tuple_of(3),
        "t": lambda m: m.container(tuple(m.marked())),
        "l": lambda m: m.container(m.marked()),
        "a": lambda m: m.append([m.pop()]),
        "e": lambda m: m.append(m.marked()),
        "\x90": lambda m: m.append(m.marked()),
        "s": lambda m: m.set_items(m.pair()),
        "u": lambda m: m.set_items(m.marked()),
        "q": lambda m: m.remember(m.number("<B")),
        "r": lambda m: m.remember(m.number("<I")),
        "\x94": lambda m: m.remember(len(m.memo)),
        "h": lambda m: m.recall(m.number("<B")),
        "j": lambda m: m.recall(m.number("<I")),
        "c": _Machine.global_line,
        "\x93": _Machine.global_stack,
        "R": _Machine.reduce,
        "b": _Machine.build,
        "Q": _Machine.persistent,
        "0": lambda m: m.pop(),
    }.items()
}  # fmt: skip
