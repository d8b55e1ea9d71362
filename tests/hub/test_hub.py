"""hf:// addresses against a local server: what is read, how much of it, and what every refusal says."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from hub_server import COMMIT, Hub, serving
from safetensors.numpy import save_file

import quantlib as ql
from quantlib import inspection
from quantlib.checkpoints import gguf_view
from quantlib.checkpoints.hub import Address, Terms
from quantlib.checkpoints.hub_opening import open_hub
from quantlib.errors import CheckpointError, JobError

WEIGHTS = "model.safetensors"
TENSOR = "model.layers.2.mlp.down_proj.weight"


@pytest.fixture(scope="module")
def gguf(demo_model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "demo-Q4_K_M.gguf"
    ql.run(ql.plan(ql.open_checkpoint(demo_model), "Q4_K_M"), path)
    return path


@pytest.fixture
def hub(demo_model, gguf, tmp_path, monkeypatch):
    with serving(Hub({"owner/demo_model": demo_model, "owner/gguf": gguf.parent})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr("quantlib.checkpoints.hub.PATIENCE", 1.5)
        yield hub


def refused(source: str) -> str:
    with pytest.raises(ql.CheckpointError) as caught:
        ql.open_checkpoint(source)
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert len(sentence) < 300
    return sentence


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("hf://a/b", ("a/b", None, None)),
        ("hf://a/b@main", ("a/b", "main", None)),
        ("hf://a/b@refs/pr/1", ("a/b", "refs/pr/1", None)),
        ("hf://a-1/b.c_d@v1.0/sub/x-Q4_K_M.gguf", ("a-1/b.c_d", "v1.0", "sub/x-Q4_K_M.gguf")),
        ("hf://a/b/x.gguf", ("a/b", None, "x.gguf")),
    ],
)
def test_addresses(text, parts):
    address = Address.parse(text)
    assert (address.repository, address.revision, address.file) == parts
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "hf://", "hf://a", "hf://a/b/../c.gguf", "hf://a/b@", "hf:///b", "hf://a/b?x=1", "hf://a/b@//host/x", "hf://a/b@/x",
        "hf://a/b@x//y", "hf://a/b@../x", "hf://a/b//x.gguf", "hf://a/b%2fc", "hf://a/b\n", "hf://user@host/b",
        "hf://a/b@" + "x" * 200, "hf://a/b@" + "x/" * 400 + "x", "hf://а/b",
    ],
)  # fmt: skip
def test_wrong_addresses(text):
    assert "is no address on the hub" in refused(text)


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("revision", ["", "@main", f"@{COMMIT}"])
def test_headers_and_one_tensor_without_the_file(hub, demo_model, ranges, revision):
    hub.ranges = ranges
    local = ql.open_checkpoint(demo_model)
    with ql.open_checkpoint(f"hf://owner/demo_model{revision}") as remote:
        assert list(remote.tensors) == list(local.tensors)
        header = hub.sent[WEIGHTS]
        np.testing.assert_array_equal(remote.tensors[TENSOR].rows(3, 9), local.tensors[TENSOR].rows(3, 9))
        if ranges:
            assert header < 20_000
            assert hub.sent[WEIGHTS] - header == 6 * local.tensors[TENSOR].n * 2
            again = hub.sent[WEIGHTS]
            remote.tensors[TENSOR].rows(3, 9)
            assert hub.sent[WEIGHTS] == again
        assert list(gguf_view(remote).metadata) == list(gguf_view(local).metadata)
        assert remote.origin == f"hf://owner/demo_model{revision}"


@pytest.mark.parametrize("ranges", [True, False])
def test_a_gguf_file(hub, gguf, ranges, monkeypatch):
    monkeypatch.setattr("quantlib.checkpoints.hub_opening.START", 1000)  # its header is longer: it is asked for again
    hub.ranges = ranges
    local = ql.open_checkpoint(gguf)
    for source in ("hf://owner/gguf", f"hf://owner/gguf/{gguf.name}"):
        with ql.open_checkpoint(source) as remote:
            assert list(remote.tensors) == list(local.tensors)
            assert list(remote.value("tokenizer.ggml.tokens")) == list(local.value("tokenizer.ggml.tokens"))
            name = "blk.3.ffn_up.weight"
            np.testing.assert_array_equal(remote.tensors[name].rows(5, 7), local.tensors[name].rows(5, 7))
    if ranges:
        assert hub.sent[gguf.name] < local.nbytes / 2


def test_quantizing_fetches_whole_files_once(hub, demo_model, tmp_path):
    ql.run(ql.plan(ql.open_checkpoint(demo_model), "Q4_K_M"), tmp_path / "local.gguf")
    for i in range(2):
        with ql.open_checkpoint("hf://owner/demo_model") as remote:
            ql.run(ql.plan(remote, "Q4_K_M"), tmp_path / f"{i}.gguf")
        assert (tmp_path / f"{i}.gguf").read_bytes() == (tmp_path / "local.gguf").read_bytes()
    size = (demo_model / WEIGHTS).stat().st_size
    assert size < hub.sent[WEIGHTS] < 1.1 * size


def test_other_processes_read_the_cached_files(hub, gguf, tmp_path):
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, ql.open_checkpoint("hf://owner/gguf") as it:
        ql.run(ql.plan(it, "Q8_0"), tmp_path / "o.gguf", executor=pool)
    with ql.open_checkpoint(gguf) as local:
        ql.run(ql.plan(local, "Q8_0"), tmp_path / "local.gguf")
    assert (tmp_path / "o.gguf").read_bytes() == (tmp_path / "local.gguf").read_bytes()


@pytest.mark.parametrize("failure", [(429, {"Retry-After": "1"}), (503, {}), (500, {})])
def test_a_busy_server_is_asked_again(hub, failure):
    hub.failing = [failure]
    assert ql.open_checkpoint("hf://owner/demo_model").tensors


REFUSALS = {
    "rate limit": ([(429, {"Retry-After": "3600"})] * 9, "hf://owner/demo_model", "wants a pause of 3600 s"),
    "server error": ([(502, {})] * 9, "hf://owner/demo_model", "answers with error 502"),
    "not logged in": ([(401, {})] * 9, "hf://owner/demo_model", "is private"),
    "forbidden": ([(403, {})] * 9, "hf://owner/demo_model", "is gated"),
    "missing": ([], "hf://owner/nothing", "is not on the hub, or is private"),
    "gated": ([], "hf://owner/gated", "is gated. Accept its terms"),
    "revision": ([], "hf://owner/demo_model@v9", "has no revision 'v9'"),
    "file": ([], "hf://owner/demo_model/x.gguf", "lists no file 'x.gguf'"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(hub, name):
    hub.failing, source, fragment = REFUSALS[name]
    hub.gated.add("owner/gated")
    assert fragment in refused(source)


def test_a_server_that_is_not_there(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "cannot be reached" in refused("hf://owner/demo_model")


def test_repositories_that_hold_no_one_model(hub, demo_model, gguf, tmp_path):
    for name, files in {"empty": [], "pickle": ["config.json"], "two": []}.items():
        hub.repositories[f"owner/{name}"] = tmp_path / name
        (tmp_path / name).mkdir()
        for file in files:
            shutil.copy(demo_model / file, tmp_path / name)
    (tmp_path / "pickle" / "pytorch_model.bin").write_bytes(b"x")
    for file in ("a.gguf", "b.gguf"):
        shutil.copy(gguf, tmp_path / "two" / file)
    assert "neither a config.json nor a single GGUF file" in refused("hf://owner/empty")
    assert "'pytorch_model.bin', which is not read from afar" in refused("hf://owner/pickle")
    assert "2 GGUF files; add one of them to the address: 'a.gguf', 'b.gguf'" in refused("hf://owner/two")


@pytest.mark.parametrize("listed", [100, 10**12])
def test_sizes_that_the_listing_lies_about(hub, listed):
    hub.listed[WEIGHTS] = listed
    assert "bytes" in refused("hf://owner/demo_model")


def test_a_connection_lost_later_is_told(hub):
    checkpoint = ql.open_checkpoint("hf://owner/demo_model")
    hub.failing = [(500, {})] * 9
    with pytest.raises(ql.CheckpointError, match="answers with error 500"):
        inspection.statistics(checkpoint.tensors[TENSOR])


def test_the_command_line_opens_it(hub, tmp_path):
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-m", "quantlib", "inspect", "hf://owner/demo_model", "--tensor", TENSOR, "--json"],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert document["source"] == "hf://owner/demo_model"
    assert document["tensor"]["not finite"] == 0


def test_on_public_terms_no_token_is_sent(hub, tmp_path, monkeypatch):
    """A server opens for its visitors what everybody may open, whatever its operator may."""
    monkeypatch.setenv("HF_TOKEN", "hf_the_operators_own")
    with ql.open_checkpoint("hf://owner/demo_model"):
        assert any("hf_the_operators_own" in said for said in hub.authorizations)
    hub.authorizations.clear()
    terms = Terms(public=True, cache=tmp_path / "own")
    with open_hub("hf://owner/demo_model", terms) as remote:
        remote.tensors[TENSOR].rows(3, 9)
    assert hub.authorizations and not any("hf_the_operators_own" in said for said in hub.authorizations)
    assert (tmp_path / "own").is_dir()  # what is fetched lies where the terms say


def test_whole_files_ask_for_room_first(hub, demo_model, tmp_path):
    asked = []

    def room(nbytes: int) -> None:
        asked.append(nbytes)
        if nbytes > 1_000_000:
            raise JobError("The server has no room for it.")

    with open_hub("hf://owner/demo_model", Terms(cache=tmp_path, room=room)) as remote:
        assert asked and max(asked) < 1_000_000
        with pytest.raises(JobError, match="no room"):
            remote.files[0].download()
    assert max(asked) == (demo_model / WEIGHTS).stat().st_size


@pytest.mark.parametrize("name", ["not logged in", "forbidden", "missing", "gated"])
def test_guests_of_a_server_are_told_what_guests_can_do(hub, tmp_path, name):
    hub.failing, source, _ = REFUSALS[name]
    hub.gated.add("owner/gated")
    with pytest.raises(CheckpointError) as caught:
        open_hub(source, Terms(public=True, cache=tmp_path))
    assert "download it, and bring the file" in str(caught.value)
    assert "log in" not in str(caught.value)


def image_model(folder: Path, names: dict[str, tuple[str, ...]]) -> Path:
    """Files of a diffusion model, each with some of the names that tell FLUX.1."""
    for file, tensors in names.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        save_file({name: np.ones((4, 8), np.float32) for name in tensors}, folder / file)
    return folder


FLUX = ("double_blocks.0.img_attn.proj.weight", "single_blocks.0.linear1.weight")


@pytest.mark.parametrize(
    ("files", "address"),
    [({"flux1-dev.safetensors": FLUX}, ""),
     ({"flux1-dev.safetensors": FLUX, "ae.safetensors": ("decoder.x.weight",)}, "/flux1-dev.safetensors"),
     ({"m-00001-of-00002.safetensors": FLUX[:1], "m-00002-of-00002.safetensors": FLUX[1:]}, ""),
     ({"transformer/d-00001-of-00002.safetensors": FLUX[:1], "transformer/d-00002-of-00002.safetensors": FLUX[1:],
       "vae/d.safetensors": ("decoder.x.weight",), "model_index.json": ()}, "")],
    ids=["one file", "one of two", "shards", "pipeline"],
)  # fmt: skip
def test_image_models_are_opened(hub, tmp_path, files, address):
    folder = image_model(tmp_path / "image", {name: tensors for name, tensors in files.items() if tensors})
    for name in files.keys() - {name for name, tensors in files.items() if tensors}:
        (folder / name).write_text("{}")
    hub.repositories["owner/image"] = folder
    checkpoint = ql.open_checkpoint(f"hf://owner/image{address}")
    assert set(checkpoint.tensors) == set(FLUX) and checkpoint.kind == "safetensors"
    assert gguf_view(checkpoint).architecture == "flux"
    np.testing.assert_array_equal(checkpoint.tensors[FLUX[0]].rows(), np.ones((4, 8)))


def test_an_image_repository_of_several_models_asks_which(hub, tmp_path):
    hub.repositories["owner/image"] = image_model(tmp_path / "image", {"a.safetensors": FLUX, "b.safetensors": FLUX})
    assert "2 files of weights; add one of them to the address: 'a.safetensors', 'b.safetensors'" in refused(
        "hf://owner/image"
    )
    assert "lists no file 'c.safetensors'" in refused("hf://owner/image/c.safetensors")
