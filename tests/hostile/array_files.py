"""Small files of PyTorch, NumPy and ONNX, written piece by piece, so that a test changes one piece by name."""

import io
import pickle
import struct
import zipfile
from dataclasses import dataclass, field, replace

import numpy as np

STORAGES = {"<f4": "FloatStorage", "<f2": "HalfStorage", "<i8": "LongStorage", "<u2": "BFloat16Storage"}


# --- PyTorch ---


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def whole(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value) if abs(value) >= 2**31 else b"J" + struct.pack("<i", value)


def wholes(values) -> bytes:
    return b"(" + b"".join(map(whole, values)) + b"t"


def called(name: str, *arguments: bytes) -> bytes:
    """The opcodes that call a function; each argument as opcodes."""
    module, _, function = name.rpartition(".")
    return f"c{module}\n{function}\n".encode() + b"(" + b"".join(arguments) + b"tR"


def storage(key: str, count: int, type_: str = "FloatStorage") -> bytes:
    return b"(" + text("storage") + f"ctorch\n{type_}\n".encode() + text(key) + text("cpu") + whole(count) + b"tQ"


def tensor(key: str, count: int, shape, strides, offset: int = 0, type_: str = "FloatStorage") -> bytes:
    hooks = called("collections.OrderedDict")
    return called(
        "torch._utils._rebuild_tensor_v2", storage(key, count, type_), whole(offset), wholes(shape), wholes(strides),
        b"\x89", hooks,
    )  # fmt: skip


def named(**values: bytes) -> bytes:
    """A dict of opcodes."""
    return b"}(" + b"".join(text(name) + value for name, value in values.items()) + b"u"


def program(value: bytes) -> bytes:
    return b"\x80\x02" + value + b"."


@dataclass(frozen=True)
class Torch:
    """A valid file of torch.save: "a" of 2 x 3, "b" its transpose in the same storage, "c" of three numbers."""

    value: bytes = named(
        a=tensor("0", 6, (2, 3), (3, 1)), b=tensor("0", 6, (3, 2), (1, 3)), c=tensor("1", 3, (3,), (1,))
    )
    storages: dict = field(
        default_factory=lambda: {
            "0": np.arange(6, dtype="<f4").tobytes(),
            "1": np.arange(3, dtype="<f4").tobytes(),
        }
    )
    folder: str = "archive/"
    pickled: bytes | None = None  # instead of the program of `value`
    beside: dict = field(default_factory=lambda: {"byteorder": b"little", "version": b"3\n"})
    method: int = zipfile.ZIP_STORED

    def encode(self) -> bytes:
        pickled = program(self.value) if self.pickled is None else self.pickled
        members = {"data.pkl": pickled, **self.beside, **{f"data/{key}": d for key, d in self.storages.items()}}
        return archive({self.folder + name: data for name, data in members.items()}, self.method)


def archive(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, data in members.items():
            file.writestr(zipfile.ZipInfo(name), data, method)
    return out.getvalue()


def of_arrays(**arrays: np.ndarray) -> Torch:
    """A file of these arrays, each in a storage of its own."""
    values, storages = {}, {}
    for key, (name, array) in enumerate(arrays.items()):
        strides = [stride // array.itemsize for stride in np.ascontiguousarray(array).strides]
        values[name] = tensor(str(key), array.size, array.shape, strides, type_=STORAGES[array.dtype.str])
        storages[str(key)] = array.tobytes()
    return Torch(named(**values), storages)


def that_runs(function, *arguments) -> bytes:
    """A pickle that calls a function when it is loaded."""

    class Payload:
        def __reduce__(self):
            return function, arguments

    return pickle.dumps(Payload(), 2)


# --- NumPy ---


@dataclass(frozen=True)
class Npy:
    """A valid .npy file of 2 x 3 float32; `said` is put into the header in place of its own words."""

    said: dict = field(default_factory=dict)
    data: bytes = np.arange(6, dtype="<f4").tobytes()
    header: bytes | None = None
    length: int | None = None
    magic: bytes = b"\x93NUMPY\x01\x00"

    def encode(self) -> bytes:
        words = {"descr": "'<f4'", "fortran_order": "False", "shape": "(2, 3)"} | self.said
        text = "{" + "".join(f"'{key}': {value}, " for key, value in words.items()) + "}\n"
        header = text.encode() if self.header is None else self.header
        length = len(header) if self.length is None else self.length
        return self.magic + struct.pack("<H", length) + header + self.data


def saved(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


# --- ONNX ---


def varint(value: int) -> bytes:
    value %= 2**64
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def number(key: int, value: int) -> bytes:
    return varint(key << 3) + varint(value)


def chunk(key: int, data: bytes | str) -> bytes:
    data = data.encode() if isinstance(data, str) else data
    return varint(key << 3 | 2) + varint(len(data)) + data


@dataclass(frozen=True)
class Initializer:
    """A TensorProto of ONNX: by default F32 of 2 x 3 with raw data."""

    name: str = "w"
    dims: tuple = (2, 3)
    type: int = 1
    values: bytes = chunk(9, np.arange(6, dtype="<f4").tobytes())

    def encode(self) -> bytes:
        dims = b"".join(number(1, d) for d in self.dims)
        return dims + number(2, self.type) + chunk(8, self.name) + self.values

    def beside(self, **external: str) -> "Initializer":
        """The same with its values in another file."""
        pairs = b"".join(chunk(13, chunk(1, key) + chunk(2, value)) for key, value in external.items())
        return replace(self, values=number(14, 1) + pairs)


def onnx(*initializers: Initializer, node: bytes = b"") -> bytes:
    nodes = chunk(1, chunk(4, "MatMul") + node)
    graph = nodes + chunk(2, "g") + b"".join(chunk(5, one.encode()) for one in initializers)
    return number(1, 8) + chunk(2, "pytorch") + chunk(7, graph) + chunk(8, number(2, 17))
