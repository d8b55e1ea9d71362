"""Routes beside Streamlit's own, for what must not pass through the server's memory: uploads in slices, and finished
files straight from disk."""

import json
from urllib.parse import urlsplit

import anyio.to_thread
import streamlit as st
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from pages.server import uploads
from pages.server.jobs import registry
from quantlib.errors import QuantlibError

ANNOUNCEMENT_BYTES = 1 << 18
MOST_BYTES_OF_A_FILE = 1 << 50


async def download(request: Request) -> Response:
    """The file of a finished job; its token is the key."""
    job = registry().get(request.path_params["token"])
    if job is None or job.path is None:
        return PlainTextResponse("This file is no longer kept on the server; run the job again.", status_code=404)
    return FileResponse(
        job.path,
        media_type="application/octet-stream",
        filename=job.file_name,
        headers={"Cache-Control": "private, no-store", "Content-Encoding": "identity"},
    )


async def announce(request: Request) -> Response:
    """[[name, size], ...] of the files that will come under this token."""
    if not _same_origin(request):
        return _refused("Uploads are taken from this app's own pages only.", 403)
    try:
        said = json.loads(await _body(request, ANNOUNCEMENT_BYTES))
        files = [(_name(name), _count(size)) for name, size in said]
    except (ValueError, TypeError, ClientDisconnect):
        return _refused("This is no list of files with their sizes.", 400)
    try:
        await anyio.to_thread.run_sync(uploads.registry().announce, request.path_params["token"], files)
    except QuantlibError as error:
        return _refused(str(error), 409)
    return _json({"slice": uploads.SLICE_BYTES})


async def append(request: Request) -> Response:
    """A slice of one file, at the offset where that file ends so far; answers with the new end."""
    if not _same_origin(request):
        return _refused("Uploads are taken from this app's own pages only.", 403)
    token, number = request.path_params["token"], request.path_params["number"]
    if uploads.registry().get(token) is None:
        return _refused("This upload is not known (any more); reload the page and choose the files again.", 404)
    try:
        offset = _count(int(request.query_params["offset"]))
        data = await _body(request, uploads.SLICE_BYTES)
    except (ValueError, KeyError, ClientDisconnect):
        return _refused("This is no slice of a file.", 400)
    try:
        end = await anyio.to_thread.run_sync(uploads.registry().append, token, number, offset, data)
    except uploads.Misplaced as misplaced:
        return _json({"offset": misplaced.offset}, 416)
    except QuantlibError as error:
        return _refused(str(error), 409)
    return _json({"offset": end})


async def _body(request: Request, most: int) -> bytes:
    """The body, read as it comes and never beyond `most` bytes. Raises ValueError where it is longer."""
    parts, length = [], 0
    async for part in request.stream():
        length += len(part)
        if length > most:
            raise ValueError("too long")
        parts.append(part)
    return b"".join(parts)


def _same_origin(request: Request) -> bool:
    """Browsers name the page that sends; another site's page is refused. The Host may be a proxy's to rewrite, so
    what counts is what the browser itself says of the two (Sec-Fetch-Site), and the token, which only our pages know.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        return site in ("same-origin", "none")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


def _name(name) -> str:
    if not isinstance(name, str) or not 0 < len(name) < 256:
        raise ValueError("no name")
    return name


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
        Route(f"{prefix()}/upload/{{token}}/{{number:int}}", append, methods=["PUT"]),
    ]


def address(token: str) -> str:
    """Where a browser finds a job's file."""
    return f"{prefix()}/files/{token}"


def upload_address(token: str) -> str:
    """Where a browser sends its files."""
    return f"{prefix()}/upload/{token}"
