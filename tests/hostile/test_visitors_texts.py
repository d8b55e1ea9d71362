"""No text that a visitor gives opens a file or asks an address: every text box and every parameter of every page.

The server runs with the hub off and one directory allowed, beside a secret one. A hook of its interpreter notes each
file below the secret folder that is opened or listed, and each address outside this machine that is asked for. Nothing
tells that a path exists, either: a page answers the same as for a path that does not.
"""

import asyncio
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
from attacks import watching_calls
from person import Person
from safetensors.numpy import save_file
from server import Server, running
from test_odd_addresses import NAMES

from pages.server.streamlit_internals import WidgetState
from pages.ui import menu

MARK = "the-content-of-a-secret-file"
WATCH_FILES = """
import os, sys
def note(event, args):
    if event in ("open", "os.listdir", "os.scandir") and isinstance(args[0], (str, bytes, os.PathLike)):
        path = os.path.realpath(os.fsdecode(args[0]))
        if path.startswith(os.environ["SECRET"]) or path == "/etc/passwd":
            with_out = os.open(os.environ["FILES_OUT"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.write(with_out, (event + " " + path + "\\n").encode())
            os.close(with_out)
sys.addaudithook(note)
"""
TEXTS = ("text_input", "text_area", "chat_input")
# What only some state of a page offers: a page's address with it, as a visitor would choose it.
STATES = {
    "open": ["", "where=From your computer", "where=On this server", "where=From the hub"],
    "which-one-should-i-run": ["", "model=A size, or a config.json"],
    "what-it-costs": ["text=your own"],
    "inspect": ["", "view=Tensors", "view=Metadata", "view=Tokenizer", "view=Compare"],
}
INTERNAL = re.compile(r"Traceback|quantlib-app-|/tmp/|site-packages|kind 'None'|NoneType|\bErrno\b")


@dataclass(frozen=True)
class Stage:
    """A running server, with what lies beside what it allows."""

    server: Server
    secret: Path
    allowed: Path

    def tried(self) -> dict[str, tuple[str, str]]:
        """By kind: a text that names the secret, and one of the same kind that names nothing."""
        port = self.server.port
        return {
            "a path": (str(self.secret / "model.safetensors"), str(self.secret / "no_such.safetensors")),
            "a folder": (str(self.secret), f"{self.secret}-not"),
            "a path upwards": ("../secret/model.safetensors", "../secret/no_such.safetensors"),
            "a link": (str(self.allowed / "link.safetensors"), str(self.allowed / "none.safetensors")),
            "a file of the system": ("/etc/passwd", "/etc/passwd_not"),
            "a URL": ("https://elsewhere.example/model.gguf", "https://elsewhere.example/other.gguf"),
            "a file's URL": (f"file://{self.secret}/model.safetensors", f"file://{self.secret}/other.safetensors"),
            "a name of the hub": ("hf://owner/name", "hf://owner/other"),
            "a URL of this machine": (f"http://127.0.0.1:{port}/_stcore/health", f"http://127.0.0.1:{port}/none"),
        }

    def noted(self) -> str:
        files = (self.server.folder / name for name in ("files", "calls"))
        return "".join(file.read_text() for file in files if file.exists())


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts").resolve()
    for name in ("secret", "allowed"):
        (folder / name).mkdir()
        arrays = {f"{name}.weight": np.ones((2, 32), np.float32)}
        save_file(arrays, folder / name / "model.safetensors", metadata={"note": MARK})
    (folder / "allowed" / "link.safetensors").symlink_to(folder / "secret" / "model.safetensors")
    settings = watching_calls(folder) | {
        "SECRET": str(folder / "secret"), "FILES_OUT": str(folder / "files"),
        "QUANTLIB_HUB": "off", "QUANTLIB_DIRECTORIES": str(folder / "allowed"),
    }  # fmt: skip
    hook = folder / "hook" / "sitecustomize.py"
    hook.write_text(hook.read_text() + WATCH_FILES)
    with running(folder, **settings) as server:
        yield Stage(server, folder / "secret", folder / "allowed")


def said(person: Person) -> str:
    """All that the page answers."""
    return "\n".join([*person.alerts, *person.texts])


def told(answer: str, text: str) -> str:
    """The answer without what the visitor wrote, which may be repeated, whole or cut."""
    return re.sub(r"'[^']*'|\"[^\"]*\"", "…", answer.replace(text, "…"))


def boxes(person: Person) -> list[str]:
    """The controls into which any text may be written."""
    return [
        id
        for id, widget in person.widgets.items()
        if widget.kind in TEXTS or (widget.kind == "selectbox" and widget.proto.accept_new_options)
    ]


async def answered(person: Person, id: str, text: str) -> str:
    """What the page says to a text in a box."""
    person.alerts = []
    await write(person, id, text)
    return told(said(person), text)


async def write(person: Person, id: str, text: str) -> None:
    """Write a text into a box and press every button that then can be pressed beside it."""
    widget = person.widgets[id]
    if widget.proto.max_chars if widget.kind in TEXTS else 0:
        text = text[: widget.proto.max_chars]
    await person.set(WidgetState(id=id, string_value=text))
    for button, found in list(person.widgets.items()):
        open_button = found.kind == "button" and found.proto.label in ("Open", "Compare", "Run", "Write")
        if open_button and not found.proto.disabled:
            person.states[button] = WidgetState(id=button, trigger_value=True)
            await person.run()
            person.states.pop(button, None)


def places() -> list[tuple[str, str]]:
    return [(entry.address, state) for entry in menu.ENTRIES for state in STATES.get(entry.address, [""])]


@pytest.mark.parametrize(("page", "state"), places(), ids=lambda part: str(part))
def test_no_text_box_opens_what_was_not_allowed(page, state, stage):
    async def visit() -> None:
        async with Person(stage.server.address, seed=1) as person:
            await person.visit(page, state.replace(" ", "+"))
            for id in boxes(person):
                for kind, texts in stage.tried().items():
                    there, missing = [await answered(person, id, text) for text in texts]
                    assert MARK not in there and not INTERNAL.search(there), (kind, there)
                    assert there == missing, f"{kind}: the page tells what exists"
            assert not person.errors, person.errors

    asyncio.run(visit())
    assert not stage.noted(), stage.noted()


@pytest.mark.parametrize("entry", menu.ENTRIES, ids=lambda entry: entry.file)
def test_no_parameter_of_an_address_opens_what_was_not_allowed(entry, stage):
    async def visit() -> None:
        async with Person(stage.server.address, seed=1) as person:
            for kind in ("a path", "a link", "a name of the hub"):
                text = stage.tried()[kind][0]
                for state in STATES.get(entry.address, [""]):
                    query = urlencode({name: text for name in NAMES if name not in state})
                    person.alerts = []
                    await person.visit(entry.address, "&".join(filter(None, (state.replace(" ", "+"), query))))
                    answer = told(said(person), text)
                    assert MARK not in answer and not INTERNAL.search(answer), (kind, answer)
            assert not person.errors, person.errors

    asyncio.run(visit())
    assert not stage.noted(), stage.noted()


def test_the_hook_notes_what_is_opened(stage, tmp_path):
    """A test that cannot fail tells nothing: the same hook, in a process that opens the secret."""
    out = tmp_path / "files"
    subprocess.run(
        [sys.executable, "-c", f"open({str(stage.allowed / 'link.safetensors')!r}, 'rb')"],
        env={**os.environ, "PYTHONPATH": str(stage.server.folder / "hook"), "SECRET": str(stage.secret),
             "FILES_OUT": str(out), "CALLS_OUT": str(tmp_path / "calls")},
        check=True,
    )  # fmt: skip
    assert str(stage.secret / "model.safetensors") in out.read_text()


def test_every_text_box_is_tried(stage):
    """What the pages' code declares is what the running pages show, so that a new one is not forgotten.

    The hub's box is not there while the hub is off; test_keeping.py tries what its text may be. The box for any path is
    there on a start by `quantlib view` only; test_viewing.py tries it.
    """
    declared = {
        label
        for path in (Path(__file__).parents[2] / "pages").rglob("*.py")
        for label in re.findall(r"\.(?:text_input|text_area|chat_input)\(\s*\"([^\"]+)\"", path.read_text("utf-8"))
    }

    async def visit() -> set[str]:
        found = set()
        for page, state in places():
            async with Person(stage.server.address, seed=1) as person:
                await person.visit(page, state.replace(" ", "+"))
                found |= {person.widgets[id].proto.label for id in boxes(person)}
        return found

    found = asyncio.run(visit())
    assert declared - {"Name on the hub", "Path of a file or folder"} <= found
    assert "Path of a file or folder" not in found
    assert "Path" in found
