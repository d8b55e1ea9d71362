"""The gate: what is refused before Streamlit or any route sees it.

Another site's page may neither open a session nor send files. Streamlit would decide that, too, but by asking an
address on the internet for this machine's own name, and everybody waits for the answer; so it is decided here, and what
goes on to Streamlit carries an origin that leaves nothing to ask. And one address never gets all the places there are.
"""

import ipaddress
import threading
from collections import Counter
from urllib.parse import urlsplit

import streamlit as st
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

from pages.server.descriptors import budget

DEFAULT_PORTS = {"http": 80, "https": 443}
IPV6_NETWORK = 64  # leading bits that a provider gives to one customer at least
POLICY, TRY_LATER = 1008, 1013  # codes of websockets; before the handshake, both become a 403


def place_of(text: str, scheme: str) -> tuple[str, int | None] | None:
    """Host and port of an origin or a Host header, by default the scheme's own port; None where it is neither."""
    try:
        parts = urlsplit(text if "//" in text else f"//{text}")
        return (parts.hostname.rstrip("."), parts.port or DEFAULT_PORTS.get(scheme)) if parts.hostname else None
    except ValueError:
        return None


def from_our_pages(headers: Headers) -> bool:
    """Whether a request comes from a page of this app, from a site that the operator trusts, or from no page at all.

    A proxy may have rewritten the Host, so what the browser itself says of the two (Sec-Fetch-Site) comes first.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site in ("same-origin", "none") or origin is None:
        return site in ("same-origin", "none", None)
    if origin.strip().rstrip("/") in {o.strip().rstrip("/") for o in st.get_option("server.corsAllowedOrigins")}:
        return True
    scheme = origin.partition(":")[0].lower()
    said = place_of(origin, scheme)
    return site is None and said is not None and said == place_of(headers.get("host", ""), scheme)


def network_of(address: str) -> str:
    """What counts as one address: IPv4's as it is, also inside IPv6; of IPv6 the network, which one guest has whole."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4 or found.is_loopback:
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((found, IPV6_NETWORK), strict=False))


def address_of(scope: Scope) -> str:
    """The address of whoever asks; behind a trusted proxy, the one that the proxy names."""
    client = scope.get("client")
    return network_of(client[0]) if client else "unknown"


class Places:
    """Counts who is in; one address gets at most half of the places."""

    def __init__(self, most: int):
        self.most, self.most_of_one = most, max(1, most // 2)
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def taken(self) -> int:
        return self._taken.total()

    def take(self, address: str) -> bool:
        """Whether there was a place for this address, which then is taken."""
        with self._lock:
            free = self.taken < self.most and self._taken[address] < self.most_of_one
            if free:
                self._taken[address] += 1
            return free

    def leave(self, address: str) -> None:
        with self._lock:
            self._taken[address] -= 1
            if self._taken[address] <= 0:
                del self._taken[address]


class Gate:
    """Lets sockets of our own pages in, as long as there are places."""

    def __init__(self, app: ASGIApp, places: Places | None = None):
        self.app = app
        self.places = places or Places(budget().visits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self.app(scope, receive, send)
            return
        headers, address = Headers(scope=scope), address_of(scope)
        if not from_our_pages(headers):
            await send({"type": "websocket.close", "code": POLICY})
        elif not self.places.take(address):
            await send({"type": "websocket.close", "code": TRY_LATER})
        else:
            try:
                await self.app(_as_our_own(scope), receive, send)
            finally:
                self.places.leave(address)


def _as_our_own(scope: Scope) -> Scope:
    """The request with an origin that is the Host's: it has been judged."""
    scope = {**scope, "headers": list(scope["headers"])}
    headers = MutableHeaders(scope=scope)
    if "origin" in headers:
        headers["origin"] = f"http://{headers.get('host', '')}"
    return scope
