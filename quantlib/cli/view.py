"""view: the app on this machine, with a file, a folder or a model of the hub open on Inspect."""

import json
import os
import runpy
import secrets
import socket
import sys
from importlib.util import find_spec
from pathlib import Path

from quantlib.checkpoints import open_checkpoint
from quantlib.checkpoints.base import shown
from quantlib.checkpoints.recognizing import hub_address
from quantlib.cli.shared import SOURCE_HELP, command
from quantlib.errors import QuantlibError

VARIABLE = "QUANTLIB_VIEW"  # what the app is told: pages/server/viewing.py reads it
INSTALLED = "quantlib_app"  # the package in which `pip install` puts the app
NEEDED = ("streamlit", "plotly", "segno")
HOST = "127.0.0.1"
PORTS = range(1024, 65536)


def add(commands) -> None:
    view = command(
        commands, "view", run, "look into a checkpoint in the browser; nothing is uploaded or copied",
        examples=("view model.gguf", "view original/ quantized.gguf", "view hf://owner/name", "view embeddings.npy"),
    )  # fmt: skip
    view.add_argument("source", metavar="SOURCE", help=SOURCE_HELP)
    view.add_argument("other", metavar="OTHER", nargs="?", help="a second one, to compare with the first")
    view.add_argument("--port", type=int, metavar="N", help="the port on this machine; default: a free one")
    view.add_argument("--no-browser", action="store_true", help="print the address and open no browser")


def run(options) -> int:
    sources = [source_of(text) for text in (options.source, options.other) if text is not None]
    app, port = app_folder(), port_of(options.port)
    for source in sources:
        if not source.startswith("hf://"):
            open_checkpoint(source).close()  # what is wrong with it is said here, and not in a browser
    quiet = options.no_browser or options.json
    said = {"token": secrets.token_urlsafe(24), "sources": sources, "browser": not quiet}
    where = f"http://{HOST}:{port}/inspect?key={said['token']}" + "&view=Compare" * (len(sources) > 1)
    if options.json:
        print(json.dumps({"address": where, "sources": sources}), flush=True)
    else:
        print(f"{where}\nThis address is for you alone. Stop with Ctrl-C.", flush=True)
    return serve(app, port, said)


def source_of(text: str) -> str:
    """A source as the app finds it from its own folder: an absolute path, or an address of the hub."""
    if text.startswith("hf://"):
        return text
    path = Path(text)
    try:
        if path.exists():
            return str(path.resolve())
    except (OSError, ValueError):
        raise QuantlibError(f"{shown(text)} is not a valid path of a file or folder.") from None
    address = None if path.parent.is_dir() else hub_address(text)
    if address is None:
        raise QuantlibError(f"{shown(text)} is not there: give a file that holds tensors, or a model folder.")
    return address


def app_folder() -> Path:
    """Where the app lies: beside this package in its own project, or where it was installed."""
    lacking = [name for name in NEEDED if not _is_there(name)]
    if lacking:
        raise QuantlibError(f"The app needs {' and '.join(lacking)}: pip install 'quantlib[app]' installs all of it.")
    beside, found = Path(__file__).parents[2], find_spec(INSTALLED)
    folders = [beside, *(map(Path, found.submodule_search_locations or ()) if found else ())]
    for folder in folders:
        if (folder / "app.py").is_file() and (folder / "pages" / "inspect.py").is_file():
            return folder
    raise QuantlibError("The app's pages are not installed with this package; install quantlib from its project.")


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ImportError:
        return False


def port_of(wanted: int | None) -> int:
    """A port on which nobody listens on this machine."""
    if wanted is not None and wanted not in PORTS:
        raise QuantlibError(f"Port {wanted} is none that a program may take; choose one from 1024 to 65535.")
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((HOST, wanted or 0))
        except OSError:
            raise QuantlibError(f"Port {wanted} is taken by another program; leave out --port.") from None
        return tried.getsockname()[1]


def serve(app: Path, port: int, said: dict) -> int:
    """Run the app until it is stopped, in this process: what it needs of quantlib is loaded already."""
    settings = {
        "server.address": HOST, "server.port": port, "server.headless": "true", "server.allowedHosts": HOST,
        "logger.hideWelcomeMessage": "true",
    }  # fmt: skip
    os.environ[VARIABLE] = json.dumps(said)
    os.chdir(app)  # where Streamlit finds the app's settings
    options = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    sys.argv = ["streamlit", "run", str(app / "app.py"), *options]
    try:
        runpy.run_module("streamlit", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    return 0
