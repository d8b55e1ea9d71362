"""The server's connections send what they have at once.

asyncio asks for that (TCP_NODELAY) where a socket says that its protocol is TCP. Streamlit makes the socket it listens
at without saying so. Then the second of two writes waits until the first one's receipt is confirmed, which browsers put
off for 40 ms: for every small file, and within every answer to a press.
"""

import asyncio
import socket


def send_at_once() -> None:
    """For the sockets that the running loop listens at from now on; what they accept inherits it."""
    loop = asyncio.get_running_loop()
    create_server = loop.create_server

    async def create(*args, sock: socket.socket | None = None, **options) -> asyncio.Server:
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return await create_server(*args, sock=sock, **options)

    if isinstance(loop, asyncio.BaseEventLoop):  # others, as uvloop's, look after it themselves
        loop.create_server = create
