"""Headers for every response, and errors as sentences instead of tracebacks."""

import logging
from collections.abc import Iterable

import streamlit as st
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from pages.server import files
from pages.server.limits import LIMITS
from pages.server.streamlit_internals import WIDGET_UPLOADS
from quantlib.errors import QuantlibError

LOG = logging.getLogger("quantlib.app")


def policy(frames: Iterable[str]) -> bytes:
    """What a browser may do with the app's pages. frames: the other sites that may show them in a frame."""
    return " ".join(("frame-ancestors 'self'", *frames)).encode() + b"; object-src 'none'; base-uri 'self'"


HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",
    b"content-security-policy": policy(LIMITS.frames),
}


class SecurityHeaders:
    """Adds HEADERS to every HTTP response, and refuses uploads beside the app's own route."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message):
            if message["type"] == "http.response.start":
                present = {name for name, _ in message["headers"]}
                extra = [(name, value) for name, value in HEADERS.items() if name not in present]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        if scope["type"] == "http" and WIDGET_UPLOADS in scope["path"]:
            refusal = PlainTextResponse("Uploads go through the Open page.", status_code=403)
            await refusal(scope, receive, send_with_headers)
            return
        await self.app(scope, receive, send_with_headers if scope["type"] == "http" else send)


def warn_operator() -> None:
    """Say at the start what would leave this server open, or shut, to others than was meant."""
    hosts, address = st.get_option("server.allowedHosts"), st.get_option("server.address") or ""
    odd = [host for host in hosts if set(host) & set("[]\"', /")]
    if odd:
        LOG.warning(
            "server.allowedHosts holds %r, which is no name of a host, so no browser gets in by it. Give one name at a "
            "time: --server.allowedHosts workshop.example.org --server.allowedHosts 127.0.0.1", odd[0],
        )  # fmt: skip
    elif not hosts and address not in ("127.0.0.1", "::1", "localhost"):
        LOG.warning(
            "server.allowedHosts is not set: any site on the web can point a name of its own at this server and use it "
            "from its visitors' browsers. Name the hosts that people type, one at a time: --server.allowedHosts "
            "workshop.example.org --server.allowedHosts 127.0.0.1"
        )


def show_sentence(error: Exception) -> bool:
    """Show an error as one sentence; the server's log keeps the traceback of those we did not foresee."""
    if isinstance(error, QuantlibError):
        st.error(files.told(error), icon="⚠️")
    else:
        LOG.error("a page failed", exc_info=error)
        st.error("This page met an error that it did not expect; reload it, or choose other settings.", icon="⚠️")
    return True
