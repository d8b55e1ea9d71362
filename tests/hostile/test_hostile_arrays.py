"""One test for each check of the readers of PyTorch, NumPy and ONNX files, and for what pickles would run."""

import os
import struct
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from array_files import (
    Initializer,
    Npy,
    Torch,
    archive,
    called,
    chunk,
    named,
    number,
    onnx,
    program,
    saved,
    storage,
    tensor,
    text,
    that_runs,
    whole,
    wholes,
)
from hostile_files import refusal

from quantlib.checkpoints import open_checkpoint

OK = Torch()
ONE = tensor("1", 3, (3,), (1,))


def of(value: bytes, **changes) -> Torch:
    return replace(OK, value=value, **changes)


PICKLES = {
    "a function of the system": (replace(OK, pickled=that_runs(os.system, "touch ran")), "'posix.system'"),
    "eval": (replace(OK, pickled=that_runs(eval, "open('ran', 'w')")), "eval'"),
    "open": (replace(OK, pickled=that_runs(open, "ran", "w")), "'io.open'"),
    "what is only named": (of(named(a=b"csubprocess\nPopen\n")), "'subprocess.Popen'"),
    "a name through attributes": (of(b"ctorch\nload.__globals__\n"), "'torch.load.__globals__'"),
    "a name of torch that loads": (of(called("torch.storage._load_from_bytes", b"C\1x")), "_load_from_bytes"),
    "names on the stack": (of(text("os") + text("system") + b"\x93)R"), "'os.system'"),
    "a name with control characters": (of(b"c\x1b[2J\nx\n"), "x1b"),
    "a class of a model": (of(called("torch.nn.modules.linear.Linear")), "Linear"),
    "an instance by a class": (of(b"(ios\nsystem\n"), "opcode 0x69"),
    "an object with its state": (of(b"ctorch\nTensor\n)\x81"), "opcode 0x81"),
    "a registered extension": (of(b"\x82\1"), "opcode 0x82"),
    "a call of a type": (of(called("torch.Tensor", whole(3))), "calls 'torch.Tensor'"),
    "a call of a number": (of(whole(3) + b")R"), "no function that makes a tensor"),
    "arguments that are no tuple": (of(b"ccollections\nOrderedDict\n]R"), "no function that makes a tensor"),
    "a tensor of a text": (of(called("torch._utils._rebuild_tensor_v2", text("x"), *[whole(0)] * 3)), "no tensor has"),
    "too few arguments": (of(called("torch._utils._rebuild_tensor_v2", storage("1", 3))), "no tensor has"),
    "a function that calls others": (
        of(called("torch._tensor._rebuild_from_type_v2", b"ctorch\nTensor\n", b"ctorch\nTensor\n", b")", b"N")),
        "no tensor has",
    ),
    "a negative stride": (of(tensor("1", 3, (3,), (-1,))), "no tensor has"),
    "a negative offset": (of(tensor("1", 3, (3,), (1,), -4)), "no tensor has"),
    "strides for other dimensions": (of(tensor("1", 3, (3,), (1, 1))), "no tensor has"),
    "a dimension beyond reason": (of(tensor("1", 3, (2**63 - 1,), (1,))), "no tensor has"),
    "beyond its storage": (of(tensor("1", 3, (4,), (1,))), "beyond its storage '1' of 12 bytes"),
    "an offset beyond its storage": (of(tensor("1", 3, (3,), (1,), 1)), "beyond its storage"),
    "a stride beyond its storage": (of(tensor("1", 3, (2, 2), (2**61, 1))), "beyond its storage"),
    "values without end from one": (of(tensor("1", 3, (2**40, 2**20), (0, 0))), "repeat values"),
    "seventeen dimensions": (of(tensor("1", 3, (1,) * 17, (1,) * 17)), "17 dimensions"),
    "a storage that is not there": (of(tensor("7", 3, (3,), (1,))), "lacks the storage '7'"),
    "a storage outside": (of(tensor("../../data.pkl", 3, (3,), (1,))), "lacks the storage"),
    "a storage of another size": (of(tensor("1", 2, (2,), (1,))), "has 8 bytes, but it has 12"),
    "a storage of 2^63 values": (of(tensor("1", 2**62, (3,), (1,))), "broken pickle"),
    "a storage of an odd type": (of(tensor("1", 3, (3,), (1,), type_="QInt8Storage")), "'torch.QInt8Storage'"),
    "a storage that is a number": (of(whole(3) + b"Q"), "broken pickle"),
    "one storage for everything": (
        of(named(**{f"t{i}": tensor("2", 4096, (4096,), (1,)) for i in range(40)}), storages={"2": bytes(16384)}),
        "over 16 times",
    ),
    "no tensor": (of(named(epoch=whole(3))), "holds no tensor"),
    "a list in itself": (of(b"]q\0h\0a"), "holds no tensor"),
    "deeper than the stack": (of(b"]" * 50 + ONE + b"a" * 50), "more than 32 deep"),
    "names of endless length": (of(named(**{"n" * 5000: ONE})), "5,000 characters"),
    "names that are one": (of(b"}(" + text("1") + ONE + whole(1) + ONE + b"u"), "two tensors that are called '1'"),
    "keys that could be made to collide": (of(b"}(" + wholes((1, 2)) + ONE + b"u"), "no tensor has"),
    "a number of a thousand bytes": (of(b"\x8b" + struct.pack("<I", 1000) + bytes(1000)), "a number of 1,000 bytes"),
    "a text longer than the file": (of(b"X\xff\xff\xff\x7fabc"), "broken pickle"),
    "a text of no UTF-8": (of(b"X\1\0\0\0\xff"), "broken pickle"),
    "no end": (replace(OK, pickled=b"\x80\x02]"), "broken pickle"),
    "nothing on the stack": (of(b"a"), "broken pickle"),
    "a mark that is not there": (of(b"t"), "broken pickle"),
    "a mark that was passed": (of(b"](0\x85"), "broken pickle"),
    "a memory that is not there": (of(b"h\7"), "broken pickle"),
    "an opcode of old": (of(b"I3\n"), "opcode 0x49"),
    "no pickle": (replace(OK, pickled=b""), "broken pickle"),
    "another byte order": (replace(OK, beside={"byteorder": b"big"}), "another byte order"),
    "a program of TorchScript": (replace(OK, beside={"code/x.py": b""}), "TorchScript"),
    "no data.pkl": (archive({"a/readme": b"x"}), "none of torch.save"),
    "two of them": (archive({"a/data.pkl": program(ONE), "b/data.pkl": program(ONE)}), "none of torch.save"),
}


@pytest.mark.parametrize("name", PICKLES)
def test_pickles_are_refused_and_nothing_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file, fragment = PICKLES[name]
    (tmp_path / "x.pt").write_bytes(file if isinstance(file, bytes) else file.encode())
    sentence = refusal(tmp_path / "x.pt")
    assert fragment in sentence, sentence
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]


def test_a_million_lists_are_too_many(tmp_path, monkeypatch):
    monkeypatch.setattr("quantlib.checkpoints.pickled.MAX_CONTAINERS", 1000)
    (tmp_path / "x.pt").write_bytes(of(b"]" * 1001).encode())
    assert "more than 1,000 lists" in refusal(tmp_path / "x.pt")


# --- zip archives ---

WHOLE = OK.encode()
END = WHOLE.rindex(b"PK\5\6")
ENTRY = WHOLE.index(b"PK\1\2")
STORAGE = WHOLE.index(b"PK\1\2", WHOLE.index(b"archive/data/0", ENTRY) - 60)


def changed(data: bytes, at: int, form: str, value: int) -> bytes:
    new = struct.pack(form, value)
    return data[:at] + new + data[at + len(new) :]


def bomb(nbytes: int) -> bytes:
    return archive({"x.npy": saved(np.zeros(nbytes, np.uint8))}, zipfile.ZIP_DEFLATED)


ARCHIVES = {
    "cut": (WHOLE[:-30], "lacks the directory"),
    "nothing but a beginning": (b"PK\x03\x04" + bytes(100), "lacks the directory"),
    "more members than there are": (changed(WHOLE, END + 10, "<H", 6), "too few for the 6 members"),
    "members without number": (changed(WHOLE, END + 10, "<H", 60_000), "claims 60,000 members"),
    "a directory beyond the end": (changed(WHOLE, END + 16, "<I", 2**31), "beyond its end"),
    "a directory of 64 bits that is not there": (changed(WHOLE, END + 10, "<H", 2**16 - 1), "damaged end"),
    "a directory elsewhere": (changed(WHOLE, END + 16, "<I", 3), "damaged directory"),
    "one of several disks": (changed(WHOLE, END + 4, "<H", 1), "several parts"),
    "a password": (changed(WHOLE, ENTRY + 8, "<H", 1), "under a password"),
    "another method": (changed(WHOLE, ENTRY + 10, "<H", 14), "the method 14"),
    "stored, of two sizes": (changed(WHOLE, STORAGE + 24, "<I", 4096), "but says it has 4,096"),
    "a member beyond the file": (changed(WHOLE, STORAGE + 42, "<I", 2**30), "where no member begins"),
    "a member on top of another": (changed(WHOLE, STORAGE + 42, "<I", 0), "inside"),
    "a size in a field that is not there": (changed(WHOLE, STORAGE + 20, "<I", 2**32 - 1), "does not say how large"),
    "a member of more than is there": (
        changed(changed(WHOLE, STORAGE + 20, "<I", 2**20), STORAGE + 24, "<I", 2**20), "beyond the end of its contents"
    ),
    "more than deflate can make": (
        changed(zip_ := bomb(2**20), zip_.rindex(b"PK\1\2") + 24, "<I", 2**31), "no file does"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives_are_refused(name, tmp_path):
    data, fragment = ARCHIVES[name]
    (tmp_path / "x.npz").write_bytes(data)
    sentence = refusal(tmp_path / "x.npz")
    assert fragment in sentence, sentence


def test_an_archive_that_expands_without_measure_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("quantlib.checkpoints.zip_archive.ALLOWED", 1 << 20)
    (tmp_path / "x.npz").write_bytes(bomb(2**22))
    assert "save it again without compression" in refusal(tmp_path / "x.npz")


def test_what_does_not_inflate_is_refused_when_it_is_read(tmp_path):
    data = archive({"x.npy": saved(np.arange(10_000.0))}, zipfile.ZIP_DEFLATED)
    (tmp_path / "x.npz").write_bytes(changed(data, data.rindex(b"PK\1\2") + 20, "<I", 5000))  # of some 20,000 bytes
    found = open_checkpoint(tmp_path / "x.npz").tensors["x"]
    assert "cannot be decompressed" in refusal(tmp_path / "x.npz", lambda _: found.rows())


# --- NumPy ---

ARRAYS = {
    "no version that is known": (Npy(magic=b"\x93NUMPY\x09\x00"), "none of NumPy's"),
    "only a beginning": (b"\x93NUMPY", "none of NumPy's"),
    "a header beyond the file": (Npy(length=60_000), "claims 60,000 bytes of text"),
    "an expression": (Npy({"shape": "__import__('os').system('touch ran')"}), "type, order and shape"),
    "a key twice": (Npy(header=b"{'descr': '<f4', 'descr': '<f4', 'shape': (6,)}"), "type, order and shape"),
    "too few keys": (Npy(header=b"{'descr': '<f4'}"), "type, order and shape"),
    "a negative dimension": (Npy({"shape": "(-2, 3)"}), "type, order and shape"),
    "numbers of many digits": (Npy({"shape": f"({'9' * 60},)"}), "type, order and shape"),
    "objects": (Npy({"descr": "'|O'"}), "objects of Python"),
    "text": (Npy({"descr": "'<U7'"}), "holds text"),
    "records": (Npy({"descr": "[('a', '<f4')]"}), "records of several fields"),
    "an odd type": (Npy({"descr": "'<f3'"}), "'<f3', which is no type"),
    "more values than there are": (Npy({"shape": "(3, 3)"}), "36 bytes where 24 follow: it is cut"),
    "fewer": (Npy({"shape": "(3,)"}), "more than one array"),
    "a shape without end": (Npy({"shape": "(999999999999999999, 99999999999)"}), "over 2^64 bytes"),
    "dimensions without end": (Npy({"shape": f"({'1, ' * 60}6)"}), "61 dimensions"),
    "a header without end": (Npy({"shape": "(" + " " * 60_000 + "6, )"}), "24 follow"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_are_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file, fragment = ARRAYS[name]
    if name == "a header without end":
        file = replace(file, data=bytes(20))
        fragment = "24 bytes where 20 follow"
    (tmp_path / "x.npy").write_bytes(file if isinstance(file, bytes) else file.encode())
    sentence = refusal(tmp_path / "x.npy")
    assert fragment in sentence, sentence
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


# --- ONNX ---

W = Initializer()
MODELS = {
    "no graph": (b"\x08\x08" + chunk(2, "pytorch"), "holds no graph"),
    "no weights": (onnx(), "without weights"),
    "a length beyond the file": (onnx(W)[:-20], "makes no sense"),
    "a number that does not end": (b"\x08" + b"\xff" * 40, "makes no sense"),
    "a group": (onnx(W) + b"\x0b", "makes no sense"),
    "a weight twice": (onnx(W, W), "two weights of the name 'w'"),
    "an odd type": (onnx(replace(W, type=77)), "the type 77"),
    "more values than bytes": (onnx(replace(W, dims=(3, 3))), "36 bytes, but 24"),
    "a shape without end": (onnx(replace(W, dims=(2**40, 2**40))), "over 2^64 bytes"),
    "a dimension beyond reason": (onnx(replace(W, dims=(2**63,))), "dimensions than are read"),
    "dimensions without end": (onnx(replace(W, dims=(1,) * 40)), "dimensions than are read"),
    "values in pieces": (onnx(replace(W, values=W.values + W.values)), "several pieces"),
    "floats that are none": (onnx(replace(W, type=6, values=chunk(4, bytes(24)))), "24 bytes, but 24"),
    "too few numbers": (onnx(replace(W, type=7, values=chunk(7, b"\1\2\3"))), "48 bytes, but 3"),
    "numbers that do not end": (onnx(replace(W, type=7, values=chunk(7, b"\1\2\3\4\5\xff"))), "48 bytes, but 6"),
    "a name of no UTF-8": (onnx(replace(W, name=b"\xff")), "makes no sense"),
    "a file upwards": (onnx(W.beside(location="../w.bin")), "no plain name"),
    "an absolute file": (onnx(W.beside(location="/etc/passwd")), "no plain name"),
    "no file": (onnx(W.beside()), "no plain name"),
    "a file that is not there": (onnx(W.beside(location="none.bin")), "which is not there"),
    "beyond the file": (onnx(W.beside(location="w.bin", offset="4")), "not where its shape fits"),
    "an odd offset": (onnx(W.beside(location="w.bin", offset="0x4")), "not where its shape fits"),
    "another length": (onnx(W.beside(location="w.bin", length="12")), "not where its shape fits"),
    "one file for everything": (
        onnx(*(replace(W, name=str(i), dims=(1024,)).beside(location="large.bin") for i in range(40))), "over 16 times"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_models_in_onnx_are_refused(name, tmp_path):
    data, fragment = MODELS[name]
    (tmp_path / "w.bin").write_bytes(bytes(24))
    (tmp_path / "large.bin").write_bytes(bytes(4096))
    (tmp_path / "x.onnx").write_bytes(data)
    sentence = refusal(tmp_path / "x.onnx")
    assert fragment in sentence, sentence


def test_a_graph_of_millions_of_parts_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("quantlib.checkpoints.onnx_file.MAX_FIELDS", 1000)
    (tmp_path / "x.onnx").write_bytes(number(1, 8) * 2000)
    assert "more than 1,000 parts" in refusal(tmp_path / "x.onnx")
