"""The upload routes without a network: slices that stop, drip, or come too fast."""

import asyncio
import json

import pytest
from starlette.applications import Starlette

from pages.server import files, routes, uploads
from pages.server.gate import Places, from_our_pages, network_of
from pages.ui import menu


@pytest.fixture
def token(tmp_path, monkeypatch):
    monkeypatch.setattr(files.tempfile, "tempdir", str(tmp_path))
    registry = uploads.registry()
    token = registry.expect("checkpoint", "me")
    registry.announce(token, [("model.gguf", 1 << 20)])
    yield token
    files.remove(registry.get(token).folder)


async def put(path: str, parts: list[bytes], ends: bool = True, pause: float = 0, **headers: str) -> tuple[int, dict]:
    """A PUT whose body comes in parts, with a pause before each; if it does not end, it waits for ever."""
    coming = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    if ends:
        coming.append({"type": "http.request", "body": b"", "more_body": False})
    said: list[dict] = []

    async def receive() -> dict:
        await asyncio.sleep(pause)
        return coming.pop(0) if coming else await asyncio.Event().wait()

    async def send(message: dict) -> None:
        said.append(message)

    path, _, query = path.partition("?")
    scope = {
        "type": "http", "method": "PUT", "path": path, "raw_path": path.encode(), "query_string": query.encode(),
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        "client": ("192.0.2.1", 1), "server": ("127.0.0.1", 80), "scheme": "http", "http_version": "1.1",
    }  # fmt: skip
    await Starlette(routes=routes.routes())(scope, receive, send)
    return said[0]["status"], json.loads(said[1]["body"])


def test_what_came_of_a_slice_that_stops_stays(token, monkeypatch):
    monkeypatch.setattr(routes, "QUIET_SECONDS", 0.1)
    address = f"/upload/{token}/0?offset="
    assert asyncio.run(put(address + "0", [b"abc"], ends=False)) == (408, {"offset": 0}), "what is held waits for more"
    part = bytes(routes.PART_BYTES)
    assert asyncio.run(put(address + "0", [part, b"abc"], ends=False)) == (408, {"offset": len(part)})
    assert asyncio.run(put(f"{address}{len(part)}", [b"abc"])) == (200, {"offset": len(part) + 3})


def test_a_slice_that_drips_ends_after_a_while(token, monkeypatch):
    monkeypatch.setattr(routes, "SLICE_SECONDS", 0.3)
    status, said = asyncio.run(put(f"/upload/{token}/0?offset=0", [b"a"] * 1000, pause=0.05))
    assert status == 408
    assert "too long" in said["error"]


def test_an_announcement_that_does_not_come_ends(token, monkeypatch):
    monkeypatch.setattr(routes, "QUIET_SECONDS", 0.1)
    assert asyncio.run(put(f"/upload/{token}", [b"[["], ends=False))[0] == 408


@pytest.mark.parametrize("length", [str(uploads.SLICE_BYTES + 1), "9" * 5000, "-1", "x"])
def test_a_slice_that_says_it_is_too_long_is_refused_unread(token, length):
    status, _ = asyncio.run(put(f"/upload/{token}/0?offset=0", [], ends=False, content_length=length))
    assert status == 400


def test_a_slice_that_is_too_long_and_does_not_say_so_ends(token):
    parts = [bytes(1 << 20)] * 40
    status, said = asyncio.run(put(f"/upload/{token}/0?offset=0", parts))
    assert (status, "larger" in said["error"]) == (409, True)


def test_many_slices_of_one_address_wait_for_each_other(token, monkeypatch):
    monkeypatch.setattr(uploads.registry(), "places", Places(2))

    async def both() -> list[tuple[int, dict]]:
        slow = asyncio.create_task(put(f"/upload/{token}/0?offset=0", [b"a"] * 4, pause=0.1))
        await asyncio.sleep(0.15)
        return [await put(f"/upload/{token}/0?offset=0", [b"a"]), await slow]

    refused, done = asyncio.run(both())
    assert refused[0] == 429
    assert done == (200, {"offset": 4})


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ({}, True),
        ({"host": "a.example", "origin": "http://a.example"}, True),
        ({"host": "a.example:8501", "origin": "http://a.example:8501"}, True),
        ({"host": "a.example", "origin": "https://a.example:443"}, True),
        ({"host": "A.example.", "origin": "http://a.example"}, True),
        ({"host": "[::1]:8501", "origin": "http://[::1]:8501"}, True),
        ({"host": "127.0.0.1:8501", "origin": "https://a.example", "sec-fetch-site": "same-origin"}, True),
        ({"host": "a.example", "origin": "https://trusted.example"}, True),
        ({"host": "a.example", "origin": "http://a.example:8502"}, False),
        ({"host": "a.example", "origin": "http://b.example"}, False),
        ({"host": "a.example", "origin": "http://a.example", "sec-fetch-site": "cross-site"}, False),
        ({"host": "a.example", "sec-fetch-site": "same-site"}, False),
        ({"host": "a.example", "origin": "null"}, False),
        ({"host": "a.example", "origin": "http://["}, False),
        ({"host": "a.example:99999999", "origin": "http://a.example"}, False),
        ({"host": "", "origin": "http://"}, False),
    ],
)
def test_which_pages_are_our_own(headers, ours, monkeypatch):
    from starlette.datastructures import Headers

    monkeypatch.setattr("streamlit.get_option", lambda name: ["https://trusted.example/"])
    assert from_our_pages(Headers(headers)) == ours


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
    ],
)
def test_what_counts_as_one_address(address, network):
    assert network_of(address) == network


def test_links_in_text_stay_below_the_path_of_the_app(monkeypatch):
    assert menu.HOME.in_text() == f"[{menu.HOME.title}](/)"
    monkeypatch.setattr(routes.st, "get_option", {"server.baseUrlPath": "/quant/"}.get)
    assert menu.LEVELS.in_text() == f"[{menu.LEVELS.title}](/quant/{menu.LEVELS.address})"
