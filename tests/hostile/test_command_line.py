"""The command line and bad input: status 1 or 2, a sentence on standard error, no traceback, no escape sequences."""

import json
import os

import numpy as np
import pytest
from safetensors.numpy import save_file

from quantlib.cli import main
from quantlib.cli.words import UNSHOWN, as_json, printable

MANY = "9" * 5000
EVIL = "\x1b]0;owned\x07\x1b[2J\u202egpj\u2069\x9b31m\r\nquantlib: done"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    (folder / "empty").write_bytes(b"")
    (folder / "noise.bin").write_bytes(np.random.default_rng(0).bytes(4096))
    (folder / "text.txt").write_text("A short text.")
    (folder / "latin.txt").write_bytes("für".encode("latin-1"))
    (folder / "digits.toml").write_text(f"base = {MANY}\n")
    (folder / "digits.json").write_text(f'{{"model": {MANY}}}')
    (folder / "deep.json").write_text("[" * 100_000)
    (folder / "odd.dat").write_bytes(b"\xff\xff\xff\x7f" + bytes(40))
    (folder / "long.dat").write_bytes((1).to_bytes(4, "little") + (2**31 - 1).to_bytes(4, "little") + bytes(64))
    for name, config in (("many", f'{{"vocab_size": {MANY}}}'), ("nested", "[" * 100_000)):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(config)
        save_file({"a.weight": np.ones((4, 256), np.float32)}, folder / name / "model.safetensors")
    os.mkfifo(folder / "pipe")
    return folder


def outcome(arguments, capsys) -> tuple[int, str, str]:
    try:
        status = main(list(arguments))
    except SystemExit as ended:  # argparse
        status = ended.code
    said = capsys.readouterr()
    return status, said.out, said.err


SOURCES = ("empty", "noise.bin", "text.txt", "digits.json", "deep.json", "odd.dat", "many", "nested", "pipe", "gone",
           "", ".", "n" * 300, "a\0b", "hf://", EVIL)  # fmt: skip
COMMANDS = ("inspect {}", "inspect {} --statistics --json", "quantize {} out.gguf", "export {} out --as fp8",
            "imatrix {} --text text.txt -o out.gguf", "perplexity {}", "generate {} word", "fit {} --memory 8GB",
            "compare {}")  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_sources_that_are_no_models(files, monkeypatch, capsys, command):
    monkeypatch.chdir(files)
    before = sorted(os.listdir())
    for source in SOURCES:
        status, out, err = outcome([part.format(source) for part in command.split()], capsys)
        assert status == 1, (source, out, err)
        assert out == "" and err.startswith("quantlib: ") and err.count("\n") == 1, (source, err)
        assert not UNSHOWN.search(err), source
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    "arguments",
    [
        "generate demo word --tokens {}",
        "generate demo word --temperature {}",
        "generate demo word --seed {}",
        "quantize demo out.gguf --threads {}",
        "quantize demo out.gguf --recipe auto:{}bpw",
        "quantize demo out.gguf --recipe auto:{}GB",
        "quantize demo out.gguf --recipe {}",
        "perplexity demo --context {}",
        "imatrix demo --text text.txt -o out.gguf --context {}",
        "export demo out --as gptq --context {}",
        "compare demo --bits {}",
        "compare demo --group {}",
        "fit demo --memory {}",
        "fit demo --memory {}GB",
        "fit demo --memory 8GB --context {}",
        "fit demo --memory 8GB --bandwidth {}",
    ],
)
@pytest.mark.parametrize("value", [MANY, "nan", "inf", "-1", "", "1e999", "²", "0x10"])
def test_numbers_that_mean_nothing(capsys, arguments, value):
    status, out, err = outcome([part.format(value) for part in arguments.split()], capsys)
    assert (status, out) == (2, "")
    assert "error: " in err and len(err) < 3000


@pytest.mark.parametrize("bare", ["8", "24", "1000", "0", "0GB"])
def test_memory_has_a_unit(capsys, bare):
    status, _, err = outcome(["fit", "8B", "--memory", bare], capsys)
    assert status == 2 and "GB" in err.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments",
    [
        "quantize {demo} out.gguf --recipe digits.toml",
        "quantize {demo} out.gguf --imatrix odd.dat",
        "quantize {demo} out.gguf --imatrix long.dat",
        "quantize {demo} out.gguf --imatrix empty",
        "quantize {demo} out.gguf --imatrix pipe",
        "quantize {demo} out.gguf --tensor-format ((=Q4_K",
        "quantize {demo} out.gguf --output-format Q99",
        "perplexity {demo} --text latin.txt",
        "perplexity {demo} --text gone",
        "perplexity {demo} --text pipe/x",
        "perplexity {demo} --sweep ,",
        "perplexity {demo} --sensitivity Q99",
        "inspect {demo} --tensor nothing",
        "inspect {demo} --against many/model.safetensors",
    ],
)
def test_side_files_and_words_that_are_wrong(files, demo_model, monkeypatch, capsys, arguments):
    monkeypatch.chdir(files)
    status, out, err = outcome([part.format(demo=demo_model) for part in arguments.split()], capsys)
    assert (status, out) == (1, ""), err
    assert err.startswith("quantlib: ") and "Traceback" not in err


def test_an_empty_prompt_begins_a_text(demo_model, capsys):
    status, out, err = outcome(["generate", str(demo_model), "", "--tokens", "3", "--json"], capsys)
    assert (status, err) == (0, "") and len(json.loads(out)["tokens"]) <= 3


def test_names_from_a_file_do_not_reach_the_terminal(tmp_path, capsys):
    save_file({EVIL + ".weight": np.ones((4, 256), np.float32)}, tmp_path / "m.safetensors", {"note": EVIL})
    for more in ([], ["--json"], ["--statistics"]):
        status, out, err = outcome(["inspect", str(tmp_path / "m.safetensors"), *more], capsys)
        assert status == 0, err
        assert not UNSHOWN.search(out + err)
    assert json.loads(as_json({EVIL: EVIL})) == {EVIL: EVIL}


def test_text_keeps_its_letters_and_lines():
    text = "für 模型 🙂\u200d: a\n\tb"
    assert printable(text, lines=True) == text
    assert printable("a\nb") == "a\\nb"
    assert not UNSHOWN.search(printable(EVIL, lines=True))
