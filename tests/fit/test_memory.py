"""Memory and speed against published facts, and against what the checkpoint files themselves hold."""

import json

import pytest

import quantlib as ql
from quantlib.checkpoints import gguf_view
from quantlib.cli import main
from quantlib.cli.fit import amount
from quantlib.fit import KNOWN, advise, attention_of, cache_bytes, needs, read_bytes, subject, weigh
from quantlib.fit.memory import OFFERED, Need, Weighed


def attention(name: str):
    return attention_of(subject(name).view)


@pytest.mark.parametrize(
    ("name", "kib"),
    [("Llama-3-8B", 128), ("Llama-2-7B", 512), ("Llama-3-70B", 320), ("Qwen2.5-7B", 56), ("Mixtral-8x7B", 128)],
)
def test_cache_of_one_token(name, kib):
    """2 · layers · kv_heads · head_dim · 2 bytes: for Llama-3-8B 2 · 32 · 8 · 128 · 2."""
    assert cache_bytes(attention(name), 1) == kib * 1024
    assert cache_bytes(attention(name), 8192) == 8192 * kib * 1024


def test_windows_keep_fewer_tokens():
    gemma = attention("Gemma-3-27B")
    assert [layer.window for layer in gemma[:7]] == [1024] * 5 + [0, 1024]
    full = sum(not layer.window for layer in gemma)
    token = gemma[0].values * 2
    assert cache_bytes(gemma, 8192) == token * (full * 8192 + (62 - full) * 1024)


def test_a_quantized_cache_is_as_much_smaller_as_its_format():
    layers = attention("Llama-3-8B")
    assert cache_bytes(layers, 8192, "Q8_0") * 16 == cache_bytes(layers, 8192) * 8.5


def test_experts_are_read_by_the_few_that_are_used():
    found = subject("Mixtral-8x7B")
    planned = ql.plan(found.checkpoint, "Q8_0")
    everything = sum(t.nbytes for t in planned.tensors)
    assert read_bytes(planned, 8, 2) == pytest.approx(12.9e9 * 8.5 / 8, rel=0.02)  # "uses 13B active parameters"
    assert read_bytes(planned, 8, 8) == pytest.approx(everything - planned.tensors[1].nbytes, rel=0.01)


def test_a_tied_embedding_is_read_whole():
    planned = ql.plan(KNOWN["Llama-3.2-1B"].checkpoint(), "Q8_0")
    assert read_bytes(planned) == sum(t.nbytes for t in planned.tensors)


def test_an_opened_checkpoint_gives_its_own_shape(demo_model):
    checkpoint = ql.open_checkpoint(demo_model)
    layers = attention_of(gguf_view(checkpoint))
    assert cache_bytes(layers, 1) == 2 * 8 * 2 * 64 * 2
    weighed = weigh(checkpoint, gguf_view(checkpoint), ["Q4_K_M"])
    need = needs(weighed, gguf_view(checkpoint), 512)[0]
    assert need.weighed.nbytes == sum(t.nbytes for t in ql.plan(checkpoint, "Q4_K_M").tensors)


@pytest.fixture(scope="module")
def llama_3_8b():
    found = subject("Llama-3-8B")
    return needs(weigh(found.checkpoint, found.view), found.view, 8192)


def test_fewer_bits_need_less_and_run_faster(llama_3_8b):
    by_size = sorted(llama_3_8b, key=lambda n: n.total)
    speeds = [n.speed(1e12) for n in by_size]
    assert speeds == sorted(speeds, reverse=True)
    assert {n.recipe for n in llama_3_8b} <= set(OFFERED)


@pytest.mark.parametrize(
    ("gigabytes", "recipe"), [(24, "Q8_0"), (8, "Q5_K_M"), (6.3, "Q4_K_M"), (5.9, "IQ4_XS"), (4.5, "IQ2_M"), (2, None)]
)
def test_plain_advice(llama_3_8b, gigabytes, recipe):
    advice = advise(llama_3_8b, int(gigabytes * 1e9))
    assert advice.recipe == recipe
    assert advice.why


def test_a_cache_larger_than_the_weights_is_told():
    assert "cache" in advise([Need(Weighed("Q8_0", 8.5, 10, 10), 100, 0)], 50).why


@pytest.mark.parametrize(
    ("text", "bytes"), [("24GB", 24e9), ("16GiB", 2**34), ("512M", 512e6), ("1008GB/s", 1008e9), ("1.5gb", 1.5e9)]
)
def test_amounts_as_people_write_them(text, bytes):
    assert amount(text) == bytes


def test_the_command(capsys):
    assert main(["fit", "8B", "--memory", "8GB", "--bandwidth", "272GB/s"]) == 0
    shown = capsys.readouterr().out
    assert "assumed: the shape of Llama-3-8B" in shown
    assert "Run Q5_K_M: " in shown
    assert main(["fit", "Llama-3-8B", "--memory", "8GB", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["recipe"] == "Q5_K_M"
    assert next(r for r in document["recipes"] if r["recipe"] == "Q4_K_M")["cache"] == 2**30
    assert main(["fit", "no-such-model", "--memory", "8GB"]) == 1
    assert "Traceback" not in capsys.readouterr().err
