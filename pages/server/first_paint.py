"""What a browser knows before the app's first message, written into the page that Streamlit serves.

The style sheets: so nothing changes its width or place when the first message comes. Until then, what is there stays
hidden: it would only move. And where the server is: else Streamlit guesses, from a link to a page, that it might live
below that page, asks there first, and the browser reports two errors.

An address that no page has gets a page of its own, which says so and leads to the one with the nearest name.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from html import escape
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
NOWHERE = """:root { color-scheme: light dark; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1.1rem/1.5 system-ui, sans-serif; }
main { max-width: 36rem; margin: 15vh auto; padding: 0 1.2rem; }
a { color: var(--role-code); }
code { overflow-wrap: anywhere; }"""
CHANGED = (b"content-length", b"etag", b"last-modified")  # no longer those of the file


@cache
def known() -> bytes:
    """The style sheets of every page, the script that says when its frame is there, and the server's address."""
    sheets = "".join((ASSETS / name).read_text(encoding="utf-8") for name in SHEETS)
    framed = (ASSETS / "first.js").read_text(encoding="utf-8")
    printed = (ASSETS / "print.css").read_text(encoding="utf-8")
    sheets = f'<style>{palette.css()}{sheets}</style><style id="{PRINTED}" media="print">{printed}</style>'
    return f"{sheets}<script>{tell_server(prefix())}{framed}</script>".encode()


def nearest(asked: str, pages: Mapping[str, str]) -> str:
    """The address of the page whose address or title is most like what was asked for; else that of the first page."""
    names = {name.lower(): address for address, title in pages.items() for name in (address, title) if name}
    found = get_close_matches(asked.lower().replace("_", "-"), names, 1, 0.5)
    return names[found[0]] if found else ""


def nowhere(asked: str, pages: Mapping[str, str]) -> bytes:
    """The page of an address that no page has."""
    near = nearest(asked, pages)
    links = "".join(
        f'<li><a href="{prefix()}/{address}">{escape(pages[address])}</a></li>' for address in dict.fromkeys((near, ""))
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>No such page</title><style>{palette.css()}{NOWHERE}</style><main><h1>There is no such page here</h1>"
        f"<p>No page has the address <code>/{escape(asked[:200])}</code>. Perhaps you look for:</p>"
        f"<ul>{links}</ul></main></html>"
    ).encode()


class FirstPaint:
    """Puts what is known into every HTML page, and answers for addresses that no page has."""

    def __init__(self, app: ASGIApp, pages: Mapping[str, str]):
        self.app = app
        self.pages = pages  # the titles of all pages by their addresses

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
                    asked_for = scope["path"].removeprefix(prefix()).strip("/")
                    there = asked_for in self.pages
                    body = body.replace(END, known() + END) if there else nowhere(asked_for, self.pages)
                    headers = [pair for pair in started["headers"] if pair[0].lower() not in CHANGED]
                    length = (b"content-length", str(len(body)).encode())
                    status = started["status"] if there else 404
                    await send({**started, "status": status, "headers": [*headers, length]})
                    await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, send_with_it)


def _is_page(start: Message) -> bool:
    headers = {name.lower(): value for name, value in start["headers"]}
    kept = b"content-disposition" in headers  # a report that somebody downloads
    return headers.get(b"content-type", b"").startswith(b"text/html") and not kept
