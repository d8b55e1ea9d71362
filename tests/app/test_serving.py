"""The server as a whole: damaged files, and a kill in the middle of a job."""

import os
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from bringing import bring
from conftest import finished, free_port, running, start_server
from hostile import attack
from person import Person
from random_weights import write_gguf


def found(folder: Path, part: str = "") -> list[str]:
    """The files below a folder with this in their names; folders may go meanwhile, which Path.rglob does not stand."""
    return [name for _, _, files in os.walk(folder) for name in files if part in name]


def brought(folder: Path) -> list[str]:
    return [here for here, _, names in os.walk(folder) if "small.gguf" in names and "/server-" in here]


def test_damaged_files_are_refused_and_nobody_else_notices(tmp_path):
    with running(tmp_path) as address:
        became = finished(attack(address.removeprefix("http://"), tmp_path, 12, seed=7))
    assert became["refused"] > 3


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system kills otherwise")
def test_a_killed_server_leaves_nothing_that_is_offered(tmp_path):
    models, kept = tmp_path / "models", tmp_path / "kept"
    models.mkdir(), kept.mkdir()
    write_gguf(models / "large.gguf", 300_000_000)
    settings = {"QUANTLIB_DIRECTORIES": str(models), "QUANTLIB_FOLDER": str(kept)}

    async def begin(address: str) -> str:
        async with Person(address, seed=1) as person:
            await person.visit("")
            await person.visit("open", "where=On+this+server")
            await person.choose("Path", str(models / "large.gguf"))
            await person.press("Open")
            await person.visit("quantize", person.query)
            await person.press("Quantize")
            assert not person.errors
            return dict(part.split("=", 1) for part in person.query.split("&"))["job"]

    port = free_port()
    process = start_server(port, tmp_path, **settings)
    token = finished(begin(f"127.0.0.1:{port}"))
    deadline = time.monotonic() + 60
    while not found(kept, "model.gguf") and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    assert found(kept, "model.gguf"), "the job was on its way"
    with running(tmp_path, **settings) as again:
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{again}/files/{token}")
        deadline = time.monotonic() + 30
        while found(kept, "model.gguf") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not found(kept, "model.gguf")
    assert not found(kept), "and an orderly end leaves nothing at all"


def test_what_was_brought_goes_with_the_browser(tmp_path):
    write_gguf(tmp_path / "small.gguf", 0)

    async def visit(address: str) -> None:
        async with Person(address, seed=1) as person:
            await person.visit("open")
            assert await bring(person, tmp_path / "small.gguf") is None
            assert brought(tmp_path), "it lies in the server's private folder"
            assert "opened=" in person.query

    with running(tmp_path, QUANTLIB_AWAY="1") as address:
        finished(visit(address.removeprefix("http://")))
        deadline = time.monotonic() + 60
        while brought(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not brought(tmp_path)
