"""The command line as a user meets it: exit status, standard output and standard error of a real process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import quantlib as ql

ROOT = Path(__file__).parents[1]


def call(*arguments, cwd=ROOT) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "quantlib", *map(str, arguments)],
        capture_output=True, text=True, cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def sentence(text: str) -> None:
    """One line for the user, no traceback."""
    assert text.startswith("quantlib: ")
    assert text.count("\n") == 1
    assert "Traceback" not in text


def test_formats_lists_the_catalogue():
    rows = json.loads(call("formats", "--json").stdout)
    assert [row["name"] for row in rows] == list(ql.formats())
    assert {"FP32", "Q4_K"} <= set(call("formats").stdout.split())


def test_architectures_are_listed():
    rows = json.loads(call("architectures", "--json").stdout)
    assert {(row["title"], row["runs"]) for row in rows} >= {("Qwen3-MoE", True), ("Nemotron-H", False)}
    text = call("architectures").stdout
    assert all(row["title"] in text for row in rows) and "convert_hf_to_gguf.py" in text


def test_inspect(demo_model):
    done = call("inspect", demo_model, "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["kind"], document["architecture"]) == (0, "huggingface", "LlamaForCausalLM")
    assert document["weights"] == sum(row["shape"][0] * (row["shape"] + [1])[1] for row in document["tensors"])
    assert "model.embed_tokens.weight" in call("inspect", demo_model).stdout


def test_inspect_a_tensor(demo_model):
    name = "model.layers.0.mlp.down_proj.weight"
    shown = json.loads(call("inspect", demo_model, "--tensor", name, "--json").stdout)["tensor"]
    with ql.open_checkpoint(demo_model) as checkpoint:
        x = checkpoint.tensors[name].rows()
    assert shown["largest"] == float(x.max())
    assert shown["standard deviation"] == pytest.approx(float(x.std(dtype="float64")))


def test_inspect_against_another_with_a_report(demo_model, tmp_path):
    done = call("inspect", demo_model, "--against", demo_model, "--report", tmp_path / "r.csv", "--json")
    document = json.loads(done.stdout)
    assert {row["note"] for row in document["tensors"]} == {"the same values"}
    assert document["total"]["rmse"] == 0
    assert len((tmp_path / "r.csv").read_text().splitlines()) == len(document["tensors"]) + 1


def test_quantize_writes_what_the_dry_run_says(demo_model, tmp_path):
    plan = json.loads(call("quantize", demo_model, tmp_path / "o.gguf", "--dry-run", "--json").stdout)
    assert not list(tmp_path.iterdir())
    assert {"name", "source", "target", "nbytes", "reason"} <= set(plan["tensors"][0])
    done = call("quantize", demo_model, tmp_path / "o.gguf", "--json", "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "o.gguf").stat().st_size == plan["nbytes"] == json.loads(done.stdout)["nbytes"]


def test_quantize_writes_a_modelfile_once(demo_model, tmp_path):
    arguments = ("quantize", demo_model, tmp_path / "m.gguf", "--recipe", "F16", "--modelfile")
    assert call(*arguments).returncode == 0
    assert (tmp_path / "Modelfile").read_text().startswith("FROM ./m.gguf\n")
    again = call(*arguments)
    assert again.returncode == 1
    assert "Modelfile is there already" in again.stderr


def test_quantize_with_a_recipe_file_a_report_and_json_progress(demo_model, tmp_path):
    (tmp_path / "mine.toml").write_text('base = "Q8_0"\n[[rule]]\nrole = "v"\nformat = "Q6_K"\n')
    more = ("--recipe", tmp_path / "mine.toml", "--report", tmp_path / "r.json", "--json-progress", "--leave-output")
    done = call("quantize", demo_model, tmp_path / "o.gguf", *more)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert (lines[-1]["fraction"], lines[-1]["nbytes_done"]) == (1, lines[-1]["nbytes"])
    rows = {row["name"]: row for row in json.loads((tmp_path / "r.json").read_text())["tensors"]}
    assert rows["blk.0.attn_v.weight"]["target"] == "Q6_K"
    assert rows["output.weight"]["target"] == "BF16"
    assert {"rmse", "sqnr", "largest_error", "cosine"} <= set(rows["output.weight"])
    assert "blk.0.attn_v.weight" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("quantize",), 2),
        (("no-such-command",), 2),
        (("quantize", "a", "b", "--recipe", "Q99"), 2),
        (("quantize", "a", "b", "--recipe", "auto:4.5"), 2),
        (("quantize", "assets/demo_model", "b", "--recipe", "no-such.toml"), 1),
        (("quantize", "assets/demo_model", "b", "--output-format", "NF4"), 1),
        (("quantize", "assets/demo_model", "b", "--scheduler", "tcp://127.0.0.1:1"), 1),
        (("quantize", "a", "b", "--threads", "0"), 2),
        (("inspect", "no-such-file.gguf"), 1),
        (("inspect", "README.md"), 1),
        (("inspect", "README.md", "--report", "report.docx"), 2),
        (("inspect", "hf://owner"), 1),
        (("inspect", "assets/demo_model", "--tensor", "nothing"), 1),
        (("quantize", "assets/demo_model", "no/such/folder/x.gguf"), 1),
    ],
)
def test_wrong_calls(arguments, status):
    done = call(*arguments)
    assert (done.returncode, done.stdout) == (status, "")
    if status == 1:
        sentence(done.stderr)


def test_a_pickle_is_refused(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"\x80\x02}q\x00.")
    done = call("inspect", tmp_path / "model.bin")
    assert done.returncode == 1
    sentence(done.stderr)
    assert "pickle" in done.stderr


def test_a_truncated_file_is_refused_and_nothing_is_written(demo_model, tmp_path):
    whole = (demo_model / "model.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    done = call("quantize", tmp_path / "cut.safetensors", tmp_path / "o.gguf")
    assert done.returncode == 1
    sentence(done.stderr)
    assert [p.name for p in tmp_path.iterdir()] == ["cut.safetensors"]
