"""Who is here: what a visit brought or started is released a while after its browser has gone.

Streamlit ends a session lazily, so files must not wait for that. A visit is a session of a browser; it survives short
losses of the connection. A reload is a new visit, which takes over by the token in the address what the same browser
held. A shared link lets others look at it and hold nothing: it goes when its owner has gone.
"""

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import streamlit as st

from pages.server.gate import network_of
from pages.server.streamlit_internals import browser_of


@dataclass
class Belonging:
    """Something to release once nobody holds it any more."""

    release: Callable[[], None]
    holders: set[str] = field(default_factory=set)


class Visits:
    """Which visits are here, since when the others have been away, and what each holds."""

    def __init__(self):
        self._away: dict[str, float | None] = {}
        self._addresses: dict[str, str] = {}
        self._browsers: dict[str, str] = {}
        self._belongings: dict[str, Belonging] = {}
        self._lock = threading.Lock()

    def arrived(self, visit: str, address: str | None = None, browser: str | None = None) -> None:
        """A visit's browser is here; from which network address, where it is not this machine's own.

        browser: what only this browser knows of itself, the same after a reload.
        """
        with self._lock:
            self._away[visit] = None
            if browser is not None:
                self._browsers[visit] = browser
            if address is not None:
                self._addresses[visit] = address

    def of_same_address(self, visit: str) -> set[str]:
        """The visits that share this one's network address, itself included: a guest may open many."""
        with self._lock:
            address = self._addresses.get(visit)
            return {visit} if address is None else {v for v, a in self._addresses.items() if a == address}

    def browser(self, visit: str) -> str | None:
        """What the browser of a visit knows of itself, if it said so."""
        with self._lock:
            return self._browsers.get(visit)

    def left(self, visit: str) -> None:
        with self._lock:
            self._away[visit] = time.monotonic()

    @property
    def here(self) -> int:
        """How many visits have a browser now."""
        with self._lock:
            return sum(since is None for since in self._away.values())

    def keep(self, key: str, release: Callable[[], None], visit: str) -> None:
        """From now on `visit` holds `key`; `release` is called once the last holder has gone."""
        with self._lock:
            self._belongings.setdefault(key, Belonging(release)).holders.add(visit)

    def take_over(self, key: str, visit: str) -> None:
        """One more holder, where this visit is of the same browser as one that holds it: a reload, another tab."""
        with self._lock:
            found, browser = self._belongings.get(key), self._browsers.get(visit)
            if found is not None and browser and browser in map(self._browsers.get, found.holders):
                found.holders.add(visit)

    def end(self, key: str) -> None:
        """Release `key` at once, whoever holds it."""
        with self._lock:
            found = self._belongings.pop(key, None)
        if found is not None:
            found.release()

    def drop(self, key: str, visit: str) -> None:
        """`visit` releases `key`, which goes at once where nobody else holds it."""
        with self._lock:
            found = self._belongings.get(key)
            if found is None:
                return
            found.holders.discard(visit)
            if found.holders:
                return
            del self._belongings[key]
        found.release()

    def holds(self, key: str, visit: str) -> bool:
        """Whether a visit is among the holders of `key`."""
        with self._lock:
            return key in self._belongings and visit in self._belongings[key].holders

    def sweep(self, away_seconds: float) -> None:
        """Forget visits that have been away for so long, and release what only they held."""
        now = time.monotonic()
        with self._lock:
            gone = {v for v, since in self._away.items() if since is not None and now - since >= away_seconds}
            for visit in gone:
                del self._away[visit]
                self._addresses.pop(visit, None)
                self._browsers.pop(visit, None)
            released = []
            for key, found in list(self._belongings.items()):
                found.holders &= self._away.keys()
                if not found.holders:
                    released.append(self._belongings.pop(key))
        for found in released:
            found.release()


VISITS = Visits()


def current() -> str:
    """This visit; called on every run of a page, which is what says that its browser is here."""
    visit = st.session_state.setdefault("visit", secrets.token_urlsafe(12))
    _present(visit)
    return visit


@st.cache_resource(scope="session", on_release=VISITS.left, show_spinner=False)
def _present(visit: str) -> str:
    """Cached for as long as the browser is connected: Streamlit releases it with the connection."""
    address = st.context.ip_address
    VISITS.arrived(visit, address and network_of(address), browser_of(st.context.cookies))
    return visit
