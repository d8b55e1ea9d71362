"""What the command line does to whole files: hashes, metadata, parts, comparison; and what holds for every command."""

import hashlib
import json
import re
import shlex
import subprocess
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import quantlib as ql
from quantlib.checkpoints import MetadataValue, write_gguf
from quantlib.checkpoints.rewriting import parse_setting
from quantlib.cli import COMMANDS, main, parsers
from quantlib.cli.shared import out_last

RNG = np.random.default_rng(5)
METADATA = {
    "general.architecture": MetadataValue("string", "llama"),
    "general.name": MetadataValue("string", "ü\n"),
    "llama.context_length": MetadataValue("uint32", 512),
    "tokenizer.ggml.tokens": MetadataValue("array[string]", ["<s>", "", "é"]),
    "tokenizer.ggml.scores": MetadataValue("array[float32]", [0.5, -1.0, 2.0]),
}
FORMATS = ("F32", "Q8_0", "F16", "Q4_K", "I32", "Q6_K", "F32")


@pytest.fixture
def model(tmp_path):
    """A GGUF file of seven tensors of several formats, shapes and sizes."""
    sizes = {"F32": 1024, "Q8_0": 272, "F16": 512, "Q4_K": 144, "I32": 1024, "Q6_K": 210}  # bytes of 256 values
    tensors = []
    for i, format in enumerate(FORMATS):
        rows = 3 * i + 1
        data = RNG.integers(0, 256, rows * sizes[format], dtype=np.uint8)
        tensors.append(((f"t{i}.weight", (rows, 256), format), [data]))
    path = tmp_path / "m.gguf"
    with path.open("wb") as file:
        write_gguf(file, METADATA, tensors)
    return path


@pytest.fixture
def said(capsys):
    """The command's status, standard output and standard error."""

    def call(*words):
        status = main([str(word) for word in words])
        return status, *capsys.readouterr()

    return call


# --- hash ---


def test_hashes_are_those_of_the_bytes(model, said):
    status, out, _ = said("hash", model, "--json")
    found = json.loads(out)
    assert status == 0
    assert found["files"] == {"m.gguf": hashlib.sha256(model.read_bytes()).hexdigest()}
    with ql.open_checkpoint(model) as checkpoint:
        assert found["tensors"] == {t.name: hashlib.sha256(t.raw().tobytes()).hexdigest() for t in checkpoint}
    _, text, _ = said("hash", model, "--files-only")
    assert text.splitlines()[0] == f"{found['files']['m.gguf']}  m.gguf"
    assert found["structure"] in text and "t0.weight" not in text


def test_the_structure_is_the_same_for_other_weights_of_the_same_make(tmp_path, said):
    structures = {}
    for name, arrays in {
        "one": {"a": np.ones((2, 32), "f4"), "b": np.ones(3, "f4")},
        "other order and weights": {"b": np.zeros(3, "f4"), "a": np.zeros((2, 32), "f4")},
        "other shape": {"a": np.ones((32, 2), "f4"), "b": np.ones(3, "f4")},
        "other format": {"a": np.ones((2, 32), "f2"), "b": np.ones(3, "f4")},
        "other name": {"c": np.ones((2, 32), "f4"), "b": np.ones(3, "f4")},
    }.items():
        save_file(arrays, tmp_path / "x.safetensors")
        structures[name] = json.loads(said("hash", tmp_path / "x.safetensors", "--json")[1])["structure"]
    assert structures["one"] == structures["other order and weights"]
    assert len(set(structures.values())) == 4


# --- metadata ---


def test_metadata_is_printed_in_aligned_lines(model, said):
    _, out, _ = said("metadata", model)
    lines = out.splitlines()
    assert len(lines) == len(METADATA) + 1
    assert len({re.search(r"(string|uint32|array\[)", line).start() for line in lines[1:]}) == 1
    assert said("metadata", model, "--key", "llama.context_length")[1] == "512\n"


def test_other_metadata_in_a_new_file_and_the_same_tensors(model, tmp_path, said):
    before = model.read_bytes()
    words = ("--set", "general.name=Mine=ours", "--set", "new.flag=true", "--delete", "tokenizer.ggml.scores")
    status, out, _ = said("metadata", model, *words, "-o", tmp_path / "n.gguf")
    assert (status, model.read_bytes()) == (0, before)
    assert "written and verified" in out
    with ql.open_checkpoint(model) as old, ql.open_checkpoint(tmp_path / "n.gguf") as new:
        assert list(new.metadata) == [*(k for k in METADATA if k != "tokenizer.ggml.scores"), "new.flag"]
        assert (new.value("general.name"), new.value("new.flag")) == ("Mine=ours", True)
        assert [(t.name, t.shape, t.format, t.raw().tobytes()) for t in new] == [
            (t.name, t.shape, t.format, t.raw().tobytes()) for t in old
        ]


def test_metadata_that_is_changed_and_changed_back_is_the_same_file(model, tmp_path, said):
    said("metadata", model, "--set", "general.name=x", "-o", tmp_path / "n.gguf")
    said("metadata", tmp_path / "n.gguf", "--set", "general.name=ü\n", "-o", tmp_path / "o.gguf")
    assert (tmp_path / "o.gguf").read_bytes() == model.read_bytes()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--set", "general.name=x"), "name the new file with -o"),
        (("-o", "n.gguf"), "say what is to be written"),
        (("--set", "general.name", "-o", "n.gguf"), "KEY=VALUE"),
        (("--set", "llama.context_length=many", "-o", "n.gguf"), "of the type uint32, and 'many' is not"),
        (("--set", "llama.context_length=-1", "-o", "n.gguf"), "cannot store"),
        (("--set", "tokenizer.ggml.tokens=x", "-o", "n.gguf"), "holds a list"),
        (("--set", "split.count=2", "-o", "n.gguf"), "`split` and `merge` set it"),
        (("--delete", "nothing", "-o", "n.gguf"), "no metadata key 'nothing'"),
        (("--key", "nothing"), "no metadata key 'nothing'"),
        (("--set", "general.name=x", "-o", "m.gguf"), "would be lost"),
        (("--set", "general.name=x", "-o", "other.txt"), "is there already"),
    ],
)
def test_metadata_that_is_not_written(model, said, monkeypatch, words, says):
    monkeypatch.chdir(model.parent)
    (model.parent / "other.txt").write_text("mine")
    before = model.read_bytes()
    status, _, err = said("metadata", model, *words)
    assert status == 1 and says in err, err
    assert model.read_bytes() == before
    assert sorted(p.name for p in model.parent.iterdir()) == ["m.gguf", "other.txt"]


@pytest.mark.parametrize(
    ("text", "type", "value"),
    [
        ("a=int:5", "uint32", 5), ("a=int:-5", "int32", -5), ("a=float:1.5", "float32", 1.5),
        ("a=bool:false", "bool", False),
        ("a=str:5", "string", "5"), ("a=uint64:5", "uint64", 5), ("a=7", "uint32", 7), ("a=-7", "int64", -7),
        ("a=1e3", "float32", 1000.0), ("a=true", "bool", True), ("a=x:y", "string", "x:y"), ("a=", "string", ""),
        ("a=nan", "string", "nan"),
    ],
)  # fmt: skip
def test_settings_as_llama_cpp_writes_them(text, type, value):
    assert parse_setting(text, {}) == ("a", MetadataValue(type, value))


def test_quantize_overrides_metadata(demo_model, tmp_path, said):
    words = ("--override-kv", "general.name=str:Mine", "--override-kv", "mine.new=int:3")
    plan = json.loads(
        said("quantize", demo_model, tmp_path / "q.gguf", "--recipe", "Q8_0", *words, "--dry-run", "--json")[1]
    )
    status, _, err = said("quantize", demo_model, tmp_path / "q.gguf", "--recipe", "Q8_0", *words, "-q")
    assert (status, err) == (0, "")
    assert (tmp_path / "q.gguf").stat().st_size == plan["nbytes"]
    with ql.open_checkpoint(tmp_path / "q.gguf") as checkpoint:
        assert (checkpoint.value("general.name"), checkpoint.value("mine.new")) == ("Mine", 3)


# --- split and merge ---


@pytest.mark.parametrize("how", [("--max-tensors", 2), ("--max-tensors", 1), ("--split-max-tensors", 100), ()])
def test_parts_open_by_the_first_and_merge_to_the_same_file(model, tmp_path, said, how):
    (tmp_path / "parts").mkdir()
    status, out, _ = said("split", model, tmp_path / "parts" / "p", *how, "--json")
    names = [row["part"] for row in json.loads(out)]
    count = len(names)
    assert status == 0
    assert [n.rpartition("/")[2] for n in names] == [f"p-{i + 1:05}-of-{count:05}.gguf" for i in range(count)]
    if count > 1:
        with ql.open_checkpoint(names[0]) as first, ql.open_checkpoint(model) as whole:
            assert list(first.tensors) == list(whole.tensors)
            assert first.value("split.tensors.count") == len(FORMATS)
            assert [k for k in first.metadata if not k.startswith("split.")] == list(METADATA)
        assert said("compare-files", model, names[0], "--ignore-metadata")[0] == 0
    assert said("merge", names[0], "-o", tmp_path / "w.gguf")[0] == 0
    assert (tmp_path / "w.gguf").read_bytes() == model.read_bytes()


def test_parts_of_a_size(model, said, tmp_path, monkeypatch):
    monkeypatch.setattr("quantlib.cli.split.UNITS", {"M": 1000, "G": 10**6})
    _, out, _ = said("split", model, tmp_path / "p", "--max-size", "9M", "--dry-run", "--json")
    rows = json.loads(out)
    assert sum(row["tensors"] for row in rows) == len(FORMATS)
    assert all(row["nbytes"] <= 9000 or row["tensors"] == 1 for row in rows) and len(rows) > 2
    assert [path.name for path in tmp_path.iterdir()] == ["m.gguf"]


def test_what_is_not_split_or_merged(model, demo_model, tmp_path, said):
    said("split", model, tmp_path / "p", "--max-tensors", 3)
    part = tmp_path / "p-00001-of-00003.gguf"
    for words, says in {
        ("split", demo_model, tmp_path / "q"): "is no GGUF file",
        ("split", part, tmp_path / "q"): "is cut into parts",
        ("merge", model, tmp_path / "q.gguf"): "nothing is merged",
        ("merge", tmp_path / "p-00002-of-00003.gguf", tmp_path / "q.gguf"): "open the first",
        ("merge", part, part): "would be lost",
        ("metadata", part, "--set", "a=1", "-o", tmp_path / "q.gguf"): "is cut into parts",
    }.items():
        status, _, err = said(*words)
        assert status == 1 and says in err, (words, err)
    assert not list(tmp_path.glob("q*"))


# --- compare-files ---


def test_files_that_differ_say_in_what(model, tmp_path, said):
    assert said("compare-files", model, model) == (0, "They hold the same.\n", "")
    said("metadata", model, "--set", "general.name=x", "--delete", "tokenizer.ggml.scores", "-o", tmp_path / "n.gguf")
    status, out, _ = said("compare-files", model, tmp_path / "n.gguf", "--json")
    assert (status, {d["name"] for d in json.loads(out)["differences"]}) == (
        1,
        {"general.name", "tokenizer.ggml.scores"},
    )
    assert said("compare-files", model, tmp_path / "n.gguf", "--ignore-metadata")[0] == 0
    data = bytearray(model.read_bytes())
    data[-1000] ^= 1  # in the last of 19 rows of t6
    (tmp_path / "b.gguf").write_bytes(data)
    status, out, _ = said("compare-files", model, tmp_path / "b.gguf")
    assert status == 1
    assert re.search(r"tensor t6\.weight: .* \| .*, other bytes from row 18 on", out)
    assert said("compare-files", model, tmp_path / "none.gguf")[0] == 2


# --- export ---


def test_export_says_what_it_would_do_and_reports_what_it_did(demo_model, tmp_path, said):
    words = ("export", demo_model, "-o", tmp_path / "out", "--as", "fp8", "--threads", 1)
    status, out, _ = said(*words, "--dry-run", "--json")
    outlook = json.loads(out)
    assert status == 0 and not list(tmp_path.iterdir())
    status, out, err = said(*words, "--report", tmp_path / "r.json", "--json")
    assert status == 0, err
    done, report = json.loads(out), json.loads((tmp_path / "r.json").read_text())
    assert [row["name"] for row in done["tensors"]] == [row["name"] for row in outlook["tensors"]]
    assert [row["relative"] for row in report["tensors"]] == [row["relative"] for row in done["tensors"]]
    assert outlook["bpw"] == pytest.approx(done["bpw"], rel=0.02)
    assert "needs --text" in said("export", demo_model, tmp_path / "o", "--as", "gptq", "--dry-run")[2]


# --- every command ---


def test_without_a_command_help_is_printed(said):
    status, out, err = said()
    assert (status, err) == (0, "")
    assert all(re.search(rf"^    {name}\b", out, re.MULTILINE) for name in COMMANDS)


def test_the_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"quantlib {ql.__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_examples_that_are_calls(name):
    parser, commands = parsers([name])
    before, _, examples = commands[name].format_help().partition("\nexamples:\n")
    lines = [line.strip() for line in examples.splitlines()]
    assert lines and all(line.startswith(f"quantlib {name}") for line in lines)
    for line in lines:
        parser.parse_args(shlex.split(line)[1:])
    assert {"--json", "--quiet", "--verbose"} <= set(re.findall(r"--[a-z-]+", before))


@pytest.mark.parametrize(
    ("words", "same"),
    [
        (["a", "b", "--x", "1"], ["a", "b", "--x", "1"]),
        (["-o", "b", "a", "--x", "1"], ["a", "--x", "1", "b"]),
        (["a", "--out=b"], ["a", "b"]),
        (["a", "--out", "b"], ["a", "b"]),
        (["a", "-o"], ["a", "-o"]),
        (["a", "--", "-o", "b"], ["a", "--", "-o", "b"]),
    ],
)
def test_the_output_is_the_last_position_or_anywhere_after_o(words, same):
    assert out_last(words) == same


def test_spellings_of_before_go_on_working():
    for line in (
        "export m out --as gptq --calibration t",
        "export m -o out --as gptq --text t",
        "imatrix m --text t -o i.gguf",
        "imatrix m i.gguf --calibration t",
        "quantize m --recipe Q8_0 out.gguf",
        "compare m --out n",
        "perplexity m --text t --out n",
    ):
        parser, _ = parsers(line.split())
        options = parser.parse_args(line.split())
        assert str(options.out) in ("out", "i.gguf", "out.gguf", "n")


def test_quiet_and_verbose(tmp_path, said):
    save_file({"a.weight": np.ones((2, 32), "f4")}, tmp_path / "x.safetensors")
    words = ("quantize", tmp_path / "x.safetensors", tmp_path / "x.gguf", "--recipe", "Q8_0", "--dry-run")
    assert "note:" in said(*words)[2]
    assert said(*words, "-q")[2] == ""
    assert re.search(r"quantlib: \d+\.\d s, [\d.]+ [MG]B of memory at most\n$", said(*words, "-v")[2])
    assert "Traceback" not in said("inspect", tmp_path / "none")[2]
    assert "Traceback" in said("inspect", tmp_path / "none", "-v")[2]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command_and_its_options(shell, said):
    _, out, _ = said("completion", shell)
    assert all(re.search(rf"\b{name}\b", out) for name in COMMANDS)
    assert ("--recipe" in out) if shell != "fish" else ("-l recipe" in out)


def test_completion_in_bash(said, tmp_path):
    script = tmp_path / "q.bash"
    script.write_text(said("completion", "bash")[1])
    ask = 'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _quantlib; echo "${COMPREPLY[*]}"'
    for line, found in {
        "quantlib comp": "compare compare-files completion",
        "quantlib export --as gp": "gptq",
        "quantlib split --max-t": "--max-tensors",
    }.items():
        done = subprocess.run(
            ["bash", "-c", ask, str(script), *line.split()], capture_output=True, text=True, check=True
        )
        assert sorted(done.stdout.split()) == found.split()


def test_the_installed_command_is_declared():
    import tomllib
    from pathlib import Path

    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    found = EntryPoint("quantlib", project["scripts"]["quantlib"], "console_scripts").load()
    assert found.__module__ == "quantlib.__main__"


def test_what_the_engine_and_the_app_need_together_is_what_requirements_txt_lists():
    root = Path(__file__).parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    listed = {line for line in (root / "requirements.txt").read_text("utf-8").splitlines() if line.strip()}
    assert {*project["dependencies"], *project["optional-dependencies"]["app"]} == listed
