"""A rehearsal: before a room comes, the server visits every page of its own and tries every choice on it once.

It is an ordinary session over the loopback interface, so what it warms is exactly what people will ask for: imports,
compiled kernels, and the caches that everybody shares.
"""

import logging
import time
from collections.abc import Iterable

import streamlit as st
import websockets

from pages.server import routes
from pages.server.visitor import Visitor

LOG = logging.getLogger("quantlib.app")
PATIENCE = 600  # seconds for one step on a cold server
MOST_CHOICES = 80  # of one control


async def rehearse(pages: Iterable[str]) -> None:
    """Visit every page, by its address; what goes wrong is logged and harms nobody."""
    started = time.monotonic()
    try:
        async with Visitor(f"127.0.0.1:{st.get_option('server.port')}{routes.prefix()}", PATIENCE) as visitor:
            for page in pages:
                began = time.monotonic()
                await visitor.visit(page)
                await try_choices(visitor)
                LOG.info("Rehearsed /%s in %.0f s.", page, time.monotonic() - began)
    except (OSError, TimeoutError, websockets.WebSocketException) as error:
        LOG.warning("The rehearsal ended early: %s. Is 127.0.0.1 among server.allowedHosts?", error)
        return
    LOG.warning("Rehearsed every page, every choice once, in %.0f s.", time.monotonic() - started)


async def try_choices(visitor: Visitor) -> None:
    """Make every guess and turn every switch on; then go through the choices of each control, and put it back."""
    decided: set[str] = set()
    while left := [id for id, widget in visitor.widgets.items() if widget.undecided and id not in decided]:
        decided.add(left[0])
        await visitor.set(visitor.widgets[left[0]].choice(left[0], -1))
    for id, widget in list(visitor.widgets.items()):
        if not widget.chooses or id in decided:
            continue
        for number in [*range(min(widget.count, MOST_CHOICES)), widget.default]:
            await visitor.set(widget.choice(id, number))
