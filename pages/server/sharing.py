"""A QR code of an address, as SVG: how people in a room come to the state that is on the wall."""

import io
from functools import lru_cache

import segno
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from pages.server.gate import Places, address_of

PLACES = Places(4)  # codes that are drawn at once
LONGEST = 1200  # characters: a denser code is not read from the back of a room


@lru_cache(256)
def qr_svg(text: str) -> str:
    """The code in black on white, whatever the theme: cameras expect that. Raises ValueError where it is too long."""
    if not 0 < len(text) <= LONGEST:
        raise ValueError(f"An address of {len(text):,} characters makes no readable code.")
    out = io.BytesIO()
    segno.make(text, error="m", micro=False).save(
        out, kind="svg", scale=8, border=3, light="#fff", xmldecl=False, svgns=True, omitsize=True
    )
    return out.getvalue().decode()


def qr(request: Request) -> Response:
    """`/share/qr.svg?address=…`; on a thread of its own, since a long address takes part of a second."""
    sender = address_of(request.scope)
    if not PLACES.take(sender):
        return PlainTextResponse("Many codes are being drawn just now; try again in a moment.", status_code=429)
    try:
        return Response(qr_svg(request.query_params.get("address", "")), media_type="image/svg+xml")
    except ValueError as error:
        return PlainTextResponse(str(error), status_code=400)
    finally:
        PLACES.leave(sender)
