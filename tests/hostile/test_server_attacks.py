"""One guest cannot take the room: attacks on a real server that has 4 GB and 1,024 descriptors."""

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attacks import (
    FOREIGN,
    ask,
    connect,
    empty_tensors,
    health,
    is_closed,
    shake_hands,
    stalled_slice,
    unfinished_message,
    watching_calls,
)
from bringing import bring, put, uploader
from person import Person
from server import Server, running

from pages.server.connections import LOOK_SECONDS, MESSAGE_BYTES, PATIENCE

MB = 10**6
OTHER = "127.0.0.2"  # on loopback, yet no proxy of this machine's


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    """A small server whose first page has been seen."""
    folder = tmp_path_factory.mktemp("attacked")
    with running(folder, small=True, **watching_calls(folder)) as server:
        asyncio.run(look(server.address))
        yield server


async def look(address: str, page: str = "what-a-float-stores", query: str = "") -> Person:
    """Somebody looks at a page and goes."""
    async with Person(address, seed=1) as person:
        await person.visit(page, query)
        assert not person.errors, person.errors
    return person


def route_of_upload(address: str) -> str:
    async def visit() -> str:
        async with Person(address, seed=1) as person:
            await person.visit("open")
            return uploader(person)[1]["address"]

    return asyncio.run(visit())


def most_memory(server: Server, seconds: float = 1) -> int:
    deadline, most = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        most = max(most, server.memory())
        time.sleep(0.05)
    return most


def test_unfinished_messages_take_no_memory(attacked):
    idle = attacked.memory()
    huge = [unfinished_message(attacked.address, 100 << 20, 99 << 20) for _ in range(8)]
    small = [unfinished_message(attacked.address, MESSAGE_BYTES, MESSAGE_BYTES - 1) for _ in range(8)]
    assert most_memory(attacked) - idle < 60 * MB
    assert all(is_closed(one) for one in huge)
    for one in small:
        one.close()


def test_stalled_slices_take_no_memory_and_give_way_to_one_that_comes(attacked):
    route = route_of_upload(attacked.address)
    assert put(attacked.address, route, json.dumps([["model.gguf", 1 << 30]]).encode())[0] == 200
    idle = attacked.memory()
    stalled = [stalled_slice(attacked.address, route, 16 << 20, 15 << 20) for _ in range(40)]
    assert most_memory(attacked) - idle < 60 * MB
    status, said = put(attacked.address, f"{route}/0?offset=0", b"x")
    if status == 416:  # what has come of the others stays
        status, said = put(attacked.address, f"{route}/0?offset={said['offset']}", b"x")
    assert status == 200, said
    for one in stalled:
        one.close()


def test_announcements_take_no_room_from_others(attacked):
    """Each could bring as much as is free; a reservation for one would leave nothing for the next."""
    for _ in range(4):
        route = route_of_upload(attacked.address)
        status, said = put(attacked.address, route, json.dumps([["model.gguf", 2 * 10**9]]).encode())
        assert status == 200, said


@pytest.mark.parametrize("origin", [FOREIGN, "null", "http://127.0.0.1.attacker.example", "http://[", "file://"])
def test_foreign_origins_are_refused_before_anybody_is_asked(attacked, origin):
    with ThreadPoolExecutor(5) as threads:
        begun = [threads.submit(shake_hands, attacked.address, origin) for _ in range(5)]
        assert health(attacked.address) < 2
        assert all(" 403 " in one.result()[1] for one in begun)
    assert not (attacked.folder / "calls").exists(), (attacked.folder / "calls").read_text()
    status, said = ask(attacked.address, "/upload/x", b"[]", "PUT", Origin=origin)
    assert (status, "own pages" in said) == (403, True)


def test_connections_that_say_nothing_leave_room_and_are_closed(attacked):
    silent = []
    for number in range(1100):
        try:
            silent.append(connect(attacked.address, OTHER))
            if number % 2:
                silent[-1].sendall(b"GET / HTTP/1.1\r\nX-Half: a")
        except OSError:
            break
    assert attacked.descriptors() < 700
    asyncio.run(asyncio.wait_for(look(attacked.address), 60))
    deadline = time.monotonic() + 60
    assert all(is_closed(one, deadline - time.monotonic()) for one in silent), (
        f"within {(PATIENCE + 1) * LOOK_SECONDS} s"
    )


@pytest.mark.parametrize(
    ("sender", "more"), [(OTHER, ""), ("127.0.0.1", "X-Forwarded-For: 192.0.2.1\r\n")], ids=["direct", "by a proxy"]
)
def test_sessions_of_one_address_leave_places_for_others(attacked, sender, more):
    answers = [shake_hands(attacked.address, sender=sender, more=more) for _ in range(100)]
    taken = sum(" 101 " in said for _, said in answers)
    assert 40 <= taken < 100
    asyncio.run(asyncio.wait_for(look(attacked.address), 60))
    for one, _ in answers:
        one.close()


def test_sessions_that_left_release_their_descriptors(attacked):
    before = attacked.descriptors()
    for _ in range(300):
        shake_hands(attacked.address)[0].close()
    deadline = time.monotonic() + 30
    while attacked.descriptors() > before + 120 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert attacked.descriptors() <= before + 120, "thirty-two sessions are kept for a lost connection, three each"


def shards(folder: Path, count: int) -> list[Path]:
    """A checkpoint of so many tiny files."""
    (folder / "config.json").write_text('{"model_type": "llama"}')
    paths = [folder / f"model-{number}.safetensors" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(empty_tensors(1, number))
    return [folder / "config.json", *paths]


def test_a_checkpoint_of_hundreds_of_files_does_not_take_all_descriptors(attacked, tmp_path):
    async def brings(count: int) -> str | None:
        async with Person(attacked.address, seed=1) as person:
            await person.visit("open")
            return await bring(person, *shards(tmp_path, count))

    before = attacked.descriptors()
    assert asyncio.run(brings(60)) is None
    assert "494 files" in asyncio.run(brings(494))
    assert attacked.descriptors() < before + 100
    asyncio.run(asyncio.wait_for(look(attacked.address), 60))


def test_many_empty_tensors_do_not_take_the_memory(attacked, tmp_path):
    for number in range(4):
        (tmp_path / f"model-{number}.safetensors").write_bytes(empty_tensors(100_000, number * 100_000))
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')

    async def brings() -> str | None:
        async with Person(attacked.address, seed=1) as person:
            await person.visit("open")
            return await bring(person, *tmp_path.iterdir())

    idle = attacked.memory()
    assert "no checkpoint has more" in asyncio.run(brings())
    assert most_memory(attacked) - idle < 400 * MB


@pytest.fixture(scope="module")
def route(attacked) -> str:
    return route_of_upload(attacked.address)


DEEP = b"[" * 100_000
LONG_NUMBER = b"9" * 5000
BODIES = {
    "deep lists": DEEP,
    "deep objects": b'{"a":' * 50_000,
    "a long number": b'[["model.gguf", %b]]' % LONG_NUMBER,
    "a huge number": b'[["model.gguf", 1e999]]',
    "a negative size": b'[["model.gguf", -1]]',
    "no pairs": b"[[1, 2, 3], [4]]",
    "no text": b"\xff\xfe",
    "a long name": json.dumps([["m" * 246 + ".gguf", 1]]).encode(),
    "too long a name": json.dumps([["m" * 5000 + ".gguf", 1]]).encode(),
    "a name of half a character": b'[["\\ud800.gguf", 1]]',
    "too much": b"[" + b" " * (1 << 20) + b"]",
}


@pytest.mark.parametrize("what", BODIES)
def test_odd_announcements_get_a_sentence(attacked, route, what):
    status, said = ask(attacked.address, route, BODIES[what], "PUT")
    assert 400 <= status < 500
    assert json.loads(said)["error"].endswith(".")


@pytest.mark.parametrize(
    "path",
    [
        f"/{'9' * 5000}?offset=0",
        f"/0?offset={'9' * 5000}",
        "/0?offset=-1",
        "/0?offset=1e9",
        "/0",
        "/-1?offset=0",
        "/%D9%A3?offset=0",
        f"/0?offset=0&{'a=1&' * 5000}",
    ],
    ids=lambda path: path[:24],
)
def test_odd_slices_get_a_sentence(attacked, route, path):
    status, said = ask(attacked.address, route + path, b"x", "PUT")
    assert 400 <= status < 500
    assert json.loads(said)["error"].endswith(".")


@pytest.mark.parametrize("path", ["/files/" + "9" * 5000, "/share/qr.svg", f"/share/qr.svg?address={'9' * 5000}"])
def test_odd_addresses_get_a_sentence(attacked, path):
    status, said = ask(attacked.address, path)
    assert 400 <= status < 500
    assert said.endswith(".")


def test_nothing_of_all_that_was_an_error_that_the_server_did_not_expect(attacked):
    health(attacked.address)
    log = (attacked.folder / "server.log").read_text()
    assert "Traceback" not in log, log[-3000:]
    assert not (attacked.folder / "calls").exists(), "and nothing outside was asked for anything"
