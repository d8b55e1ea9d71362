"""One test for each check of the GGUF reader: a valid file, changed in one named way, is refused in a sentence."""

import struct
from dataclasses import replace

import pytest
from hostile_files import Gguf, array, info, refusal, string, uint32

from quantlib.checkpoints import open_checkpoint

OK = Gguf()
A, B = OK.infos
KEY = string("k")


def with_infos(*infos: bytes, data: bytes = OK.data) -> Gguf:
    return replace(OK, infos=infos, data=data)


def aligned(value: bytes) -> Gguf:
    return replace(OK, keys=(OK.keys[0], string("general.alignment") + value))


CASES = {
    "shorter than the start": (OK.encode()[:20], "20 bytes long"),
    "other letters": (replace(OK, magic=b"GGML"), "does not start with the letters GGUF"),
    "big endian": (replace(OK, version=3 << 24), "big-endian"),
    "version 0": (replace(OK, version=0), "GGUF version 0"),
    "version 1": (replace(OK, version=1), "GGUF version 1"),
    "version 4": (replace(OK, version=4), "GGUF version 4"),
    "more keys than bytes": (replace(OK, n_keys=2**63), "metadata keys, more than its"),
    "more tensors than bytes": (replace(OK, n_tensors=2**60), "tensors, more than its"),
    "keys beyond the file": (replace(OK, n_keys=10), ""),
    "key longer than the file": (OK.key(struct.pack("<Q", 60_000) + b"k"), "ends inside"),
    "key longer than allowed": (OK.key(struct.pack("<Q", 2**62)), "more than the 65,535"),
    "key of no UTF-8": (OK.key(string(b"\xff") + uint32(1)), "not valid UTF-8"),
    "empty key": (OK.key(string("") + uint32(1)), "an empty name"),
    "key twice": (OK.key(KEY + uint32(1), KEY + uint32(2)), "'k' twice"),
    "value of unknown type": (OK.key(KEY + struct.pack("<I", 13)), "the value type 13"),
    "value beyond the file": (OK.key(KEY + struct.pack("<IQ", 8, 2**40)), "ends inside the metadata value 'k'"),
    "array of unknown type": (OK.key(KEY + array(99, 1, b"")), "elements of type 99"),
    "array of arrays": (OK.key(KEY + array(9, 1, array(4, 1, b"")[4:])), "an array of arrays"),
    "numbers beyond the file": (OK.key(KEY + array(10, 2**61, b"")), "elements for 'k', but only"),
    "strings beyond the file": (OK.key(KEY + array(8, 2**61, b"")), "elements for 'k', but only"),
    "string of an array beyond the file": (
        OK.key(KEY + array(8, 3, string("x") + struct.pack("<Q", 2**63) + string("y"))),
        "of the 3 of 'k'",
    ),
    "last string of an array beyond the file": (
        OK.key(KEY + array(8, 1, struct.pack("<Q", 10_000))),
        "the last of the 1 strings",
    ),
    "alignment that is no uint32": (aligned(struct.pack("<IQ", 10, 32)), "of type uint64"),
    "alignment of 0": (aligned(uint32(0)), "of 0, where a power of two"),
    "alignment of 24": (aligned(uint32(24)), "of 24, where a power of two"),
    "alignment of 2^31": (aligned(uint32(2**31)), "where a power of two to 1,048,576"),
    "tensor name of 64 bytes": (with_infos(info("n" * 64, (3,), 0, 0)), "64 bytes, more than the 63"),
    "tensor name longer than the file": (with_infos(A, struct.pack("<Q", 2**63)), "more than the 63"),
    "tensor name of no UTF-8": (with_infos(info(b"\xc3(", (3,), 0, 0)), "not valid UTF-8"),
    "tensor twice": (with_infos(A, A), "the tensor 'a' twice"),
    "five dimensions": (with_infos(info("a", (1, 1, 1, 1, 3), 0, 0)), "5 dimensions"),
    "2^32 - 1 dimensions": (with_infos(string("a") + struct.pack("<I", 2**32 - 1)), "4,294,967,295 dimensions"),
    "dimension beyond 2^63": (with_infos(info("a", (2**63,), 0, 0)), "beyond 2^63"),
    "product beyond 2^63": (with_infos(info("a", (2**32, 2**32), 0, 0)), "beyond 2^63"),
    "rows that do not fill blocks": (with_infos(info("a", (33,), 8, 0)), "rows of 33 weights, which Q8_0 blocks of 32"),
    "offset off the alignment": (with_infos(A, info("b", (32,), 8, 33)), "no multiple of 32"),
    "offset beyond the file": (with_infos(A, info("b", (32,), 8, 2**40)), "the file is truncated"),
    "offset that overflows": (with_infos(A, info("b", (32,), 8, 2**64 - 32)), "the file is truncated"),
    "tensor larger than the file": (with_infos(info("a", (2**40,), 0, 0)), "the file is truncated"),
    "overlap": (with_infos(info("a", (12,), 0, 0), B), "inside 'a' that ends at 48"),
    "same place": (with_infos(A, info("b", (32,), 8, 0)), "inside 'a' that ends at 24"),
    "truncated data": (replace(OK, data=OK.data[:60]), "has 60 bytes: the file is truncated"),
    "no data": (replace(OK, data=b""), "the file is truncated"),
    "infos beyond the file": (OK.encode()[:300], ""),
    "part of a split file": (
        OK.key(string("split.no") + struct.pack("<IH", 2, 1), string("split.count") + struct.pack("<IH", 2, 3)),
        "one of 3 parts",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_refused_in_one_sentence(tmp_path, name):
    file, fragment = CASES[name]
    path = tmp_path / "x.gguf"
    path.write_bytes(file if isinstance(file, bytes) else file.encode())
    sentence = refusal(path)
    assert "'x.gguf'" in sentence
    assert fragment in sentence, sentence


def test_more_strings_than_any_vocabulary(tmp_path):
    path = tmp_path / "x.gguf"
    count = 2**22 + 1
    path.write_bytes(OK.key(KEY + array(8, count, bytes(8 * count))).encode())
    assert "more than the 4,194,304 read" in refusal(path)


@pytest.mark.parametrize("cut", range(0, len(OK.encode()) - 31, 3))
def test_every_truncation_is_refused(tmp_path, cut):
    path = tmp_path / "x.gguf"
    path.write_bytes(OK.encode()[:cut])
    refusal(path)


def test_the_file_the_cases_start_from_is_valid(tmp_path):
    path = tmp_path / "x.gguf"
    for version in (2, 3):
        path.write_bytes(replace(OK, version=version).encode())
        with open_checkpoint(path) as checkpoint:
            assert [(t.name, t.shape, t.format, t.nbytes) for t in checkpoint] == [
                ("a", (2, 3), "FP32", 24),
                ("b", (32,), "Q8_0", 34),
            ]
            assert list(checkpoint.value("tokenizer.ggml.tokens")) == ["<s>", "é", ""]


def test_a_format_that_no_weights_are_stored_in_is_decoded_all_the_same(tmp_path):
    path = tmp_path / "x.gguf"
    path.write_bytes(with_infos(info("w", (256, 2), 15, 0), data=bytes(2 * 292)).encode())  # Q8_K
    with open_checkpoint(path) as checkpoint:
        tensor = checkpoint.tensors["w"]
        assert (tensor.nbytes, tensor.raw().shape) == (584, (2, 292))
        assert not tensor.rows().any()
