"""A server that `quantlib view` started, on a person's own machine: which files it shows, and to whom.

The command gives the server a secret, and the browser comes with it. Whoever has come with it may open any path of this
machine; for everybody else, also for other users of it, the server is one that opens nothing but what they bring. A
server that others can reach does not start like this.
"""

import hmac
import json
import os
import socket
import threading
import time
import webbrowser
from collections.abc import MutableMapping
from dataclasses import dataclass, field

import streamlit as st

from pages.server.visits import VISITS
from quantlib.errors import CheckpointError

VARIABLE = "QUANTLIB_VIEW"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
SHORTEST = 24  # characters of a secret
READY_SECONDS = 60


@dataclass(frozen=True)
class Viewing:
    """What the command said. sources: absolute paths or addresses of the hub, at most two."""

    token: str
    sources: tuple[str, ...]
    browser: bool = True
    _admitted: set[str] = field(default_factory=set, repr=False)

    @classmethod
    def of(cls, environment: MutableMapping[str, str]) -> "Viewing | None":
        """What an environment says, which is taken out of it; None where it says nothing. Raises CheckpointError."""
        text = environment.pop(VARIABLE, None)
        if text is None:
            return None
        try:
            said = json.loads(text)
            token, sources, browser = said["token"], said["sources"], said.get("browser", True)
            good = isinstance(token, str) and len(token) >= SHORTEST and isinstance(sources, list)
        except (ValueError, TypeError, KeyError):
            good = False
        if not good or not 1 <= len(sources) <= 2 or not all(isinstance(source, str) for source in sources):
            raise CheckpointError(f"{VARIABLE} is not what `quantlib view` sets; start the app by that command.")
        return cls(token, tuple(sources), browser is True)

    def admit(self, key: str, visit: str) -> bool:
        """Whether a visit came with the secret; its browser may open paths from now on, also after a reload."""
        if not hmac.compare_digest(key.encode(), self.token.encode()):
            return False
        self._admitted.update({visit, VISITS.browser(visit) or visit})
        return True

    def admits(self, visit: str) -> bool:
        """Whether a visit is of the person who started the server."""
        return visit in self._admitted or VISITS.browser(visit) in self._admitted

    def address(self, port: int) -> str:
        """What the browser opens."""
        return f"http://127.0.0.1:{port}/inspect?key={self.token}" + "&view=Compare" * (len(self.sources) > 1)


VIEWING = Viewing.of(os.environ)


def complaint() -> str | None:
    """A sentence, where a server that opens this machine's files would be reached by others."""
    if VIEWING is None or st.get_option("server.address") in LOOPBACK:
        return None
    return f"{VARIABLE} opens files of this machine, so the server may listen on 127.0.0.1 only; use `quantlib view`."


def at_home(visit: str) -> bool:
    """Whether a visit may open any path: it is of the person who started the server, and from this machine itself."""
    return VIEWING is not None and st.context.ip_address is None and VIEWING.admits(visit)


def open_browser() -> None:
    """Open the browser once the server answers."""
    if VIEWING is not None and VIEWING.browser:
        threading.Thread(target=_open_when_ready, args=(VIEWING,), name="browser", daemon=True).start()


def _open_when_ready(viewing: Viewing) -> None:
    port = st.get_option("server.port")
    for _ in range(20 * READY_SECONDS):
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                webbrowser.open(viewing.address(port))
                return
        time.sleep(0.05)
