"""Uploading to the hub, against a local server: what arrives, what stays as it was, and where the token does not go."""

import json
import os
import re
import subprocess
import sys

import pytest
import yaml
from hub_server import Hub, serving

import quantlib as ql
from quantlib.cards import Made, model_card, sha256
from quantlib.checkpoints.publishing import prepared
from quantlib.cli.publishing import command_of

TOKEN = "hf_a_secret_of_nobody"
NAME = "owner/new-model"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with serving(Hub(folder=tmp_path / "hub", writer=TOKEN)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")  # a protocol of the real hub's own store
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        yield hub


def run(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "quantlib", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=90,
        env=os.environ,
    )


def test_quantize_and_push(hub, demo_model, tmp_path):
    out = tmp_path / "demo-Q4_K_M.gguf"
    done = run("quantize", demo_model, out, "--recipe", "Q4_K_M", "--card", "--push", NAME)
    assert done.returncode == 0, done.stderr
    assert f"published at {hub.url}/{NAME}" in done.stderr
    there = hub.repositories[NAME]
    assert sha256(there / out.name) == sha256(out)
    card = (there / "README.md").read_text()
    assert card == (tmp_path / "README.md").read_text()
    assert sha256(out) in card and "quantlib quantize demo_model demo-Q4_K_M.gguf --recipe Q4_K_M" in card
    assert str(tmp_path) not in card, "where it was on this machine is nobody's business"
    assert len(hub.commits) == 1


def test_the_token_goes_to_the_hub_alone(hub, demo_model, tmp_path):
    out = tmp_path / "demo.gguf"
    done = run("quantize", demo_model, out, "--recipe", "Q8_0", "--push", NAME, "--json")
    assert json.loads(done.stdout)["path"] == str(out)
    assert f"Bearer {TOKEN}" in hub.authorizations
    assert TOKEN not in done.stdout + done.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files and not any(TOKEN.encode() in path.read_bytes() for path in files)


def test_a_card_that_is_there_stays(hub, tmp_path):
    prepared(NAME)
    (hub.repositories[NAME] / "README.md").write_text("mine")
    (tmp_path / "x.gguf").write_bytes(b"GGUF" * 5000)
    prepared(NAME).send({"x.gguf": tmp_path / "x.gguf", "README.md": b"ours"}, "message")
    assert (hub.repositories[NAME] / "README.md").read_text() == "mine"
    assert (hub.repositories[NAME] / "x.gguf").read_bytes() == b"GGUF" * 5000


def refused(name: str = NAME) -> str:
    with pytest.raises(ql.JobError) as caught:
        prepared(name)
    sentence = str(caught.value)
    assert TOKEN not in sentence and "\n" not in sentence and sentence.endswith(".")
    return sentence


@pytest.mark.parametrize("name", ["model", "a/b/c", "../x/y", "owner/a..b", "owner/na me", "-x/y", "", "owner/"])
def test_a_name_that_is_none(hub, name):
    assert "is no name of a repository" in refused(name)
    assert not hub.authorizations, "nobody was asked"


def test_refusals_are_sentences_before_the_work(hub, monkeypatch, demo_model, tmp_path):
    hub.folder = None
    assert "may not write" in refused()
    hub.writer = "another"
    assert "does not take the token" in refused()
    hub.failing = [(500, {})] * 9
    assert "error 500" in refused()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "cannot be reached" in refused()
    monkeypatch.delenv("HF_TOKEN")
    done = run("quantize", demo_model, tmp_path / "never.gguf", "--push", NAME)
    assert done.returncode == 1 and "needs a token" in done.stderr
    assert not (tmp_path / "never.gguf").exists()


def test_a_folder_is_pushed(hub, demo_model, tmp_path):
    done = run("export", demo_model, tmp_path / "nf4", "--as", "bnb-nf4", "--push", NAME)
    assert done.returncode == 0, done.stderr
    there = hub.repositories[NAME]
    assert {p.name for p in there.iterdir()} == {p.name for p in (tmp_path / "nf4").iterdir()}


@pytest.fixture(scope="module")
def made(demo_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    with ql.open_checkpoint(demo_model) as checkpoint:
        plans = [ql.plan(checkpoint, name) for name in ("Q4_K_M", "Q8_0")]
        yield [Made.of(p, ql.run(p, folder / f"{p.recipe.name}.gguf"), f"make {p.recipe.name}") for p in plans]


def test_a_card_of_several_files(made):
    card = model_card(made)
    front = yaml.safe_load(card.split("---")[1])
    assert front["tags"] == ["gguf", "quantlib", "Q4_K_M", "Q8_0"] and front["library_name"] == "gguf"
    rows = [line for line in card.splitlines() if line.startswith("| Q")]
    assert [row.split("|")[2].strip() for row in rows] == ["Q8\\_0", "Q4\\_K\\_M"], "the largest first"
    for one in made:
        assert one.sha256 in card and f"{one.result.loss.relative:.2%}" in card and one.command in card


def test_a_card_takes_no_markup_from_a_file(made):
    from dataclasses import replace

    from quantlib.checkpoints import MetadataValue

    evil = "x\n---\nlicense: evil\n<script>alert(1)</script> ![](http://a.example)"
    metadata = dict(made[0].plan.metadata) | {
        key: MetadataValue("string", evil) for key in ("general.name", "general.license", "quantize.imatrix.file")
    }
    card = model_card([replace(made[0], plan=replace(made[0].plan, metadata=metadata))])
    assert "license" not in yaml.safe_load(card.split("---\n")[1])
    assert not re.search(r"(?<!\\)<script|(?<!\\)!\[", card) and "evil\n" not in card


@pytest.mark.parametrize("given, shown", [
    (["quantize", "hf://a/b", "o.gguf", "--push", "a/b"], "quantlib quantize hf://a/b o.gguf"),
    (["quantize", "x y", "o", "--push=a/b", "--card"], "quantlib quantize 'x y' o"),
    (["quantize", "/usr/bin", "o"], "quantlib quantize bin o"),
])  # fmt: skip
def test_the_command_as_others_would_type_it(given, shown):
    assert command_of(given) == shown
