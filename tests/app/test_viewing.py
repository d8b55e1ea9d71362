"""`quantlib view`: a server on one's own machine opens what the command was given, for whoever has its secret only."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from person import Person
from safetensors.numpy import save_file
from server import running

from pages.server.streamlit_internals import WidgetState
from pages.server.viewing import VARIABLE, Viewing
from pages.ui import menu
from quantlib.cli import view
from quantlib.errors import CheckpointError, QuantlibError

ROOT = Path(__file__).parents[2]
TOKEN = "a-secret-that-nobody-guesses"
BOX = "Path of a file or folder"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own").resolve()
    for name in ("first", "second", "third"):
        save_file({f"{name}.weight": np.ones((4, 32), np.float32)}, folder / f"{name}.safetensors")
    return folder


@pytest.fixture(scope="module")
def server(files):
    said = {"token": TOKEN, "sources": [str(files / "first.safetensors"), str(files / "second.safetensors")]}
    with running(files, "--server.headless", "true", **{VARIABLE: json.dumps(said | {"browser": False})}) as found:
        yield found


def visited(server, query: str, *steps):
    """A person who comes by this address, and what the steps then do."""

    async def visit():
        async with Person(server.address, seed=1) as person:
            await person.visit("inspect", query)
            for step in steps:
                await step(person)
            assert not person.errors, person.errors
            return person

    return asyncio.run(visit())


def labels(person) -> set[str]:
    return {widget.proto.label for widget in person.widgets.values() if hasattr(widget.proto, "label")}


async def to_open(person):
    await person.visit("open", "where=A+path+on+this+computer")


def typed(text: str):
    async def write(person):
        await to_open(person)
        (box,) = [id for id, widget in person.widgets.items() if getattr(widget.proto, "label", "") == BOX]
        person.alerts = []
        person.states[box] = WidgetState(id=box, string_value=text)
        await person.press("Open")

    return write


def test_the_command_s_files_are_open_and_chosen_for_comparison(server):
    person = visited(server, f"key={TOKEN}&view=Compare")
    assert "first.safetensors" in person.texts
    (chosen,) = [w.proto for w in person.widgets.values() if getattr(w.proto, "label", "") == "Compare with"]
    assert chosen.set_value and chosen.raw_value == "second.safetensors", chosen


def test_any_path_may_be_typed_and_is_read_where_it_is(server, files):
    before = sorted(path.name for path in files.rglob("*.safetensors"))
    person = visited(server, f"key={TOKEN}", typed(str(files / "third.safetensors")))
    assert "third.safetensors" in person.texts
    assert sorted(path.name for path in files.rglob("*.safetensors")) == before
    person = visited(server, f"key={TOKEN}", typed(str(files / "none.safetensors")))
    assert any("is not there" in alert for alert in person.alerts)


ODD = {
    "columns.npy": np.asfortranarray(np.random.default_rng(1).standard_normal((67, 301))),
    "row.npy": np.random.default_rng(2).standard_normal((1, 96)).astype(np.float32),
}


@pytest.mark.parametrize("name", ODD)
def test_a_single_matrix_goes_through_every_chapter(server, files, name):
    np.save(files / name, ODD[name])
    seen = []

    async def through(person):
        for chapter in menu.SECTIONS["Learn"]:
            await person.visit(chapter.address)
            seen.append(name in person.texts)

    visited(server, f"key={TOKEN}", typed(str(files / name)), through)
    assert seen and all(seen)


@pytest.mark.parametrize("query", ["", "key=", "key=wrong", f"key={TOKEN}x", f"key={TOKEN[:-1]}", "key=%F0%9F%94%91"])
def test_whoever_lacks_the_secret_opens_nothing(server, files, query):
    person = visited(server, query, to_open)
    assert BOX not in labels(person)
    assert not {"first.safetensors", "second.safetensors"} & set(person.texts)


def test_a_server_that_others_reach_does_not_start_so(files):
    said = json.dumps({"token": TOKEN, "sources": [str(files / "first.safetensors")]})
    done = subprocess.run(
        [sys.executable, "-m", "streamlit", "run", "app.py", "--server.address", "0.0.0.0"],
        cwd=ROOT, env={**os.environ, VARIABLE: said}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode
    assert "may listen on 127.0.0.1 only" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "said",
    ["", "x", "[]", "{}", '{"token": "short", "sources": ["a"]}', json.dumps({"token": TOKEN, "sources": []}),
     json.dumps({"token": TOKEN, "sources": [1]}), json.dumps({"token": TOKEN, "sources": "abc"})],
)  # fmt: skip
def test_an_environment_that_the_command_does_not_set(said):
    with pytest.raises(CheckpointError, match="quantlib view"):
        Viewing.of({VARIABLE: said})


def test_the_secret_does_not_stay_in_the_environment():
    environment = {VARIABLE: json.dumps({"token": TOKEN, "sources": ["a"]})}
    assert Viewing.of(environment).sources == ("a",) and not environment
    assert Viewing.of(environment) is None


def test_the_command_serves_on_this_machine_alone(files, capsys, monkeypatch):
    from quantlib.cli import main

    served = []
    monkeypatch.setattr(view, "serve", lambda *words: served.append(words) or 0)
    monkeypatch.chdir(files)
    assert main(["view", "first.safetensors", "second.safetensors", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (app, port, said), address = served[0], urlsplit(document["address"])
    assert (app, address.hostname, address.port) == (ROOT, "127.0.0.1", port)
    assert said["sources"] == [str(files / "first.safetensors"), str(files / "second.safetensors")]
    assert f"key={said['token']}" in address.query and len(said["token"]) >= 24 and not said["browser"]
    Viewing.of({VARIABLE: json.dumps(said)})


def test_what_cannot_be_shown_is_said_before_anything_starts(files, capsys, monkeypatch):
    from quantlib.cli import main

    monkeypatch.setattr(view, "serve", lambda *_: pytest.fail("it started"))
    (files / "cut.safetensors").write_bytes(b"\xff" * 20)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for words, says in {
            (str(files / "none.gguf"),): "is not there",
            (str(files / "cut.safetensors"),): "claims a header",
            (str(files / "first.safetensors"), "--port", str(taken.getsockname()[1])): "taken by another program",
            (str(files / "first.safetensors"), "--port", "80"): "none that a program may take",
        }.items():
            assert main(["view", *words]) == 1
            assert re.search(says, capsys.readouterr().err)


def test_the_app_is_not_asked_of_an_engine_without_it(monkeypatch):
    monkeypatch.setattr(view, "find_spec", lambda name: None)
    with pytest.raises(QuantlibError, match=r"streamlit and plotly and segno: pip install 'quantlib\[app\]'"):
        view.app_folder()
