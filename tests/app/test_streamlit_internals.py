"""What the app leans on that Streamlit and uvicorn do not promise: a newer version that changes one fails here.

docs/upgrading.md tells what to do then.
"""

import ast
import asyncio
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import streamlit

from pages.server import connections, streamlit_internals
from pages.server.streamlit_internals import AwaySessions

ROOT = Path(__file__).parents[2]
STATIC = Path(streamlit.__file__).parent / "static"
# Names of Streamlit's own elements: classes and data-testid, in style sheets, scripts and tests.
NAME = re.compile(r"""(?:data-testid=["']?|\.)(st[A-Z][A-Za-z]+)|class\*?=["'](st-key)-|\.(st-key)-""")
SOURCES = [
    *(ROOT / "assets").rglob("*.css"),
    *(ROOT / "assets").rglob("*.js"),
    *(ROOT / "tests" / "app").glob("*.py"),
    *(ROOT / "pages").rglob("*.py"),
]
NAMES = sorted({next(filter(None, found)) for path in SOURCES for found in NAME.findall(path.read_text("utf-8"))})


@pytest.fixture(scope="module")
def scripts() -> str:
    return "\n".join(path.read_text("utf-8", errors="replace") for path in STATIC.rglob("*.js"))


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_style_sheets_and_tests_select_is_streamlit_s(name, scripts):
    assert name in scripts


@pytest.mark.parametrize("name", ["__streamlit", "BACKEND_BASE_URL"])
def test_the_page_takes_its_server_s_address_from_there(name, scripts):
    assert name in scripts
    assert name in streamlit_internals.tell_server("/quant")


@pytest.mark.parametrize("address", [streamlit_internals.SOCKET, streamlit_internals.HEALTH, "/_stcore/upload_file/"])
def test_streamlit_serves_these_addresses(address):
    from streamlit.web.server.starlette import starlette_routes, starlette_websocket

    said = "".join(Path(module.__file__).read_text("utf-8") for module in (starlette_routes, starlette_websocket))
    assert address.strip("/").rpartition("/")[2] in said
    assert '"_stcore"' in said


def test_only_one_file_imports_parts_of_streamlit():
    for path in [ROOT / "app.py", *(ROOT / "pages").rglob("*.py")]:
        modules = [
            name
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            for name in (
                [alias.name for alias in node.names] if isinstance(node, ast.Import)
                else [node.module] if isinstance(node, ast.ImportFrom) else []
            )
        ]  # fmt: skip
        parts = [name for name in modules if name and name.startswith("streamlit.")]
        assert not parts or path.name == "streamlit_internals.py", path


def test_the_menu_s_icons_can_be_imported_ahead():
    streamlit_internals.import_icons()


class Session:
    def __init__(self, id: str):
        self.session, self.id, self.ended = self, id, False

    def shutdown(self) -> None:
        self.ended = True


def test_sessions_that_left_end_when_they_are_old_or_too_many():
    kept, sessions = AwaySessions(2, seconds=60), [Session(str(number)) for number in range(4)]
    for session in sessions:
        kept.save(session)
    assert [session.ended for session in sessions] == [True, True, False, False]
    assert kept.get("0") is None
    assert kept.get("3") is sessions[3]
    kept.delete("3")
    assert not sessions[3].ended, "its browser has come back"
    kept.seconds = -1
    assert kept.get("2") is None
    kept.end_old()
    assert sessions[2].ended
    assert kept.list() == []


def test_streamlit_keeps_its_sessions_where_we_put_ours():
    from streamlit.runtime import app_session, memory_session_storage, session_manager, websocket_session_manager

    for name in ("get", "save", "delete", "list"):
        assert hasattr(session_manager.SessionStorage, name)
        assert hasattr(memory_session_storage.MemorySessionStorage, name)
        assert hasattr(AwaySessions, name)
    assert hasattr(app_session.AppSession, "shutdown")
    manager = websocket_session_manager.WebsocketSessionManager(AwaySessions(1), None, None, None)
    assert isinstance(manager._session_storage, AwaySessions)


@pytest.mark.parametrize("manager", [SimpleNamespace(_session_storage=None), SimpleNamespace(), None])
def test_without_that_place_streamlit_goes_on_as_it_does(manager, monkeypatch, caplog):
    import streamlit.runtime

    monkeypatch.setattr(streamlit.runtime, "get_instance", lambda: SimpleNamespace(_session_mgr=manager))
    kept = streamlit_internals.end_sessions_that_left(3)
    there = hasattr(manager, "_session_storage")
    assert there == (not caplog.records)
    assert not there or manager._session_storage is kept


def protocol():
    import uvicorn
    from uvicorn.server import ServerState

    config = uvicorn.Config(lambda: None, ws_max_size=32 << 20)
    config.load()
    return config.http_protocol_class(config=config, server_state=ServerState(), app_state={})


async def uvicorn_s_protocol():
    made = protocol()
    connections.limit_messages(made)
    assert made.config.ws_max_size == connections.MESSAGE_BYTES
    assert made.cycle is None, "no request yet"


def test_uvicorn_s_protocols_have_what_is_looked_at():
    asyncio.run(uvicorn_s_protocol())


def test_without_these_settings_messages_keep_streamlit_s_limit():
    for other in (SimpleNamespace(), SimpleNamespace(config=None), SimpleNamespace(config=SimpleNamespace())):
        connections.limit_messages(other)


class Transport:
    """A connection that has been asked for something, or not; `unsent` bytes wait for the other side to take them."""

    def __init__(self, protocol, unsent: int = 0):
        self.protocol, self.unsent, self.aborted = protocol, unsent, False

    def get_protocol(self):
        return self.protocol

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def get_extra_info(self, _name: str):
        return ("192.0.2.1", 1)

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


@pytest.mark.parametrize(
    ("cycle", "upgraded", "unsent", "closed"),
    [
        (None, False, 0, True),
        (SimpleNamespace(response_complete=False), False, 0, False),
        (SimpleNamespace(response_complete=False), False, 65536, True),
        (SimpleNamespace(response_complete=True), False, 0, True),
        (None, True, 0, False),
        (None, True, 65536, True),
    ],
    ids=["silent", "working", "takes nothing", "half a second request", "socket", "socket that takes nothing"],
)
def test_connections_that_do_nothing_are_closed(cycle, upgraded, unsent, closed):
    http = SimpleNamespace(cycle=cycle)
    transport = Transport(object() if upgraded else http, unsent)
    several = connections.Connections(10, 1)
    assert several.admit(transport, http)
    assert not several.admit(Transport(http), http), "one address has one"
    for _ in range(connections.PATIENCE + 1):
        several.look()
    assert transport.aborted == closed
    assert several.admit(Transport(http), http) == closed


def test_each_of_these_has_its_line_in_the_guide():
    guide = (ROOT / "docs" / "upgrading.md").read_text("utf-8")
    for what in (
        "BACKEND_BASE_URL",
        "_session_storage",
        "ws_max_size",
        "protocol.cycle",
        "create_server",
        "emojis",
        "_streamlit_xsrf",
    ):
        assert what in guide
    for path in re.findall(r"`((?:pages|tests)/[\w/]+\.py)`|(tests/[\w/]+\.py)", guide):
        assert (ROOT / next(filter(None, path))).exists(), path


def test_a_browser_is_told_by_its_cookie():
    """Another mask each time, the same secret; nothing where the cookie is missing or odd."""
    from streamlit.web.server.starlette import starlette_app_utils as streamlit_own

    secret = bytes(range(16))
    cookies = [{streamlit_internals.BROWSER_COOKIE: streamlit_own.generate_xsrf_token_string(secret)} for _ in range(2)]
    assert cookies[0] != cookies[1]
    assert [streamlit_internals.browser_of(cookie) for cookie in cookies] == [secret.hex()] * 2
    for odd in ("", "2|", "2|00|00|0", "1|aabbccdd|" + "00" * 16 + "|1", "2|xx|yy|1", "2|aabbccdd||1"):
        assert streamlit_internals.browser_of({streamlit_internals.BROWSER_COOKIE: odd}) is None
    assert streamlit_internals.browser_of({}) is None
