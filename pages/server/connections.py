"""What the server's listening socket grants to each connection, before a byte of it reaches Streamlit.

All of it is done at one place, `loop.create_server`, which uvicorn calls once for the socket that Streamlit made:

- *Send at once.* asyncio asks for TCP_NODELAY where a socket says that its protocol is TCP, and Streamlit's does not
  say so. Then the second of two writes waits until the first one's receipt is confirmed, which browsers put off for
  40 ms: for every small file, and within every answer to a press.
- *Short messages.* What a browser sends is held in memory until it is complete. Streamlit has one setting for what
  comes and what goes (server.maxMessageSize); what comes has a limit of its own here.
- *Room for everybody.* A connection that is no request yet, or takes nothing of its answer, is closed after a while,
  and one address never holds all of them.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass

from pages.server.gate import network_of

LOG = logging.getLogger("quantlib.app")
MESSAGE_BYTES = 1 << 20  # of one message from a browser; the largest that pages send has a few thousand
LOOK_SECONDS = 5
BURST = 128  # connections that are taken in one go, before the first of them is judged
PATIENCE = 3  # looks in a row at which a connection did nothing


@dataclass(eq=False)
class Connection:
    """What was seen of a connection. idle: looks in a row at which it did nothing, though it was its turn."""

    transport: asyncio.Transport
    protocol: asyncio.Protocol
    address: str
    seen: tuple = ()
    idle: int = 0

    @property
    def closed(self) -> bool:
        return self.transport.is_closing()

    def look(self) -> None:
        """Count this look, if nothing has moved since the last one."""
        unsent = self.transport.get_write_buffer_size()
        cycle = getattr(self.protocol, "cycle", None)  # uvicorn's request on this connection, None before the first
        is_request = self.transport.get_protocol() is not self.protocol or (
            cycle is not None and not cycle.response_complete
        )
        now = (unsent, id(cycle), is_request)
        stuck = unsent > 0 or not is_request
        self.idle = self.idle + 1 if stuck and now == self.seen else 0
        self.seen = now


class Connections:
    """The connections of one server: `most` of all, `most_of_one` of one address."""

    def __init__(self, most: int, most_of_one: int):
        self.most, self.most_of_one = most, most_of_one
        self._open: set[Connection] = set()

    def admit(self, transport: asyncio.Transport, protocol: asyncio.Protocol) -> bool:
        """Whether there is room for one more from where this one comes."""
        peer = transport.get_extra_info("peername")
        address = network_of(peer[0]) if isinstance(peer, tuple) else "local"
        self._open = {c for c in self._open if not c.closed}
        most = self.most if address in ("127.0.0.1", "::1", "local") else self.most_of_one  # a proxy on this machine
        if len(self._open) >= self.most or sum(c.address == address for c in self._open) >= most:
            return False
        self._open.add(Connection(transport, protocol, address))
        return True

    def look(self) -> None:
        """Close what has done nothing for too long; called every LOOK_SECONDS."""
        for connection in list(self._open):
            if connection.closed:
                self._open.discard(connection)
                continue
            connection.look()
            if connection.idle >= PATIENCE:
                connection.transport.abort()

    def guarded(self, make: Callable[..., asyncio.Protocol]) -> Callable[..., asyncio.Protocol]:
        """The server's protocols, made by `make`, with these limits."""

        def guarded(*args, **options) -> asyncio.Protocol:
            protocol = make(*args, **options)
            limit_messages(protocol)
            begin = protocol.connection_made

            def connection_made(transport: asyncio.Transport) -> None:
                begin(transport)
                if not self.admit(transport, protocol):
                    transport.abort()

            protocol.connection_made = connection_made
            return protocol

        return guarded


def limit_messages(protocol: asyncio.Protocol) -> None:
    """A limit for what comes by sockets; if uvicorn keeps its settings elsewhere, server.maxMessageSize remains."""
    settings = getattr(protocol, "config", None)
    if getattr(settings, "ws_max_size", None):
        settings.ws_max_size = min(settings.ws_max_size, MESSAGE_BYTES)


def guard_connections(connections: Connections) -> None:
    """For the sockets that the running loop listens at from now on."""
    loop = asyncio.get_running_loop()
    create_server = loop.create_server

    async def create(make, *args, sock: socket.socket | None = None, backlog: int = BURST, **options) -> asyncio.Server:
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return await create_server(connections.guarded(make), *args, sock=sock, backlog=min(backlog, BURST), **options)

    try:
        loop.create_server = create
    except AttributeError:  # a loop that is not Python's, as uvloop's, takes nothing in place of its own
        LOG.warning("This event loop cannot be guarded: run the app without uvloop, or limit connections in a proxy.")
