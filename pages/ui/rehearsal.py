"""A rehearsal: before a room comes, the server visits every page of its own, so that what is made once is made.

It is an ordinary session over the loopback interface, so what it warms is exactly what people will ask for: imports,
compiled kernels, and the caches that everybody shares.
"""

import asyncio
import logging

import streamlit as st
import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from pages.ui import menu, routes

LOG = logging.getLogger("quantlib.app")
MOST_BYTES = 64 << 20
PATIENCE = 600  # seconds for one page on a cold server


async def rehearse() -> None:
    """Visit every page; what goes wrong is logged and harms nobody."""
    host = f"127.0.0.1:{st.get_option('server.port')}"
    address = f"ws://{host}{routes.prefix()}/_stcore/stream"
    try:
        async with websockets.connect(
            address, subprotocols=["streamlit"], origin=f"http://{host}", max_size=MOST_BYTES
        ) as socket:
            for entries in menu.SECTIONS.values():
                for entry in entries:
                    await asyncio.wait_for(_visit(socket, entry.address), PATIENCE)
    except (OSError, TimeoutError, websockets.WebSocketException) as error:
        LOG.warning("The rehearsal ended early: %s. Is 127.0.0.1 among server.allowedHosts?", error)
        return
    LOG.warning("Rehearsed: every page has been visited once.")


async def _visit(socket, page: str) -> None:
    """Run one page to its end."""
    message = BackMsg()
    message.rerun_script.page_name = page
    await socket.send(message.SerializeToString())
    while True:
        answer = ForwardMsg()
        answer.ParseFromString(await socket.recv())
        early = answer.script_finished == ForwardMsg.FINISHED_EARLY_FOR_RERUN
        if answer.WhichOneof("type") == "script_finished" and not early:
            return
