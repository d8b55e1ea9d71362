"""Servers that have just started, and a room that opens every page at once: each page is drawn, and none fails."""

import asyncio
import time
from pathlib import Path

import pytest
from amount import AMOUNT
from person import Person
from server import Server, running

from pages.ui import menu


async def open_page(server: Server, address: str) -> list[str]:
    """What went wrong for somebody who comes to this page first."""
    try:
        async with Person(server.address, seconds=600) as person:
            await person.visit(address)
            return person.errors
    except Exception as error:  # a lost connection, say: the others' faults are told as well
        return [f"{address}: {type(error).__name__} {error}"]


async def open_all(server: Server) -> list[str]:
    pages = (open_page(server, entry.address) for entry in menu.ENTRIES)
    return [fault for faults in await asyncio.gather(*pages) for fault in faults]


@pytest.mark.parametrize("number", range(AMOUNT.servers))
def test_a_fresh_server_draws_all_pages_at_once(tmp_path: Path, number: int):
    began = time.monotonic()
    with running(tmp_path) as server:
        assert asyncio.run(open_all(server)) == []
        assert server.process.poll() is None
    log = (tmp_path / "server.log").read_text()
    assert "Traceback" not in log, log
    print(f"\nserver {number}: {len(menu.ENTRIES)} pages at once in {time.monotonic() - began:.1f} s with its start")
