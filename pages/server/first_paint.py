"""What a browser knows before the app's first message, written into the page that Streamlit serves.

The style sheets: so nothing changes its width or place when the first message comes. Until then, what is there stays
hidden: it would only move. And where the server is: else Streamlit guesses, from a link to a page, that it might live
below that page, asks there first, and the browser reports two errors.
"""

from functools import cache
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pages.server.routes import prefix
from pages.server.streamlit_internals import tell_server
from quantlib.figures import palette

ASSETS = Path(__file__).parents[2] / "assets"
SHEETS = ("style.css", "component/image.css", "first.css")
PRINTED = "ql-print"  # by which paper.js finds the sheet of what is printed
END = b"</body>"  # behind Streamlit's own sheets, which it puts into the head
ASKED = (b"accept-encoding", b"if-none-match", b"if-modified-since")  # the page itself, as it is, each time
CHANGED = (b"content-length", b"etag", b"last-modified")  # no longer those of the file


@cache
def known() -> bytes:
    """The style sheets of every page, the script that says when its frame is there, and the server's address."""
    sheets = "".join((ASSETS / name).read_text(encoding="utf-8") for name in SHEETS)
    framed = (ASSETS / "first.js").read_text(encoding="utf-8")
    printed = (ASSETS / "print.css").read_text(encoding="utf-8")
    sheets = f'<style>{palette.css()}{sheets}</style><style id="{PRINTED}" media="print">{printed}</style>'
    return f"{sheets}<script>{tell_server(prefix())}{framed}</script>".encode()


class FirstPaint:
    """Puts what is known into every HTML page."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = dict(scope.get("headers", ()))
        if scope["type"] != "http" or b"text/html" not in asked.get(b"accept", b""):
            await self.app(scope, receive, send)
            return
        scope = {**scope, "headers": [pair for pair in scope["headers"] if pair[0] not in ASKED]}
        started: Message | None = None
        body = b""

        async def send_with_it(message: Message) -> None:
            nonlocal started, body
            if message["type"] == "http.response.start" and _is_page(message):
                started = message
            elif started is None:
                await send(message)
            else:
                body += message.get("body", b"")
                if not message.get("more_body"):
                    body = body.replace(END, known() + END)
                    headers = [pair for pair in started["headers"] if pair[0].lower() not in CHANGED]
                    length = (b"content-length", str(len(body)).encode())
                    await send({**started, "headers": [*headers, length]})
                    await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, send_with_it)


def _is_page(start: Message) -> bool:
    headers = {name.lower(): value for name, value in start["headers"]}
    return headers.get(b"content-type", b"").startswith(b"text/html")
