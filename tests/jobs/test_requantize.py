"""Whole files against llama-quantize's: the same bytes for the same GGUF input, recipe by recipe."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import pytest

import quantlib as ql
from quantlib.recipes import RECIPES

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "requantize.json").read_text())


@dataclass(frozen=True)
class Small:
    """A Llama too small to be of use, written by the gguf package from seeded numbers."""

    layers: int
    ffn: int
    seed: int
    format: str
    tied: bool
    embedding: int = 256
    vocabulary: int = 384
    heads: int = 4
    kv_heads: int = 2


MODELS = {
    "tiny-llama-f32.gguf": Small(layers=2, ffn=512, seed=11, format="F32", tied=False),
    "tiny-llama-bf16.gguf": Small(layers=3, ffn=768, seed=12, format="BF16", tied=True),
}
FILE_TYPES = {"F32": 0, "BF16": 32}


def write(path: Path, model: Small) -> None:
    out = gguf.GGUFWriter(str(path), "llama")
    out.add_name("synthetic")
    out.add_block_count(model.layers)
    out.add_context_length(2048)
    out.add_embedding_length(model.embedding)
    out.add_feed_forward_length(model.ffn)
    out.add_head_count(model.heads)
    out.add_head_count_kv(model.kv_heads)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_rope_dimension_count(model.embedding // model.heads)
    out.add_vocab_size(model.vocabulary)
    out.add_file_type(FILE_TYPES[model.format])
    _vocabulary(out, model.vocabulary)
    rng = np.random.default_rng(model.seed)
    for name, shape in _shapes(model):
        if len(shape) == 1:
            out.add_tensor(name, np.ones(shape, np.float32))
            continue
        x = rng.standard_t(6, size=shape).astype(np.float32) * np.float32(0.02)
        kind = gguf.GGMLQuantizationType[model.format]
        out.add_tensor(name, x if model.format == "F32" else gguf.quants.quantize(x, kind), raw_dtype=kind)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def _vocabulary(out: gguf.GGUFWriter, count: int) -> None:
    special = [b"<unk>", b"<s>", b"</s>"] + [f"<0x{byte:02X}>".encode() for byte in range(256)]
    words = [f"t{i}".encode() for i in range(count - len(special))]
    out.add_tokenizer_model("llama")
    out.add_token_list(special + words)
    out.add_token_scores([0.0 if i < len(special) else -float(i) for i in range(count)])
    out.add_token_types([2, 3, 3] + [6] * 256 + [1] * len(words))
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    out.add_unk_token_id(0)


def _shapes(model: Small):
    e, f, kv = model.embedding, model.ffn, model.embedding // model.heads * model.kv_heads
    yield "token_embd.weight", (model.vocabulary, e)
    for layer in range(model.layers):
        for name, shape in (
            ("attn_norm", (e,)), ("attn_q", (e, e)), ("attn_k", (kv, e)), ("attn_v", (kv, e)), ("attn_output", (e, e)),
            ("ffn_norm", (e,)), ("ffn_gate", (f, e)), ("ffn_down", (e, f)), ("ffn_up", (f, e)),
        ):  # fmt: skip
            yield f"blk.{layer}.{name}.weight", shape
    yield "output_norm.weight", (e,)
    if not model.tied:
        yield "output.weight", (model.vocabulary, e)


def write_imatrix(path: Path, model: Path, seed: int) -> None:
    """Seeded importances for every matrix of a model but the embedding, in the GGUF form."""
    rng = np.random.default_rng(seed)
    out = gguf.GGUFWriter(str(path), "imatrix")
    out.add_type("imatrix")
    out.add_array("imatrix.datasets", ["synthetic"])
    out.add_uint32("imatrix.chunk_count", 10)
    out.add_uint32("imatrix.chunk_size", 512)
    with ql.open_checkpoint(model) as checkpoint:
        for t in checkpoint.tensors.values():
            if len(t.shape) > 1 and t.name != "token_embd.weight":
                out.add_tensor(t.name + ".in_sum2", (rng.standard_gamma(0.4, (1, t.n)) * 5120).astype(np.float32))
                out.add_tensor(t.name + ".counts", np.full((1, 1), 5120, np.float32))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module", params=MODELS)
def source(request, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("source") / request.param
    write(path, MODELS[request.param])
    if sha256(path) != GOLDEN[request.param]["sha256"]:
        pytest.fail("the input differs from the one that llama-quantize was given: has the gguf package changed?")
    write_imatrix(path.with_suffix(".imatrix.gguf"), path, MODELS[request.param].seed)
    return path


@pytest.mark.parametrize("variant", ["", "+imatrix", "+pure"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_same_file_as_llama_quantize(source, tmp_path, monkeypatch, recipe, variant):
    expected = GOLDEN[source.name]["results"].get(recipe + variant)
    if expected is None:
        pytest.skip("llama-quantize was not run for this combination")
    monkeypatch.chdir(source.parent)  # the name of the importance matrix, as given, is part of the file
    imatrix = Path(GOLDEN[source.name]["imatrix"]) if variant == "+imatrix" else None
    with ql.open_checkpoint(source) as checkpoint:
        plan = ql.plan(checkpoint, recipe, imatrix, pure=variant == "+pure")
        if "sha256" not in expected:
            with pytest.raises(ql.RecipeError, match="needs an importance matrix"):
                ql.run(plan, tmp_path / "out.gguf")
            return
        result = ql.run(plan, tmp_path / "out.gguf")
    assert (result.nbytes, sha256(tmp_path / "out.gguf")) == (expected["bytes"], expected["sha256"])
