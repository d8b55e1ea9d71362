"""One test for each check of the safetensors reader: a valid file, changed in one named way, is refused."""

import json
import struct
from dataclasses import replace

import pytest
from hostile_files import Safetensors, refusal

from quantlib.checkpoints import open_checkpoint

OK = Safetensors()
TEXT = json.dumps(OK.entries).encode()
MANY = b"{" + b",".join(b'"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % i for i in range(2**18 + 1)) + b"}"

CASES = {
    "empty": (b"", "0 bytes long"),
    "shorter than the length": (b"\x10\0\0", "3 bytes long"),
    "length beyond the cap": (replace(OK, length=2**63), "9,223,372,036,854,775,808 bytes, more than the 100,000,000"),
    "length beyond the file": (replace(OK, length=10_000), "claims a header of 10,000 bytes"),
    "length short of the object": (replace(OK, length=len(TEXT) - 1), "broken"),
    "header not an object": (replace(OK, header=b"[1]"), "'{'"),
    "header of nothing": (replace(OK, header=b""), "'{'"),
    "more after the object": (replace(OK, header=TEXT + b"{}"), "more after the JSON object"),
    "no colon": (replace(OK, header=TEXT.replace(b'"a":', b'"a" ')), "lacks the ':'"),
    "no comma": (replace(OK, header=TEXT.replace(b'}, "b"', b'}  "b"')), "lacks a ','"),
    "trailing comma": (replace(OK, header=TEXT[:-1] + b",}"), "a name where one belongs"),
    "name of no UTF-8": (replace(OK, header=TEXT.replace(b'"a"', b'"\xff"')), "not valid UTF-8"),
    "name with a control character": (replace(OK, header=TEXT.replace(b'"a"', b'"\n"')), "JSON does not allow"),
    "name of half a surrogate pair": (replace(OK, header=TEXT.replace(b'"a"', b'"\\ud800"')), "JSON does not allow"),
    "duplicate name": (replace(OK, header=TEXT.replace(b'"b"', b'"a"')), "'a' twice"),
    "duplicate name, escaped": (replace(OK, header=TEXT.replace(b'"b"', b'"\\u0061"')), "'a' twice"),
    "more tensors than any file has": (replace(OK, header=MANY, data=b""), "more than 262,144 tensors"),
    "entry that is a number": (replace(OK, entries=OK.entries | {"b": 3}), "does not describe 'b'"),
    "entry nested a hundred thousand deep": (
        replace(OK, header=b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        "does not describe 'a'",
    ),
    "entry of objects": (OK.entry("b", shape={"x": {}}), "does not describe 'b'"),
    "entry of broken JSON": (replace(OK, header=TEXT.replace(b"[2, 3]", b"[2; 3]")), "not valid JSON"),
    "entry with a key twice": (replace(OK, header=TEXT.replace(b'"shape": [2, 3]', b'"dtype":"F32"')), "a key twice"),
    "number of ten thousand digits": (
        replace(OK, header=TEXT.replace(b"[2, 3]", b"[2, " + b"9" * 900 + b"]")),
        "not a list of non-negative",
    ),
    "no dtype": (replace(OK, entries=OK.entries | {"b": {"shape": [4], "data_offsets": [24, 32]}}), "'None'"),
    "unknown dtype": (OK.entry("b", dtype="F12"), "'F12', which is no dtype"),
    "dtype that is a list": (OK.entry("b", dtype=["F32"]), "no dtype of safetensors"),
    "no shape": (replace(OK, entries=OK.entries | {"b": {"dtype": "BF16", "data_offsets": [24, 32]}}), "a shape"),
    "negative dimension": (OK.entry("b", shape=[-4]), "a shape that is not a list of non-negative"),
    "fractional dimension": (OK.entry("b", shape=[4.0]), "a shape that is not a list of non-negative"),
    "dimension of true": (OK.entry("b", shape=[4, True]), "a shape that is not a list of non-negative"),
    "dimensions beyond reason": (OK.entry("b", shape=[1] * 200 + [4]), "201 dimensions"),
    "shape whose product overflows": (OK.entry("b", shape=[2**40, 2**40]), "over 2^64 bytes"),
    "shape larger than its bytes": (OK.entry("b", shape=[5]), "takes 10 bytes"),
    "one offset": (OK.entry("b", data_offsets=[24]), "not two non-negative integers"),
    "negative offset": (OK.entry("b", data_offsets=[-8, 0]), "not two non-negative integers"),
    "offsets reversed": (OK.entry("b", data_offsets=[32, 24]), "bytes 32 to 24"),
    "offset beyond 2^63": (OK.entry("b", data_offsets=[2**64, 2**64 + 8]), "not two non-negative integers"),
    "half a byte": (OK.entry("b", dtype="F4", shape=[15]), "do not fill whole bytes"),
    "beyond the file": (OK.entry("b", data_offsets=[2**40, 2**40 + 8]), "the file is truncated"),
    "truncated data": (replace(OK, data=bytes(31)), "has 31 bytes: the file is truncated"),
    "overlap": (replace(OK.entry("b", data_offsets=[20, 28]), data=bytes(28)), "inside 'a' that ends at 24"),
    "hole": (replace(OK.entry("b", data_offsets=[28, 36]), data=bytes(36)), "leaves the bytes 24 to 28"),
    "hole at the start": (
        replace(OK, entries={"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}}, data=bytes(16)),
        "leaves the bytes 0 to 8",
    ),
    "bytes left over": (replace(OK, data=bytes(40)), "8 bytes after its last tensor"),
    "metadata that is a list": (replace(OK, entries=OK.entries | {"__metadata__": [1]}), "not an object of strings"),
    "metadata with a number": (replace(OK, entries=OK.entries | {"__metadata__": {"k": 1}}), "not a string"),
    "metadata with an object": (replace(OK, entries=OK.entries | {"__metadata__": {"k": {}}}), "not a string"),
    "metadata with a key twice": (
        replace(OK, header=TEXT[:-1] + b',"__metadata__":{"k":"1","k":"2"}}'),
        "'k' twice in '__metadata__'",
    ),
    "metadata twice": (replace(OK, header=TEXT[:-1] + b',"__metadata__":{},"__metadata__":{}}'), "twice in its header"),
    "endless string": (replace(OK, header=b'{"' + b"\\\\" * 100_000), "lacks a name"),
}


@pytest.mark.parametrize("name", CASES)
def test_refused_in_one_sentence(tmp_path, name):
    file, fragment = CASES[name]
    path = tmp_path / "x.safetensors"
    path.write_bytes(file if isinstance(file, bytes) else file.encode())
    limit_of_the_count = name == "more tensors than any file has"
    if limit_of_the_count:  # this one is refused only after reading as many entries as are allowed
        with pytest.raises(Exception, match="262,144"):
            open_checkpoint(path)
        return
    sentence = refusal(path)
    assert "'x.safetensors'" in sentence
    assert fragment in sentence, sentence


def test_the_file_the_cases_start_from_is_valid(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(OK.encode())
    with open_checkpoint(path) as checkpoint:
        assert [(t.name, t.shape, t.format, t.nbytes) for t in checkpoint] == [
            ("a", (2, 3), "FP32", 24),
            ("b", (4,), "BF16", 8),
        ]


def test_a_header_of_640_bytes_is_not_taken_for_a_pickle(tmp_path):
    path = tmp_path / "x.safetensors"
    header = TEXT + b" " * (640 - len(TEXT))
    path.write_bytes(struct.pack("<Q", 640) + header + OK.data)
    assert path.read_bytes()[:2] == b"\x80\x02"
    with open_checkpoint(path) as checkpoint:
        assert set(checkpoint.tensors) == {"a", "b"}


PICKLES = {
    "model.bin": b"anything",
    "model.pt": b"",
    "model.pth": b"x" * 100,
    "model.ckpt": b"x" * 100,
    "pickle2.safetensors": b"\x80\x02\x8a\nl\xfc\x9cF" + bytes(100),
    "pickle4.safetensors": b"\x80\x04\x95\x10\0\0\x01\0" + bytes(100),
}


@pytest.mark.parametrize("name", PICKLES)
def test_pickles_are_refused_with_the_reason_and_the_way_out(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(PICKLES[name])
    sentence = refusal(path)
    assert "can run any code" in sentence
    assert "save the model as safetensors" in sentence


def test_pickles_that_would_run_code_do_not(tmp_path):
    import pickle

    marker = tmp_path / "ran"

    class Payload:
        def __reduce__(self):
            return open, (str(marker), "w")

    path = tmp_path / "model.bin"
    path.write_bytes(pickle.dumps(Payload()))
    refusal(path)
    assert not marker.exists()


def test_paths_that_are_no_file(tmp_path):
    import os

    assert "is not there" in refusal(tmp_path / "none.safetensors")
    assert "no config.json" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe.safetensors")
    assert "not a regular file" in refusal(tmp_path / "pipe.safetensors")
    assert "is not there" in refusal(tmp_path / "a\0b")
