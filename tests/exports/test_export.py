"""Exported folders: what stands in them, and that nothing is left where an export fails."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import quantlib as ql
from quantlib.checkpoints.safetensors_file import open_safetensors
from quantlib.errors import Cancelled, CheckpointError, JobError, MethodError
from quantlib.exports import PLAIN, export, misfit
from quantlib.exports.linears import linears_of, stored

SCHEMES = {scheme.name: scheme for scheme in PLAIN}


@pytest.fixture(scope="module")
def source(demo_model):
    with ql.open_checkpoint(demo_model) as checkpoint:
        yield checkpoint


@pytest.mark.parametrize("scheme", PLAIN, ids=lambda s: s.name)
def test_every_matrix_of_a_layer_and_nothing_else(source, tmp_path, scheme):
    result = export(source, tmp_path / "out", scheme)
    linears = linears_of(source)
    assert len(linears) == 8 * 7
    assert [layer.module + ".weight" for layer in result.layers] == list(linears)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["quantization_config"]["quant_method"] in ("bitsandbytes", "compressed-tensors")
    written = tmp_path / "out" / "model.safetensors"
    assert written.stat().st_mode == (tmp_path / "out" / "config.json").stat().st_mode
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == (Path(source.source) / "tokenizer.json").read_bytes()
    with open_safetensors(tmp_path / "out" / "model.safetensors") as written:
        assert sum(t.nbytes for t in written) == result.nbytes
        for name, tensor in source.tensors.items():
            if name not in linears:
                assert written.tensors[name].format == tensor.format
                np.testing.assert_array_equal(written.tensors[name].raw(), tensor.raw())
        for layer in result.layers:
            parts = [t for n, t in written.tensors.items() if n.startswith(layer.module + ".")]
            assert sum(t.nbytes for t in parts) == layer.nbytes
            assert layer.loss.relative < (0.03 if layer.bpw > 8 else 0.15)


def test_shards_and_their_index(source, tmp_path):
    export(source, tmp_path / "out", SCHEMES["w8a16"], shard_bytes=3 << 20)
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    files = sorted(p.name for p in (tmp_path / "out").glob("*.safetensors"))
    assert len(files) > 1 and set(index["weight_map"].values()) == set(files)
    assert files[0] == f"model-00001-of-{len(files):05d}.safetensors"
    whole = export(source, tmp_path / "whole", SCHEMES["w8a16"])
    assert index["metadata"]["total_size"] == whole.nbytes


def nothing_left(folder: Path) -> bool:
    return not list(folder.iterdir())


def test_cancelled_in_the_middle(source, tmp_path):
    asked = iter([False] * 20 + [True] * 9)
    with pytest.raises(Cancelled):
        export(source, tmp_path / "out", SCHEMES["fp8"], cancel=lambda: next(asked))
    assert nothing_left(tmp_path)


def test_a_folder_that_is_there(source, tmp_path):
    with pytest.raises(JobError, match="there already"):
        export(source, tmp_path, SCHEMES["fp8"])


def test_sources_that_cannot_be_exported(source, tmp_path, demo_model):
    with ql.open_checkpoint(demo_model / "model.safetensors") as file:
        assert file.kind == "huggingface"  # its folder's
    ql.run(ql.plan(source, "Q8_0"), tmp_path / "m.gguf")
    with ql.open_checkpoint(tmp_path / "m.gguf") as gguf, pytest.raises(CheckpointError, match="Hugging Face folder"):
        export(gguf, tmp_path / "out", SCHEMES["fp8"])


def test_what_does_not_fit_is_known_without_exporting(source):
    linears = linears_of(source)
    assert misfit(linears, SCHEMES["w4a16"]) == ""
    assert "do not divide the 256 inputs of model" in misfit(linears, replace(SCHEMES["w4a16"], multiple=96))


def test_a_width_that_groups_do_not_divide(source, tmp_path):
    with pytest.raises(MethodError, match="do not divide the 256 inputs of model"):
        export(source, tmp_path / "out", replace(SCHEMES["w4a16"], multiple=96))
    assert nothing_left(tmp_path)


def test_stored_numbers_are_those_of_the_file(source):
    tensor = source.tensors["model.norm.weight"]
    np.testing.assert_array_equal(stored(tensor).astype(np.float32), tensor.rows()[0])
