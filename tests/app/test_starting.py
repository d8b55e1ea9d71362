"""What the server does before a page is there: its sockets, and all imports."""

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

from conftest import finished

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


def test_all_that_pages_import_is_there_before_the_first_visitor():
    """In a process of its own: else visitors' threads import it at once, and find some of it half imported."""
    code = (
        "import sys; from pathlib import Path; from pages.server.warmup import import_all, imported_by\n"
        f"pages = [Path(path) for path in {[entry.path for entry in menu.ENTRIES]!r}]; import_all(pages)\n"
        "names = [name for page in pages for name in imported_by(page)]\n"
        "missing = [n for n in names if n not in sys.modules and '.' in n"
        " and not hasattr(sys.modules[n.rpartition('.')[0]], n.rpartition('.')[2])]\n"
        "assert not missing and 'streamlit' in names, missing\n"
        "assert {'plotly.graph_objects', 'quantlib.checkpoints.convert', 'quantlib.formats.kernels.iquants'}"
        " <= sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
