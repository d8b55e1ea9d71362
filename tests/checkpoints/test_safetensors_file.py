"""The safetensors reader against the safetensors package: same names, shapes, dtypes and values for any valid file."""

import json
import struct
from concurrent.futures import ThreadPoolExecutor

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

from quantlib.checkpoints import open_checkpoint
from quantlib.errors import CheckpointError

DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "U16": np.uint16,
    "U32": np.uint32,
    "U64": np.uint64,
    "BOOL": np.bool_,
}
NAMES = {"F32": "FP32", "F16": "FP16"}

arrays = st.tuples(st.sampled_from(list(DTYPES)), st.lists(st.integers(0, 5), max_size=4), st.integers(0, 2**32 - 1))
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(lambda name: name != "__metadata__")


def array(dtype: str, shape: list[int], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 2, shape) if dtype == "BOOL" else rng.integers(0, 100, shape)
    return np.asarray(values).astype(DTYPES[dtype]).reshape(shape)


@given(tensors=st.dictionaries(names, arrays, max_size=6), metadata=st.dictionaries(names, names, max_size=3))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_reads_what_the_package_writes(tmp_path, tensors, metadata):
    made = {name: array(*spec) for name, spec in tensors.items()}
    path = tmp_path / "x.safetensors"
    save_file(made, path, metadata=metadata or None)
    with open_checkpoint(path) as checkpoint, safe_open(path, "numpy") as package:
        assert set(checkpoint.tensors) == set(package.keys()) == set(made)
        assert dict(checkpoint.metadata) == (package.metadata() or {})
        for name, want in made.items():
            tensor = checkpoint.tensors[name]
            dtype = tensors[name][0]
            assert tensor.format == NAMES.get(dtype, dtype)
            assert tensor.shape == want.shape
            assert tensor.nbytes == want.nbytes
            assert tensor.raw().tobytes() == want.tobytes()
            expected = want.astype(np.float32).reshape(tensor.nrows, tensor.n)
            np.testing.assert_array_equal(tensor.rows(), expected)
            assert tensor.rows().dtype == np.float32


def write(path, entries: dict, data: bytes) -> None:
    header = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "F8_E8M0"])
def test_eight_bit_floats_decode_as_ml_dtypes_does(tmp_path, dtype):
    kinds = {
        "F8_E4M3": ml_dtypes.float8_e4m3fn,
        "F8_E5M2": ml_dtypes.float8_e5m2,
        "F8_E8M0": ml_dtypes.float8_e8m0fnu,
    }
    codes = np.arange(256, dtype=np.uint8).reshape(4, 64)
    path = tmp_path / "x.safetensors"
    write(path, {"w": {"dtype": dtype, "shape": [4, 64], "data_offsets": [0, 256]}}, codes.tobytes())
    with open_checkpoint(path) as checkpoint:
        np.testing.assert_array_equal(checkpoint.tensors["w"].rows(), codes.view(kinds[dtype]).astype(np.float32))


SMALL = {"F4": "FP4_E2M1", "F6_E2M3": "FP6_E2M3", "F6_E3M2": "FP6_E3M2"}


@pytest.mark.parametrize("dtype", SMALL)
def test_floats_of_less_than_a_byte_are_a_stream_of_bits(tmp_path, dtype):
    """Codes lie one after the other, least significant bit first, and mean what ml_dtypes says."""
    kinds = {"F4": "float4_e2m1fn", "F6_E2M3": "float6_e2m3fn", "F6_E3M2": "float6_e3m2fn"}
    bits = int(dtype[1])
    codes = np.random.default_rng(0).integers(0, 2**bits, (3, 16), dtype=np.uint8)
    stream = (codes[:, :, None] >> np.arange(bits, dtype=np.uint8)) & 1  # (rows, codes, bits)
    data = np.packbits(stream.reshape(3, -1), axis=1, bitorder="little")
    path = tmp_path / "x.safetensors"
    write(path, {"w": {"dtype": dtype, "shape": [3, 16], "data_offsets": [0, data.size]}}, data.tobytes())
    with open_checkpoint(path) as checkpoint:
        tensor = checkpoint.tensors["w"]
        assert (tensor.format, tensor.nbytes) == (SMALL[dtype], data.size)
        want = codes.view(getattr(ml_dtypes, kinds[dtype])).astype(np.float32)
        np.testing.assert_array_equal(tensor.rows(), want)
        np.testing.assert_array_equal(tensor.rows(1, 2), want[1:2])


def test_rows_that_do_not_end_on_a_byte_are_listed_but_not_read(tmp_path):
    path = tmp_path / "x.safetensors"
    write(path, {"w": {"dtype": "F4", "shape": [2, 7], "data_offsets": [0, 7]}}, bytes(7))
    with open_checkpoint(path) as checkpoint:
        tensor = checkpoint.tensors["w"]
        assert (tensor.format, tensor.nbytes, tensor.decodable) == ("FP4_E2M1", 7, False)
        with pytest.raises(CheckpointError, match="cannot be decoded yet"):
            tensor.rows()


@pytest.mark.parametrize("dtype, name", [("F8_E4M3", "FP8_E4M3"), ("F8_E5M2", "FP8_E5M2"), ("F8_E8M0", "FP8_E8M0")])
def test_eight_bit_floats_have_the_catalogues_name(tmp_path, dtype, name):
    path = tmp_path / "x.safetensors"
    write(path, {"w": {"dtype": dtype, "shape": [4], "data_offsets": [0, 4]}}, bytes(4))
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.tensors["w"].format == name


def test_header_padding_and_spacing_are_accepted(tmp_path):
    header = b'{ "a" :\t{"data_offsets": [ 0 , 2 ],\n "shape": [], "dtype": "F16", "note": "x"} }   '
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + np.float16(1.5).tobytes())
    with open_checkpoint(path) as checkpoint:
        tensor = checkpoint.tensors["a"]
        assert (tensor.shape, tensor.n, tensor.nrows, tensor.rows().tolist()) == ((), 1, 1, [[1.5]])


def test_rows_outside_the_tensor_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"w": np.zeros((4, 2), np.float32)}, path)
    with open_checkpoint(path) as checkpoint:
        tensor = checkpoint.tensors["w"]
        assert tensor.rows(4).shape == (0, 2)
        for start, stop in ((-1, 2), (0, 5), (3, 2)):
            with pytest.raises(CheckpointError, match="has the rows 0 to 4"):
                tensor.rows(start, stop)


def test_a_closed_checkpoint_says_so_and_views_stay_valid(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"w": np.ones((4, 2), np.float32)}, path)
    with open_checkpoint(path) as checkpoint:
        view = checkpoint.tensors["w"].raw()
    with pytest.raises(CheckpointError, match="has been closed"):
        checkpoint.tensors["w"].rows()
    assert view.view(np.float32).sum() == 8


def test_many_threads_read_at_once(tmp_path):
    x = np.random.default_rng(0).standard_normal((512, 64)).astype(np.float32)
    path = tmp_path / "x.safetensors"
    save_file({"w": x}, path)
    with open_checkpoint(path) as checkpoint, ThreadPoolExecutor(8) as pool:
        tensor = checkpoint.tensors["w"]
        parts = list(pool.map(lambda i: tensor.rows(i, i + 1), range(512)))
    np.testing.assert_array_equal(np.concatenate(parts), x)


def test_raw_rows_are_read_only_views(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"w": np.ones((4, 2), np.float32)}, path)
    with open_checkpoint(path) as checkpoint:
        assert not checkpoint.tensors["w"].raw(1, 3).flags.writeable
        assert not checkpoint.tensors["w"].raw(1, 3).flags.owndata
