"""Files of PyTorch, NumPy and ONNX are opened by their content, and give the numbers that were put in."""

import json
import struct
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from array_files import (
    Initializer,
    Torch,
    archive,
    chunk,
    named,
    number,
    of_arrays,
    onnx,
    saved,
    storage,
    tensor,
    varint,
)

import quantlib as ql
from quantlib.checkpoints import spans

RNG = np.random.default_rng(3)
X = RNG.standard_normal((37, 70), np.float32)
ARRAYS = {
    "rows": X,
    "columns": np.asfortranarray(X),
    "the other byte order": X.astype(">f4"),
    "both": np.asfortranarray(X).astype(">f4"),
    "float64": X.astype(np.float64),
    "float16": X.astype(np.float16),
    "int8": (9 * X).astype(np.int8),
    "bool": X > 0,
    "a vector": X[0],
    "a number": X[0, 0],
    "nothing": X[:0],
    "four dimensions": np.asfortranarray(X[:, :60].reshape(37, 3, 4, 5)),
}


def opened(path, data: bytes) -> dict[str, ql.Tensor]:
    path.write_bytes(data)
    return dict(ql.open_checkpoint(path).tensors)


def same(tensor: ql.Tensor, array: np.ndarray) -> None:
    """All rows, a range of them, and the bytes are the array's."""
    rows = array.astype(np.float32).reshape(tensor.nrows, tensor.n)
    assert tensor.shape == array.shape
    assert np.array_equal(tensor.rows(), rows)
    some = range(0, tensor.nrows + 1, max(1, tensor.nrows // 5))
    assert all(np.array_equal(tensor.rows(a, b), rows[a:b]) for a in some for b in some if a <= b)
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"))
    assert tensor.raw().tobytes() == little.tobytes()


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_of_numpy(name, tmp_path):
    found = opened(tmp_path / "w.npy", saved(ARRAYS[name]))
    assert list(found) == ["w"]
    same(found["w"], ARRAYS[name])


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_of_numpy(method, tmp_path):
    members = {f"{name}.npy": saved(array) for name, array in ARRAYS.items()}
    found = opened(tmp_path / "w.npz", archive(members, method))
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        same(found[name], array)


def test_arrays_of_no_numbers_are_left_out_with_a_warning(tmp_path):
    np.savez(tmp_path / "w.npz", x=X, words=np.array(["a", "b"]))
    with ql.open_checkpoint(tmp_path / "w.npz") as checkpoint:
        assert list(checkpoint.tensors) == ["x"]
        assert checkpoint.warnings == ("Arrays that hold no numbers are left out: 'words' (text).",)


def test_a_compressed_array_is_read_from_anywhere_in_little_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("quantlib.checkpoints.zip_archive.STEP", 1 << 12)
    x = np.cumsum(RNG.integers(-2, 3, (500, 64)), 0).astype(np.float32)
    found = opened(tmp_path / "w.npz", archive({"x.npy": saved(x)}, zipfile.ZIP_DEFLATED))["x"]
    for at in RNG.permutation(499):
        assert np.array_equal(found.rows(at, at + 2), x[at : at + 2])


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("folder", ["archive/", "model-1/", ""])
def test_a_file_of_torch(folder, method, tmp_path):
    found = opened(tmp_path / "w.pt", replace(Torch(), folder=folder, method=method).encode())
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert list(found) == ["a", "b", "c"]
    for name, array in {"a": a, "b": a.T, "c": a[0]}.items():
        same(found[name], array)


def test_the_dict_around_all_tensors_is_not_part_of_their_names(tmp_path):
    inner = Torch().value
    assert list(opened(tmp_path / "w.ckpt", Torch(named(state_dict=inner, epoch=b"K\3")).encode())) == ["a", "b", "c"]
    assert ql.open_checkpoint(tmp_path / "w.ckpt").metadata == {"epoch": 3}
    both = opened(tmp_path / "w.ckpt", Torch(named(model=inner, ema=named(a=tensor("1", 3, (3,), (1,))))).encode())
    assert list(both) == ["model.a", "model.b", "model.c", "ema.a"]


def test_a_tensor_alone_and_tensors_in_lists(tmp_path):
    one = tensor("1", 3, (3,), (1,))
    assert list(opened(tmp_path / "t.pt", Torch(one).encode())) == ["tensor"]
    assert list(opened(tmp_path / "t.pt", Torch(b"](" + one + one + b"e").encode())) == ["0", "1"]


def test_newer_types_say_their_own_in_a_storage_of_bytes(tmp_path):
    from array_files import called, whole, wholes

    arguments = (storage("0", 24, "UntypedStorage"), whole(1), wholes((2, 2)), wholes((2, 1)), b"\x89N")
    value = called("torch._utils._rebuild_tensor_v3", *arguments, b"ctorch\nfloat8_e4m3fn\n", b"N")
    data = {"0": bytes(range(0x30, 0x48))}
    found = opened(tmp_path / "t.pt", Torch(value, data).encode())["tensor"]
    assert (found.format, found.raw().tolist()) == ("FP8_E4M3", [[0x31, 0x32], [0x33, 0x34]])


@pytest.mark.parametrize("few", [1, 1 << 14])
def test_strided_values_are_read_row_by_row(few, monkeypatch):
    monkeypatch.setattr(spans, "FEW", few)
    base = RNG.integers(0, 255, 4000, dtype=np.uint8)
    for shape, strides, offset in [
        ((9, 7), (1, 9), 3),
        ((4, 5, 6), (150, 1, 7), 0),
        ((3, 4, 5, 2), (1, 3, 12, 60), 100),
    ]:
        whole = np.lib.stride_tricks.as_strided(base[offset:], shape, strides)
        assert np.array_equal(spans.gathered(lambda a, b: base[a:b], 1, shape, strides, offset)[..., 0], whole)


def test_an_onnx_model(tmp_path):
    raw, half = np.arange(6, dtype=np.float32), np.arange(6, dtype=np.float16)
    (tmp_path / "w.bin").write_bytes(bytes(64) + raw.tobytes())
    found = opened(
        tmp_path / "m.onnx",
        onnx(
            Initializer("raw"),
            Initializer("floats", values=chunk(4, raw.tobytes())),
            Initializer("halves", type=10, values=chunk(5, b"".join(map(varint, half.view(np.uint16).tolist())))),
            Initializer("wholes", type=7, values=chunk(7, b"".join(map(varint, range(-3, 3))))),
            Initializer("beside").beside(location="w.bin", offset="64", length="24"),
            Initializer("alone", dims=(), type=11, values=chunk(10, struct.pack("<d", 2.5))),
        ),
    )
    for name, array in {"raw": raw, "floats": raw, "halves": half, "wholes": np.arange(-3, 3), "beside": raw}.items():
        same(found[name], array.reshape(2, 3))
    same(found["alone"], np.array(2.5))


def test_a_folder_of_torch_files_is_a_model_as_one_of_safetensors(demo_model, tmp_path):
    folder = tmp_path / demo_model.name
    folder.mkdir()
    with ql.open_checkpoint(demo_model) as original:
        arrays = {t.name: t.raw().view("<u2").reshape(t.shape) for t in original if t.format == "BF16"}
        assert len(arrays) == len(original.tensors)
        names = list(arrays)
        for file in demo_model.iterdir():
            if file.suffix in (".json", ".txt"):
                (folder / file.name).write_bytes(file.read_bytes())
        parts = [names[: len(names) // 2], names[len(names) // 2 :]]
        weight_map = {}
        for i, part in enumerate(parts, 1):
            file = f"pytorch_model-{i:05}-of-00002.bin"
            (folder / file).write_bytes(of_arrays(**{name: arrays[name] for name in part}).encode())
            weight_map |= dict.fromkeys(part, file)
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
        with ql.open_checkpoint(folder) as found:
            assert found.kind == "huggingface" and len(found.files) == 2
            for recipe in ("BF16", "Q4_K_M"):
                assert ql.plan(found, recipe).nbytes == ql.plan(original, recipe).nbytes
            for view in ("model.norm.weight", names[3]):
                assert np.array_equal(found.tensors[view].raw(), original.tensors[view].raw())
        with ql.open_checkpoint(folder / "pytorch_model-00001-of-00002.bin") as part:
            assert part.kind == "huggingface" and list(part.tensors) == parts[0]


def test_a_single_matrix_becomes_a_gguf_file(tmp_path):
    np.save(tmp_path / "w.weight.npy", np.asfortranarray(RNG.standard_normal((64, 256), np.float32)))
    with ql.open_checkpoint(tmp_path / "w.weight.npy") as checkpoint:
        ql.run(ql.plan(checkpoint, "Q4_K_M"), tmp_path / "w.gguf")
        with ql.open_checkpoint(tmp_path / "w.gguf") as written:
            ours = ql.quantize(checkpoint.tensors["w.weight"].rows(), "Q4_K")
            assert np.array_equal(written.tensors["w.weight"].raw(), ours)


def test_values_in_numbers_of_varying_length_may_be_none(tmp_path):
    found = opened(tmp_path / "m.onnx", onnx(Initializer(dims=(0,), type=7, values=chunk(7, b""))))
    assert found["w"].rows().shape == (1, 0)
    assert number(1, 300) == b"\x08\xac\x02"
