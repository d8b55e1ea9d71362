"""One truth: the command, its JSON and the Python print the same answer; speeds against published ones."""

import json
import shlex

import pytest

import quantlib as ql
from quantlib.cli import main
from quantlib.cli.fit import amount, memory
from quantlib.errors import QuantlibError
from quantlib.fit import MACHINES, ask, machine_named, subject, words
from quantlib.fit.machines import cards, own
from quantlib.fit.published import LLAMA_3_8B_BPW
from quantlib.fit.speed import APPLE, CARDS, EACH_LAYER, LLAMA_3_1_8B, M1_MAX_27B, each_layer, share_of
from quantlib.fit.weighing import weigh


@pytest.mark.parametrize(
    ("model", "machine", "context", "cache"),
    [("Qwen3-4B", MACHINES["GeForce RTX 4060, 8 GB"], 8192, "FP16"),
     ("3B", own("mac", 16, 100e9), 32_768, "Q8_0"),
     ("SmolLM2-1.7B", own("card", 6, 288e9, 2, 16), 4096, "FP16"),
     ("1B", own("card", 8, 288e9), 8192, "FP16"),
     ("gpt-oss-20b", cards("GeForce RTX 3060", 12, 360e9, mib=12_288, tflops=12.7).with_memory(64), 8192, "Q4_0")],
)  # fmt: skip
def test_the_command_prints_what_python_prints(model, machine, context, cache, capsys):
    answer = ask(model, machine, context, cache)
    arguments = shlex.split(words.shell(answer, model))[3:]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    same = printed.split("\n\nrecipe ")[0]
    name = "GeForce RTX 3060, 12 GB" if "3060" in machine.name else machine.name
    assert same.replace(name, "") == answer.text.replace(name, "")
    assert main([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["answer"] == answer.headline and document["command"] == words.command(answer)
    assert document["recipe"] == answer.option.recipe
    assert document["recipes"] == json.loads(json.dumps(words.table(answer)))


def test_every_sum_adds_up():
    answer = ask("Qwen3-4B", "GeForce RTX 4060, 8 GB")
    for row in words.table(answer):
        if row["fits"]:
            assert row["weights"] + row["cache"] + row["work"] == row["total"] <= answer.machine.usable


def test_a_file_that_is_quantized_already(demo_model, tmp_path, capsys):
    path = tmp_path / "demo-Q4_K_M.gguf"
    ql.run(ql.plan(ql.open_checkpoint(demo_model), "Q4_K_M"), path)
    answer = ask(str(path), "Apple M1, 8 GB", 512)
    assert answer.option is answer.file and answer.file.recipe == "Q4_K_M"
    assert answer.file.weighed.file == path.stat().st_size
    assert "Run this file as it is" in answer.headline
    assert "Quantizing them again adds the new errors" in answer.text
    tiny = own("computer", 3.0155, 50e9)
    other = ask(str(path), tiny, 512)
    assert other.option is not other.file
    assert "take one that was made from the original" in other.text
    # The recipes beside it are those of the original, not of the file.
    planned = ql.plan(ql.open_checkpoint(demo_model), "Q8_0")
    assert next(o for o in other.options if o.recipe == "Q8_0").weighed.nbytes == planned.tensor_nbytes


def test_an_opened_checkpoint_is_weighed_to_the_byte(demo_model):
    answer = ask(str(demo_model), "Laptop, DDR4-3200, 8 GB", 512)
    assert "To make it: quantize this model to Q8_0, by " in answer.text
    for option in answer.options[:6]:
        planned = ql.plan(ql.open_checkpoint(demo_model), option.recipe, important=option.imatrix)
        assert option.weighed.nbytes == planned.tensor_nbytes
        assert option.weighed.file == planned.nbytes


def test_experts_are_read_by_the_few_that_are_used():
    found = subject("Mixtral-8x7B")
    weighed = weigh(found.checkpoint, found.view, ["Q8_0"])[0]
    assert weighed.read == pytest.approx(12.9e9 * 8.5 / 8, rel=0.02)  # "uses 13B active parameters"


def test_a_shared_embedding_is_read_whole_and_loaded_once():
    found = subject("Llama-3.2-1B")
    weighed = weigh(found.checkpoint, found.view, ["Q8_0"])[0]
    assert weighed.read == pytest.approx(weighed.nbytes, rel=1e-4)
    assert weighed.parts.loaded == weighed.nbytes == weighed.parts.on_cards


@pytest.mark.parametrize("row", APPLE + M1_MAX_27B, ids=lambda row: f"{row.machine} {row.recipe}")
def test_speeds_are_near_published_ones(row):
    layers = 32 if row in APPLE else 64
    seconds = row.nbytes / (row.bandwidth * share_of(row.recipe)) + layers * EACH_LAYER
    assert 0.75 < 1 / seconds / row.speed < 1.25
    assert row.speed < row.bandwidth / row.nbytes, "the bound holds"


@pytest.mark.parametrize(("name", "recipe"), CARDS)
def test_speeds_of_cards_are_near_published_ones(name, recipe):
    """Above and below four bits: a fast card unpacks i-quants nearly as fast as it reads them."""
    machine, nbytes = MACHINES[name], LLAMA_3_1_8B * LLAMA_3_8B_BPW.get(recipe, 4.65) / 8
    seconds = nbytes / (machine.bandwidth * share_of(recipe, machine.bandwidth, machine.unpacking))
    seconds += 32 * each_layer(machine)
    assert 0.75 < 1 / seconds / CARDS[name, recipe] < 1.25
    assert CARDS[name, recipe] < machine.bandwidth / nbytes, "the bound holds"


def test_below_four_bits_the_bound_is_far_off():
    """llama.cpp's table: Llama-3.1-8B in IQ2_M, 2.94 GB, 74.44 tokens a second; in F16, 16.1 GB, 29.17."""
    assert share_of("IQ2_M") / share_of("F16") == pytest.approx(2.94 * 74.44 / (16.06 * 29.17), rel=0.01)
    assert share_of("IQ2_M") < 0.5


@pytest.mark.parametrize(
    ("text", "bytes"), [("24GB", 24e9), ("16GiB", 2**34), ("512M", 512e6), ("1008GB/s", 1008e9), ("1.5gb", 1.5e9)]
)
def test_amounts_as_people_write_them(text, bytes):
    assert amount(text) == bytes


@pytest.mark.parametrize(("text", "gib"), [("24GB", 24), ("16GiB", 16), ("24564MiB", 23.988)])
def test_memory_is_counted_as_it_is_sold(text, gib):
    assert memory(text) == pytest.approx(gib, abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["8B"], "--memory 24GB"), (["8B", "--machine", "abacus"], "no machine that is known"),
     (["no-such-model", "--memory", "8GB"], "no-such-model"),
     (["8B", "--memory", "8GB", "--cards", "999"], "64 cards")],
)  # fmt: skip
def test_what_cannot_be_answered_gets_a_sentence(arguments, says, capsys):
    assert main(["fit", *arguments]) == 1
    said = capsys.readouterr().err
    assert says in said and "Traceback" not in said and said.count("\n") == 1


def test_machines_are_named_in_part(capsys):
    assert machine_named("rtx 3060").name == "GeForce RTX 3060, 12 GB"
    with pytest.raises(QuantlibError):
        machine_named("")
    assert main(["fit", "8B", "--machine", "list"]) == 0
    assert capsys.readouterr().out.splitlines() == list(MACHINES)
