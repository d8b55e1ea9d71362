"""Routes beside Streamlit's own: finished files, straight from disk, so that downloads cost the server no memory."""

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from pages.ui.jobs import registry


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


ROUTES = [Route("/files/{token}", download)]


def address(token: str) -> str:
    """Where a browser finds a job's file."""
    return f"/files/{token}"
