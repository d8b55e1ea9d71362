"""Which files a repository offers: their names decoded, and which of them is the advice, without reading any."""

import shutil

import pytest
from hub_server import Hub, serving

import quantlib as ql
from quantlib.cli import main
from quantlib.fit import ask, subject, words
from quantlib.fit.machines import own
from quantlib.fit.repository import chosen, files_of, recipe_in


@pytest.mark.parametrize(
    ("name", "recipe"),
    [("Qwen_Qwen3-14B-Q4_K_M.gguf", "Q4_K_M"), ("Llama-3.3-70B-Instruct.i1-IQ2_XS.gguf", "IQ2_XS"),
     ("gpt-oss-20b-mxfp4.gguf", "MXFP4_MOE"), ("model-q8_0.gguf", "Q8_0"), ("BF16/x-BF16-00001-of-00002.gguf", "BF16"),
     ("Qwen3-30B-A3B-UD-Q4_K_XL.gguf", ""), ("ggml-model.gguf", ""), ("x-IQ4_NL.gguf", "IQ4_NL")],
)  # fmt: skip
def test_names_of_files_are_decoded(name, recipe):
    assert recipe_in(name) == recipe


SIZES = {
    "README.md": 100, "m-Q8_0.gguf": 8_500, "m-Q4_K_M.gguf": 4_900, "m-UD-Q4_K_M.gguf": 4_800, "m-IQ3_M.gguf": 3_800,
    "mmproj-F16.gguf": 800, "m.imatrix.gguf": 5, "F16/m-F16-00001-of-00002.gguf": 9_000,
    "F16/m-F16-00002-of-00002.gguf": 7_000,
}  # fmt: skip


def test_parts_are_one_and_what_is_no_model_is_left_out():
    files = files_of(SIZES)
    assert [(f.recipe, f.nbytes, f.parts) for f in files] == [
        ("F16", 16_000, 2), ("Q8_0", 8_500, 1), ("Q4_K_M", 4_900, 1), ("Q4_K_M", 4_800, 1), ("IQ3_M", 3_800, 1),
    ]  # fmt: skip


def test_the_file_of_the_advice_or_the_next_smaller_one():
    files = files_of(SIZES)
    assert chosen(files, "Q4_K_M", 4_900).name == "m-Q4_K_M.gguf"
    assert chosen(files, "Q5_K_M", 5_700).name == "m-Q4_K_M.gguf"
    assert chosen(files, "IQ1_S", 2_000) is None


def test_a_repository_of_many_files_is_answered_with_one_of_them(demo_model, tmp_path, monkeypatch):
    (tmp_path / "files").mkdir()
    for recipe in ("Q8_0", "Q4_K_M"):
        ql.run(ql.plan(ql.open_checkpoint(demo_model), recipe), tmp_path / "files" / f"demo-{recipe}.gguf")
    shutil.copy(tmp_path / "files" / "demo-Q8_0.gguf", tmp_path / "files" / "mmproj-demo.gguf")
    with serving(Hub({"owner/demo-GGUF": tmp_path / "files"})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        found = subject("hf://owner/demo-GGUF")
        assert [file.recipe for file in found.files] == ["Q8_0", "Q4_K_M"]
        roomy, tight = (ask(found, own("computer", gib, 50e9), 512) for gib in (8, 3.0155))
    assert "To download: demo-Q8_0.gguf, " in roomy.text and "from owner/demo-GGUF" in roomy.text
    assert tight.option.weighed.nbytes < roomy.option.weighed.nbytes
    assert "demo-Q4_K_M.gguf" in tight.text or "None of the 2 files" in tight.text
    assert not roomy.quantized, "the recipes are those of the original"
    listed = words.files(roomy)
    assert [(row["file"], row["advised"], row["fits"]) for row in listed] == [
        ("demo-Q8_0.gguf", True, True), ("demo-Q4_K_M.gguf", False, True),
    ]  # fmt: skip
    assert [row["size"] for row in listed] == [file.nbytes for file in found.files]
    assert words.command(roomy).startswith("llama-server -hf owner/demo-GGUF --hf-file demo-Q8_0.gguf -c 512")
    assert sum(row["fits"] for row in words.files(tight)) <= 1


def test_the_command_lists_the_files(demo_model, tmp_path, monkeypatch, capsys):
    """Of a model that is known, no file is opened: names and sizes are the hub's."""
    folder = tmp_path / "files"
    folder.mkdir()
    for recipe, nbytes in (("Q4_K_M", 400_000), ("Q8_0", 640_000), ("UD-Q6_K_XL", 520_000)):
        (folder / f"Qwen3-0.6B-{recipe}.gguf").write_bytes(b"\0" * nbytes)
    with serving(Hub({"someone/Qwen3-0.6B-GGUF": folder})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        assert main(["fit", "hf://someone/Qwen3-0.6B-GGUF", "--memory", "8GB"]) == 0
    said = capsys.readouterr().out
    assert "To download: Qwen3-0.6B-Q8_0.gguf" in said and "advised" in said
    assert "Qwen3-0.6B-UD-Q6_K_XL.gguf" in said and "of its own" in said
    assert "-hf someone/Qwen3-0.6B-GGUF --hf-file Qwen3-0.6B-Q8_0.gguf" in said


def test_where_the_hub_is_out_of_reach_a_known_model_is_known_all_the_same(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("quantlib.checkpoints.hub.PATIENCE", 0.2)
    answer = ask("hf://Qwen/Qwen3-4B", "GeForce RTX 4060, 8 GB")
    assert "search the hub for “Qwen3-4B GGUF”" in answer.text
    with pytest.raises(ql.CheckpointError):
        subject("hf://nobody/nothing")
