"""What the server does before a page is there: its sockets, and imports while the browser is still busy."""

import asyncio
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import finished

from pages.server import warmup
from pages.server.connections import Connections, guard_connections
from pages.ui import menu

ROOT = Path(__file__).parents[2]


async def delays(prepare) -> bool:
    """Whether a connection to a server at a socket such as Streamlit's gathers what it sends."""
    prepare()
    taken = asyncio.get_running_loop().create_future()
    listening = socket.socket(socket.AF_INET)  # says nothing of TCP, as Streamlit's does not
    listening.bind(("127.0.0.1", 0))

    def take(reader, writer) -> None:
        connection = writer.get_extra_info("socket")
        taken.set_result(not connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    async with await asyncio.start_server(take, sock=listening):
        _, writer = await asyncio.open_connection(*listening.getsockname())
        found = await taken
        writer.close()
    return found


def test_connections_send_at_once():
    assert finished(delays(lambda: None)), "asyncio sees to it by itself now; guard_connections need not"
    assert not finished(delays(lambda: guard_connections(Connections(10, 10))))


@pytest.mark.parametrize("entry", menu.ENTRIES, ids=lambda entry: entry.file)
def test_a_page_s_imports_can_begin_without_it(entry):
    """In a process of its own, where nothing of it is there yet: what the page's file imports is there afterwards."""
    code = (
        "import sys; from pathlib import Path; from pages.server.warmup import import_ahead, imported_by\n"
        f"page = Path({entry.path!r}); import_ahead(page); names = imported_by(page)\n"
        "missing = [n for n in names if n not in sys.modules and '.' in n"
        " and not hasattr(sys.modules[n.rpartition('.')[0]], n.rpartition('.')[2])]\n"
        "assert not missing and 'streamlit' in names, missing"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("address", ["", "open", "../nowhere", "nowhere", "9" * 5000])
def test_the_first_address_that_is_asked_for_begins_a_page_s_imports(address, monkeypatch):
    pages, begun = {"": Path("home.py"), "open": Path("open.py")}, []
    monkeypatch.setattr(warmup, "importing", threading.Event())
    monkeypatch.setattr(warmup, "import_ahead", begun.append)
    for _ in range(2):
        warmup.page_asked(pages, address)
    for thread in threading.enumerate():
        if thread.name == "imports":
            thread.join(10)
    assert begun == [pages.get(address, pages[""])]
