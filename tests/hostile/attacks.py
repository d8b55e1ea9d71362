"""What a guest with bad intentions does to a server: bare sockets that say what no browser would.

Each attack is a function over the server's address ("127.0.0.1:8501"). `sender` is the address that it comes from: on
loopback a machine has many.
"""

import base64
import json
import os
import secrets
import socket
import struct
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

SOCKET = "/_stcore/stream"
FOREIGN = "http://attacker.example"
UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: streamlit\r\nOrigin: {origin}\r\n{more}\r\n"
)


def connect(address: str, sender: str = "127.0.0.1") -> socket.socket:
    host, _, port = address.partition(":")
    return socket.create_connection((host, int(port)), timeout=30, source_address=(sender, 0))


def shake_hands(address: str, origin: str | None = None, sender: str = "127.0.0.1", more: str = ""):
    """A socket with its handshake done, with `more` header lines; returns it and the first line of the answer."""
    opened = connect(address, sender)
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    said = UPGRADE.format(path=SOCKET, host=address, key=key, origin=origin or f"http://{address}", more=more)
    opened.sendall(said.encode())
    said = b""
    while b"\r\n\r\n" not in said and (part := opened.recv(4096)):
        said += part
    return opened, said.split(b"\r\n", 1)[0].decode()


def unfinished_message(address: str, claimed: int, sent: int, sender: str = "127.0.0.1") -> socket.socket:
    """A socket whose first message claims so many bytes and brings only some of them; it may be closed meanwhile."""
    opened, said = shake_hands(address, sender=sender)
    assert " 101 " in said, said
    opened.settimeout(10)
    with suppress(OSError):
        opened.sendall(struct.pack("!BBQ4s", 0x82, 0xFF, claimed, b"\0\0\0\0"))
        for _ in range(sent >> 20):
            opened.sendall(bytes(1 << 20))
        opened.sendall(bytes(sent & ((1 << 20) - 1)))
    return opened


def is_closed(opened: socket.socket, seconds: float = 30) -> bool:
    """Whether the other side ends this connection within so many seconds."""
    deadline = time.monotonic() + seconds
    try:
        while (left := deadline - time.monotonic()) > 0:
            opened.settimeout(left)
            if not opened.recv(1 << 16):
                return True
    except TimeoutError:
        return False
    except OSError:
        return True
    return False


def stalled_slice(address: str, route: str, claimed: int, sent: int, sender: str = "127.0.0.1") -> socket.socket:
    """An upload's slice that stops in its middle."""
    opened = connect(address, sender)
    opened.settimeout(10)
    head = f"PUT {route}/0?offset=0 HTTP/1.1\r\nHost: {address}\r\nContent-Length: {claimed}\r\n\r\n"
    with suppress(OSError):
        opened.sendall(head.encode())
        for at in range(0, sent, 1 << 20):
            opened.sendall(bytes(min(1 << 20, sent - at)))
    return opened


def ask(address: str, path: str, body: bytes | None = None, method: str | None = None, **headers: str):
    """One request; returns the status and the text, whatever they are."""
    request = urllib.request.Request(f"http://{address}{path}", body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, reply.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


def health(address: str) -> float:
    """Seconds until the server says that it is well."""
    started = time.perf_counter()
    assert ask(address, "/_stcore/health") == (200, "ok")
    return time.perf_counter() - started


def empty_tensors(count: int, first: int = 0) -> bytes:
    """A safetensors file that describes many tensors and holds nothing."""
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({f"t{first + i}": entry for i in range(count)}).encode()
    return struct.pack("<Q", len(header)) + header


WATCH = """
import os, socket
HERE = ("127.", "::1", "::", "localhost", "0.0.0.0", "/")

def watched(own, place):
    def call(*args, **options):
        address = args[place]
        host = str(address[0] if isinstance(address, tuple) else address or "")
        if host and not host.startswith(HERE):
            with open(os.environ["CALLS_OUT"], "a") as out:
                print(own.__name__, address, file=out)
            raise OSError("nothing outside can be reached")
        return own(*args, **options)
    return call

class Watched(socket.socket):
    connect = watched(socket.socket.connect, 1)
    connect_ex = watched(socket.socket.connect_ex, 1)

socket.getaddrinfo = watched(socket.getaddrinfo, 0)
socket.socket = Watched
"""


def watching_calls(folder: Path) -> dict[str, str]:
    """Settings of a server that writes every address outside this machine that it asks for into `calls` in `folder`."""
    (folder / "hook").mkdir()
    (folder / "hook" / "sitecustomize.py").write_text(WATCH)
    path = os.pathsep.join(filter(None, (str(folder / "hook"), os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path, "CALLS_OUT": str(folder / "calls")}
