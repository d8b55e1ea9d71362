"""Routes beside Streamlit's own, for what must not pass through the server's memory: uploads in slices, and finished
files straight from disk."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from typing import TypeVar

import anyio
import anyio.to_thread
import streamlit as st
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from pages.server import sharing, uploads
from pages.server.files import told
from pages.server.gate import address_of, from_our_pages
from pages.server.jobs import registry
from quantlib.errors import QuantlibError

T = TypeVar("T")
ANNOUNCEMENT_BYTES = 1 << 18
PART_BYTES = 1 << 18  # of a slice that are held at a time
QUIET_SECONDS = 20  # that a slice's next bytes may take
SLICE_SECONDS = 120  # that a slice may take; what has come by then stays
MOST_BYTES_OF_A_FILE = 1 << 50


async def download(request: Request) -> Response:
    """The file of a finished job; its token is the key."""
    job = registry().get(request.path_params["token"])
    try:
        if job is None or job.path is None:
            raise FileNotFoundError
        state = await anyio.to_thread.run_sync(os.stat, job.path)  # it may have been swept since the job was found
    except FileNotFoundError:
        return PlainTextResponse("This file is no longer kept on the server; run the job again.", status_code=404)
    return FileResponse(
        job.path,
        media_type="application/octet-stream",
        filename=job.file_name,
        headers={"Cache-Control": "private, no-store", "Content-Encoding": "identity"},
        stat_result=state,
    )


async def announce(request: Request) -> Response:
    """[[name, size], ...] of the files that will come under this token."""
    if not from_our_pages(request.headers):
        return _refused("Uploads are taken from this app's own pages only.", 403)
    try:
        said = await _within(_body(request, ANNOUNCEMENT_BYTES), QUIET_SECONDS)
        files = [(_path(name), _count(size)) for name, size in json.loads(said)]
    except (ValueError, TypeError, RecursionError, ClientDisconnect):
        return _refused("This is no list of files with their sizes.", 400)
    except TimeoutError:
        return _refused("The list of files did not come; send it again.", 408)
    token, address = request.path_params["token"], address_of(request.scope)
    try:
        await anyio.to_thread.run_sync(uploads.registry().announce, token, files, address)
    except QuantlibError as error:
        return _refused(told(error), 409)
    return _json({"slice": uploads.SLICE_BYTES})


async def append(request: Request) -> Response:
    """A slice of one file, at the offset where that file ends so far; answers with the new end."""
    registry, address, token = uploads.registry(), address_of(request.scope), request.path_params["token"]
    if not from_our_pages(request.headers):
        return _refused("Uploads are taken from this app's own pages only.", 403)
    if registry.get(token) is None:
        return _refused("This upload is not known (any more); reload the page and choose the files again.", 404)
    try:
        number, offset = _whole(request.path_params["number"]), _whole(request.query_params.get("offset", ""))
        if _whole(request.headers.get("content-length", "0")) > uploads.SLICE_BYTES:
            raise ValueError("too much for a slice")
    except ValueError:
        return _refused("This is no slice of a file.", 400)
    if not registry.places.take(address):
        return _refused("Many files are coming in just now; this one goes on in a moment.", 429)
    try:
        return await _append(request, registry, token, number, offset)
    finally:
        registry.places.leave(address)


async def _append(request: Request, registry: uploads.Uploads, token: str, number: int, offset: int) -> Response:
    """Writes a slice as it comes. What has come stays, if the rest does not: the browser goes on from there."""
    with anyio.move_on_after(SLICE_SECONDS) as scope:
        try:
            coming = await anyio.to_thread.run_sync(registry.begin, token, number, offset, _from_thread(scope.cancel))
            with closing(coming):
                async for part in _parts(request):
                    await anyio.to_thread.run_sync(coming.write, part)
        except uploads.Misplaced as misplaced:
            return _json({"offset": misplaced.offset}, 416)
        except QuantlibError as error:
            return _refused(told(error), 409)
        except (TimeoutError, ClientDisconnect):
            return _json({"offset": coming.end}, 408)
    if scope.cancelled_caught:
        return _refused("This slice took too long, or was sent again meanwhile.", 408)
    return _json({"offset": coming.end})


async def _parts(request: Request) -> AsyncIterator[bytes]:
    """The body in parts of about PART_BYTES. Raises TimeoutError where the next bytes do not come."""
    held, stream = bytearray(), request.stream()
    while (data := await _within(anext(stream, None), QUIET_SECONDS)) is not None:
        held += data
        if len(held) >= PART_BYTES:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


def _from_thread(call: Callable[[], None]) -> Callable[[], None]:
    """`call`, to be called from any thread, in the loop that runs now."""
    loop = asyncio.get_running_loop()
    return lambda: loop.call_soon_threadsafe(call)


async def _within(work: Awaitable[T], seconds: float) -> T:
    async with asyncio.timeout(seconds):
        return await work


async def _body(request: Request, most: int) -> bytes:
    """The body, read as it comes and never beyond `most` bytes. Raises ValueError where it is longer."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise ValueError("too long")
        parts.append(part)
    return b"".join(parts)


def _whole(text: str) -> int:
    """A number from an address, of plain digits and not too many of them. Raises ValueError for anything else."""
    if not text.isascii() or not text.isdigit() or len(text) > 16:
        raise ValueError("no number")
    return _count(int(text))


def _path(path) -> str:
    if not isinstance(path, str) or not 0 < len(path) < 1024:
        raise ValueError("no path")
    return path


def _count(size) -> int:
    if type(size) is not int or not 0 <= size < MOST_BYTES_OF_A_FILE:
        raise ValueError("no size")
    return size


def _json(content: dict, status: int = 200) -> JSONResponse:
    return JSONResponse(content, status, headers={"Cache-Control": "no-store"})


def _refused(sentence: str, status: int) -> JSONResponse:
    return _json({"error": sentence}, status)


def prefix() -> str:
    """The path under which the app is served ("/quant"), empty at the root of a host."""
    base = (st.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{base}" if base else ""


def routes() -> list[Route]:
    return [
        Route(f"{prefix()}/files/{{token}}", download),
        Route(f"{prefix()}/upload/{{token}}", announce, methods=["PUT"]),
        Route(f"{prefix()}/upload/{{token}}/{{number}}", append, methods=["PUT"]),
        Route(f"{prefix()}/share/qr.svg", sharing.qr),
    ]


def address(token: str) -> str:
    """Where a browser finds a job's file."""
    return f"{prefix()}/files/{token}"


def upload_address(token: str) -> str:
    """Where a browser sends its files."""
    return f"{prefix()}/upload/{token}"
