"""GGUF reader and writer against the gguf package, each reading what the other wrote."""

import io
from dataclasses import replace

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantlib import formats
from quantlib.checkpoints import (
    GGUFWriter,
    MetadataValue,
    TensorInfo,
    gguf_layout,
    gguf_size,
    open_checkpoint,
    write_gguf,
)
from quantlib.checkpoints.gguf_types import GGML_TYPES
from quantlib.errors import CheckpointError

RANGES = {f"{sign}int{bits}": bits for sign in ("u", "") for bits in (8, 16, 32, 64)}
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def numbers(kind: str):
    if kind == "bool":
        return st.booleans()
    if kind.startswith("float"):
        return st.floats(width=int(kind[5:]), allow_nan=False)
    bits, signed = RANGES[kind], not kind.startswith("u")
    return st.integers(-(2 ** (bits - 1)) if signed else 0, 2 ** (bits - signed) - 1)


def values():
    kinds = [*RANGES, "float32", "float64", "bool"]
    scalars = [numbers(kind).map(lambda v, kind=kind: MetadataValue(kind, v)) for kind in kinds]
    lists = [
        st.lists(numbers(kind), max_size=4).map(lambda v, kind=kind: MetadataValue(f"array[{kind}]", v))
        for kind in kinds
    ]
    strings = [texts.map(lambda v: MetadataValue("string", v))]
    string_lists = [st.lists(texts, max_size=4).map(lambda v: MetadataValue("array[string]", v))]
    return st.one_of(*scalars, *lists, *strings, *string_lists)


metadata_sets = st.dictionaries(texts.filter(bool), values(), max_size=6)
tensor_sets = st.dictionaries(
    texts.filter(lambda name: len(name.encode()) < 64),
    st.tuples(
        st.sampled_from(["FP32", "FP16", "BF16", "Q8_0", "I32", "I8", "F64", "Q4_0", "IQ4_NL"]),
        st.lists(st.integers(1, 4), max_size=3),
        st.integers(0, 2**32 - 1),
    ),
    max_size=5,
)


def made(specs: dict) -> dict[str, tuple[TensorInfo, np.ndarray]]:
    out = {}
    for name, (form, heads, seed) in specs.items():
        info = TensorInfo(name, (*heads, 32), form)
        out[name] = info, np.random.default_rng(seed).integers(0, 256, info.nbytes, dtype=np.uint8)
    return out


def plain(value: object) -> object:
    return value.tolist() if isinstance(value, np.ndarray) else value


def encoded(metadata, tensors) -> bytes:
    file = io.BytesIO()
    write_gguf(file, metadata, [(info, [data[:7], data[7:]]) for info, data in tensors.values()])
    return file.getvalue()


@given(metadata=metadata_sets, specs=tensor_sets)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_round_trip_and_the_package_agrees(tmp_path, metadata, specs):
    metadata.pop("general.alignment", None)
    tensors = made(specs)
    path = tmp_path / "x.gguf"
    path.write_bytes(encoded(metadata, tensors))
    assert path.stat().st_size == gguf_size(metadata, [info for info, _ in tensors.values()])
    with open_checkpoint(path) as checkpoint:
        assert list(checkpoint.metadata) == list(metadata)
        for key, want in metadata.items():
            found = checkpoint.metadata[key]
            value = list(found.value) if want.type == "array[string]" else plain(found.value)
            assert (found.type, value) == (want.type, want.value)
        assert list(checkpoint.tensors) == list(tensors)
        for name, (info, data) in tensors.items():
            tensor = checkpoint.tensors[name]
            assert tensor.shape[-1] == info.shape[-1] and tensor.size == np.prod(info.shape)
            assert tensor.format == info.format
            assert tensor.raw().tobytes() == data.tobytes()
    if all(info.name for info, _ in tensors.values()):
        reader = gguf.GGUFReader(path)
        for key, want in metadata.items():
            if want.type != "array[string]" and want.value != []:  # the package has no contents for an empty array
                assert reader.fields[key].contents() == want.value
        for found, (info, data) in zip(reader.tensors, tensors.values(), strict=True):
            assert found.name == info.name
            assert int(found.tensor_type) == info.ggml_type
            assert found.data.tobytes() == data.tobytes()


@pytest.mark.parametrize("alignment", [None, 64])
def test_reads_and_rewrites_what_the_package_writes_byte_for_byte(tmp_path, alignment):
    path = tmp_path / "x.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    if alignment:
        writer.add_custom_alignment(alignment)
    writer.add_name("a model")
    writer.add_context_length(2048)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_token_list(["<s>", "é", "", "x" * 300])
    writer.add_token_scores([0.0, -1.5, -2.0, -3.0])
    writer.add_token_types([3, 1, 1, 1])
    writer.add_add_bos_token(True)
    x = np.random.default_rng(0).standard_normal((6, 64)).astype(np.float32)
    writer.add_tensor("odd.weight", x[0, :5].copy())
    writer.add_tensor("w.weight", x)
    q = gguf.quants.quantize(x, gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("q.weight", q, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("h.weight", x.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.architecture == "llama"
        assert list(checkpoint.value("tokenizer.ggml.tokens")) == ["<s>", "é", "", "x" * 300]
        np.testing.assert_array_equal(checkpoint.tensors["w.weight"].rows(), x)
        np.testing.assert_array_equal(
            checkpoint.tensors["q.weight"].rows(),
            gguf.quants.dequantize(q, gguf.GGMLQuantizationType.Q8_0),
        )
        file = io.BytesIO()
        write_gguf(file, checkpoint.metadata, [((t.name, t.shape, t.format), [t.raw()]) for t in checkpoint])
        assert file.getvalue() == path.read_bytes()


@pytest.mark.parametrize("name", [name for name, form in formats.FORMATS.items() if form.ggml_type is not None])
def test_every_ggml_format_of_the_catalogue_is_read_as_it_decodes(tmp_path, name):
    form = formats.get(name)
    x = np.random.default_rng(1).standard_normal((5, 2 * max(form.values, 32))).astype(np.float32)
    needs = form.kind == "block" and form.requires_importance
    data = form.quantize(x, np.ones(x.shape[-1], np.float32) if needs else None)
    path = tmp_path / "x.gguf"
    with open(path, "wb") as file:
        write_gguf(file, {}, [(("w", x.shape, name), [data])])
    with open_checkpoint(path) as checkpoint:
        tensor = checkpoint.tensors["w"]
        assert (tensor.format, tensor.shape, tensor.nbytes) == (name, x.shape, data.nbytes)
        np.testing.assert_array_equal(tensor.rows(1, 4), form.dequantize(data[1:4]))
        np.testing.assert_array_equal(tensor.raw(), data)


@pytest.mark.parametrize("name", [name for name, form in formats.FORMATS.items() if form.ggml_type is not None])
def test_block_sizes_agree_with_the_catalogue(name):
    form = formats.get(name)
    assert GGML_TYPES[form.ggml_type][1:] == (form.values, form.nbytes)


def test_types_are_those_of_the_gguf_package():
    theirs = {int(kind): (kind.name, *sizes) for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    # One is newer than the package; the other has been smaller in ggml than the package says since its sum is half a
    # word: 2 · 2 + 32 bytes, block_q8_1 in ggml-common.h.
    assert theirs | {42: ("Q2_0", 64, 18), 9: ("Q8_1", 32, 36)} == GGML_TYPES


def test_version_2_is_read_as_version_3(tmp_path):
    path = tmp_path / "x.gguf"
    x = np.arange(64, dtype=np.float32).reshape(2, 32)
    tensors = {"w": (TensorInfo("w", x.shape, "FP32"), np.frombuffer(x.tobytes(), np.uint8))}
    data = bytearray(encoded({"k": MetadataValue("uint32", 7)}, tensors))
    data[4:8] = (2).to_bytes(4, "little")
    path.write_bytes(data)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.value("k") == 7
        np.testing.assert_array_equal(checkpoint.tensors["w"].rows(), x)


def test_trailing_dimensions_of_one_are_not_written():
    layout = gguf_layout({}, [TensorInfo("w", (1, 1, 2, 3), "FP32")])
    # the name, then 2 dimensions: 3 and 2
    assert layout.header[24 + 8 + 1 :].startswith(b"\2\0\0\0" + (3).to_bytes(8, "little") + (2).to_bytes(8, "little"))


WRONG = {
    "unknown format": (("w", (32,), "Q9_9"), "no ggml type has that name"),
    "blocks not filled": (("w", (33,), "Q8_0"), "rows of 33 weights, which Q8_0 blocks of 32"),
    "long name": (("w" * 64, (32,), "FP32"), "at most 63 bytes"),
    "five dimensions": (("w", (2, 2, 2, 2, 2), "FP32"), "at most 4 dimensions"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_gguf_cannot_hold_is_refused(name):
    info, fragment = WRONG[name]
    with pytest.raises(CheckpointError, match=fragment):
        gguf_layout({"general.architecture": MetadataValue("string", "llama")}, [info])


def test_a_container_without_an_architecture_holds_more_than_a_model():
    """No loader of models reads it: names and dimensions are those of any reader of GGUF."""
    gguf_layout({}, [WRONG["long name"][0], WRONG["five dimensions"][0]])
    with pytest.raises(CheckpointError, match="at most 1024 bytes"):
        gguf_layout({}, [("w" * 1025, (32,), "FP32")])


def test_two_tensors_of_a_name_are_refused():
    with pytest.raises(CheckpointError, match="two tensors"):
        gguf_size({}, [("w", (1,), "FP32")] * 2)


@pytest.mark.parametrize(
    "value",
    [
        MetadataValue("uint8", 256),
        MetadataValue("uint32", -1),
        MetadataValue("string", 3),
        MetadataValue("float16", 1.0),
        MetadataValue("array[uint8]", 3),
        MetadataValue("array[string]", [1]),
    ],
)
def test_values_that_do_not_fit_their_type_are_refused(value):
    with pytest.raises(CheckpointError, match="cannot store the metadata value 'k'"):
        gguf_size({"k": value}, [])


def test_the_writer_refuses_too_many_bytes_and_misses_those_not_given():
    info = TensorInfo("w", (8,), "FP32")
    writer = GGUFWriter(io.BytesIO(), gguf_layout({}, [info]))
    writer.write(bytes(30))
    with pytest.raises(CheckpointError, match="takes 2 more"):
        writer.write(bytes(3))
    with pytest.raises(CheckpointError, match="lacks 2 of its 32 bytes"):
        writer.finish()
    writer.write(bytes(2))
    writer.finish()
    with pytest.raises(CheckpointError, match="the end of the file"):
        writer.write(b"x")


def test_a_split_file_is_read_through_its_first_part(tmp_path):
    x = np.arange(12, dtype=np.float32).reshape(3, 4)

    def part(number: int, names: list[str], total: int = 3) -> None:
        metadata = {
            "general.architecture": MetadataValue("string", "llama"),
            "split.no": MetadataValue("uint16", number),
            "split.count": MetadataValue("uint16", 2),
            "split.tensors.count": MetadataValue("int32", total),
        }
        with open(tmp_path / f"m-0000{number + 1}-of-00002.gguf", "wb") as file:
            write_gguf(file, metadata, [((name, x.shape, "FP32"), [x + number]) for name in names])

    first = tmp_path / "m-00001-of-00002.gguf"
    part(0, ["a", "b"])
    with pytest.raises(CheckpointError, match=r"m-00002-of-00002\.gguf' cannot be opened"):
        open_checkpoint(first)
    part(1, ["c"])
    with open_checkpoint(first) as checkpoint:
        assert [(t.name, t.file) for t in checkpoint][1:] == [("b", first.name), ("c", "m-00002-of-00002.gguf")]
        np.testing.assert_array_equal(checkpoint.tensors["c"].rows(), x + 1)
    with pytest.raises(CheckpointError, match=r"ends in -00001-of-00002\.gguf"):
        open_checkpoint(tmp_path / "m-00002-of-00002.gguf")
    part(1, ["b"])
    with pytest.raises(CheckpointError, match="has too"):
        open_checkpoint(first)
    part(1, ["c", "d"])
    with pytest.raises(CheckpointError, match="hold 3 tensors together, but they hold 4"):
        open_checkpoint(first)
    part(0, ["c"])
    (tmp_path / "m-00002-of-00002.gguf").write_bytes(first.read_bytes())
    with pytest.raises(CheckpointError, match="says it is part number 0"):
        open_checkpoint(first)


def test_infos_are_plain_tuples_too():
    info = TensorInfo("w", (2, 32), "Q8_0")
    assert (info.nbytes, info.ggml_type) == (68, 8)
    assert gguf_layout({}, [tuple(info)]) == gguf_layout({}, [info])
    assert replace(gguf_layout({}, [info])).nbytes == len(gguf_layout({}, [info]).header) + 96
