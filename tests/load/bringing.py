"""Bringing files to the Open page as its component does: announce, send slices, report that all has come."""

import asyncio
import json
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path

from person import Person

from pages.server.streamlit_internals import WidgetState


def put(address: str, path: str, body: bytes) -> tuple[int, dict]:
    """One PUT; returns the status and the answer."""
    connection = HTTPConnection(address, timeout=60)
    try:
        connection.request("PUT", path, body)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read() or b"{}")
    finally:
        connection.close()


def uploader(person: Person) -> tuple[str, dict]:
    """The id and the message of the uploader on the page."""
    for id, widget in person.widgets.items():
        if widget.kind == "bidi_component" and "uploader" in widget.proto.component_name:
            return id, json.loads(widget.proto.json)[0]
    raise LookupError("there is no uploader on this page")


def send(server: str, route: str, paths: Sequence[Path]) -> str | None:
    """Announce and send the files of a checkpoint; None, or the sentence with which they were refused."""
    sizes = [path.stat().st_size for path in paths]
    status, reply = put(server, route, json.dumps([[p.name, s] for p, s in zip(paths, sizes, strict=True)]).encode())
    if status != 200:
        return reply["error"]
    for number, (path, size) in enumerate(zip(paths, sizes, strict=True)):
        with open(path, "rb") as file:
            at = 0
            while at < size:
                status, answer = put(server, f"{route}/{number}?offset={at}", file.read(reply["slice"]))
                if status != 200:
                    return answer.get("error", f"status {status}")
                at = answer["offset"]
    return None


async def bring(person: Person, *paths: Path) -> str | None:
    """Bring files to the Open page that the person is on; None, or the sentence with which they were refused."""
    id, data = uploader(person)
    refused = await asyncio.to_thread(send, person.address, data["address"], paths)
    if refused:
        return refused
    person.states[id] = WidgetState(id=id, json_value=json.dumps({"done": {"token": data["token"]}}))
    person.alerts = []
    await person.run()
    return person.alerts[0] if person.alerts else None
