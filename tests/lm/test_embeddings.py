"""Encoders run, poolings are what they say, and agreement measures what moved."""

import copy
import json
from dataclasses import replace

import arch_models
import numpy as np
import pytest
import tiny_models

import quantlib as ql
from quantlib.architectures import KNOWN
from quantlib.checkpoints import MetadataValue, gguf_view
from quantlib.cli import main
from quantlib.lm.embedding import (
    agreement,
    compare_embeddings,
    load_embedder,
    pooled,
    read_sentences,
    tokens_of,
)
from quantlib.lm.encoder import buckets
from quantlib.lm.encoder_loading import load_encoder
from quantlib.lm.nonlinear import erf_gelu, softmax

ENCODED = (*arch_models.encoded(), "bert_classifier")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return arch_models.write("bert_classifier", tmp_path_factory.mktemp("encoder") / "bert_classifier")


def written_out(encoder, tokens: list[int]) -> np.ndarray:
    """The same computation token by token, without tricks, in float64."""
    w = {name: np.asarray(encoder.weight(name), np.float64) for name in encoder.weights}

    def norm(x, name):
        return (x - x.mean()) / np.sqrt(x.var() + encoder.shape.epsilon) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def product(x, name):
        return w[f"{name}.weight"] @ x + w[f"{name}.bias"]

    def gelu(x):
        from math import erf

        return x / 2 * (1 + np.vectorize(erf)(x / np.sqrt(2)))

    first = w["token_types.weight"][0]
    xs = [norm(w["token_embd.weight"][t] + w["position_embd.weight"][i] + first, "token_embd_norm")
          for i, t in enumerate(tokens)]  # fmt: skip
    for layer in range(encoder.shape.layers):
        p = f"blk.{layer}."
        qs, ks, vs = ([product(x, f"{p}attn_{part}").reshape(encoder.shape.heads, -1) for x in xs] for part in "qkv")
        mixed = []
        for q in qs:
            heads = []
            for h in range(encoder.shape.heads):
                scores = np.exp([q[h] @ k[h] / np.sqrt(q.shape[1]) for k in ks])
                heads.append(sum(s * v[h] for s, v in zip(scores / scores.sum(), vs, strict=True)))
            mixed.append(np.concatenate(heads))
        xs = [norm(x + product(m, f"{p}attn_output"), f"{p}attn_output_norm") for x, m in zip(xs, mixed, strict=True)]
        xs = [norm(x + product(gelu(product(x, f"{p}ffn_up")), f"{p}ffn_down"), f"{p}layer_output_norm") for x in xs]
    return np.array(xs)


def test_an_encoder_computes_what_is_written_out(folder):
    with ql.open_checkpoint(folder) as checkpoint:
        encoder = load_encoder(checkpoint)
        tokens = [2, 7, 31, 7, 90, 3]
        np.testing.assert_allclose(encoder.hidden(np.array(tokens)), written_out(encoder, tokens), atol=1e-4)
        with pytest.raises(ql.CheckpointError, match="longer than the model's"):
            encoder.hidden(np.zeros(encoder.shape.context + 1, int))


@pytest.mark.parametrize("name", arch_models.encoded())
def test_encoders_compute_what_transformers_does(tmp_path, name):
    with ql.open_checkpoint(arch_models.write(name, tmp_path / "m")) as checkpoint:
        hidden = load_encoder(checkpoint).hidden(arch_models.encoder_tokens(name))
    np.testing.assert_allclose(hidden[[0, 99, 199]], arch_models.encoded()[name], atol=1e-3)


def test_every_encoder_is_tried():
    tried = {arch_models.cases()[name]["gguf"]["metadata"]["general.architecture"]["value"] for name in ENCODED}
    assert {known.name for known in KNOWN if known.encodes} == tried | {"t5encoder"}


def test_distances_fall_into_buckets_as_t5_has_them():
    """One by one up to a quarter of the numbers, then in stretches that grow; those behind in the other half."""
    found = buckets(300, 32)
    assert found[0, :9].tolist() == [0, 17, 18, 19, 20, 21, 22, 23, 24]
    assert found[:9, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert found[0, 11] == 24 and found[0, 12] == 25  # 8 + 8 ln(12/8) / ln(16) = 9.17
    assert found[0, 128:].tolist() == [31] * 172 and (np.diff(found[0]) >= 0).all()


@pytest.mark.parametrize(("change", "said"), [
    ({"t5.attention.relative_buckets_count": 7}, "attn_rel_b.weight in the shape"),
    ({"t5.attention.head_count": 5}, "in the shape"),
    ({"t5.block_count": 0}, "t5.block_count, or not as a count"),
    ({"t5.attention.layer_norm_epsilon": 2.0, "t5.attention.layer_norm_rms_epsilon": 2.0}, "do not fit"),
])  # fmt: skip
def test_numbers_that_do_not_fit_an_encoder_are_named(tmp_path, change, said):
    with ql.open_checkpoint(arch_models.write("t5", tmp_path / "t5")) as checkpoint:
        view = gguf_view(checkpoint)
        metadata = view.metadata | {k: MetadataValue("uint32", v) for k, v in change.items()}
        wrong = replace(view, kind="gguf", metadata=metadata)
        with pytest.raises(ql.CheckpointError, match=said):
            load_encoder(wrong)


def test_a_mixture_of_experts_encodes(tmp_path):
    """Every second layer of Nomic's second model has experts; with one expert for all it is a plain layer."""
    case = copy.deepcopy(arch_models.cases()["nomic_bert"])
    config, shapes = case["files"]["config.json"], case["weights"]["shapes"]
    config |= {"moe_every_n_layers": 2, "num_experts": 4, "moe_top_k": 2, "activation_function": "gelu"}
    width, inner = config["n_embd"], config["n_inner"]
    for name in [n for n in shapes if "mlp" in n]:
        del shapes[name]
    shapes["encoder.layers.0.mlp.fc1.weight"] = [inner, width]
    shapes["encoder.layers.0.mlp.fc2.weight"] = [width, inner]
    shapes["encoder.layers.1.mlp.router.layer.weight"] = [4, width]
    for part in ("w1", "w2"):
        shapes[f"encoder.layers.1.mlp.experts.mlp.{part}"] = [4 * inner, width]
    with ql.open_checkpoint(arch_models.write("nomic_bert", tmp_path / "m", case)) as checkpoint:
        assert gguf_view(checkpoint).architecture == "nomic-bert-moe"
        encoder = load_encoder(checkpoint)
    x = np.random.default_rng(1).standard_normal((5, width)).astype(np.float32)
    scores = softmax(x @ encoder.weight("blk.1.ffn_gate_inp.weight").T)
    w1, w2 = (arch_models.weights(case["weights"])[f"encoder.layers.1.mlp.experts.mlp.{p}"].reshape(4, inner, width)
              for p in ("w1", "w2"))  # fmt: skip
    each = np.stack([erf_gelu(x @ w1[e].T) @ w2[e] for e in range(4)], axis=1)
    for row, best in enumerate(np.argsort(-scores)[:, :2]):
        expected = (scores[row, best, None] * each[row, best]).sum(axis=0)
        np.testing.assert_allclose(encoder._forward(x, "blk.1.")[row], expected, atol=1e-4)


def test_poolings():
    hidden = np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(pooled(hidden, "mean"), hidden.mean(axis=0))
    np.testing.assert_array_equal(pooled(hidden, "cls"), hidden[0])
    np.testing.assert_array_equal(pooled(hidden, "last"), hidden[-1])
    with pytest.raises(ql.CheckpointError, match="mean, cls, last"):
        pooled(hidden, "most")


def test_the_same_vectors_agree_and_turned_ones_do_not():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((9, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    same = agreement(vectors, vectors)
    assert same.nearest == 1 and not same.ranks.any()
    np.testing.assert_allclose(same.cosine, 1)
    rotation = np.linalg.qr(rng.standard_normal((16, 16)))[0]
    turned = agreement(vectors, vectors @ rotation)  # no neighbour moves where all turn together
    assert turned.nearest == 1 and not turned.ranks.any() and turned.cosine.mean() < 0.9
    moved = agreement(vectors, np.roll(vectors, 1, axis=0))
    assert moved.ranks.mean() > 1 and moved.nearest < 1


def test_two_that_change_places_moved_by_one():
    before = np.array([[1, 0], [0.9, 0.1], [0.8, 0.2], [0, 1]], float)
    after = before[[0, 2, 1, 3]]  # seen from the first, the second and third changed places
    assert agreement(before, after).ranks[0] == pytest.approx(2 / 3)


def test_quantizing_turns_embeddings_a_little(folder, tmp_path, capsys):
    """More bits, less turned; on the command line as in Python."""
    texts, lowest = tmp_path / "texts.txt", []
    texts.write_text("a b c\nd e f\na d\nb e c\n")
    for recipe in ("Q8_0", "Q2_K"):
        out = tmp_path / f"{recipe}.gguf"
        with ql.open_checkpoint(folder) as checkpoint:
            ql.run(ql.plan(checkpoint, recipe), out)
        assert main(["embeddings", str(out), "--baseline", str(folder), "--text", str(texts), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        lowest.append(found["cosine_lowest"])
        assert found["sentences"] == 4
    assert 0.99 < lowest[0] < 1
    assert lowest[1] < lowest[0]


def test_words_are_cut_alike_from_a_folder_and_from_its_file(folder, tmp_path):
    texts = [*read_sentences(), "a b, c!", "ä É 漢字 unknownish"]
    with ql.open_checkpoint(folder) as checkpoint:
        ql.run(ql.plan(checkpoint, "F16"), tmp_path / "m.gguf")
        with ql.open_checkpoint(tmp_path / "m.gguf") as file:
            assert tokens_of(file, texts) == tokens_of(checkpoint, texts)


def test_a_language_model_gives_its_last_tokens_vector(tmp_path):
    with ql.open_checkpoint(tiny_models.write("llama_bpe", tmp_path / "m")) as checkpoint:
        embedder = load_embedder(checkpoint)
        assert embedder.pooling == "last"
        tokens = tokens_of(checkpoint, ["one two", "two one"])
        vectors = embedder(tokens)
        hidden = embedder.model.hidden(np.array(tokens[1]))[-1]
        np.testing.assert_allclose(vectors[1], hidden / np.linalg.norm(hidden), atol=1e-5)
        assert compare_embeddings(checkpoint, checkpoint, ["one", "two", "three"]).nearest == 1


def test_the_projects_sentences_are_there():
    sentences = read_sentences()
    assert len(sentences) == len(set(sentences)) == 48
