"""Everything of the server that leans on what Streamlit and uvicorn do not promise, in one place.

Each use says what it is for and what happens without it; tests/app/test_streamlit_internals.py names each of them, so
that a newer Streamlit which changes one is noticed before a visitor notices it. `docs/upgrading.md` tells how.
"""

import json
import logging
import time
from collections.abc import Mapping
from typing import Any

# What browser and server say to each other; visitor.py speaks it.
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState

__all__ = ["BackMsg", "ForwardMsg", "WidgetState"]

LOG = logging.getLogger("quantlib.app")

# Addresses that Streamlit's own page uses, below the app's root.
SOCKET = "/_stcore/stream"  # the session; visitor.py connects to it
HEALTH = "/_stcore/health"
WIDGET_UPLOADS = "/_stcore/upload_file/"  # st.file_uploader's route, which would hold what it gets in memory

BROWSER_COOKIE = "_streamlit_xsrf"
AWAY_SECONDS = 120  # that a session is kept for a browser whose connection was lost, as Streamlit does


def tell_server(prefix: str) -> str:
    """JavaScript that tells Streamlit's page where its server is; without it, it tries every folder of its address.

    Streamlit's Community Cloud shows an app below /~/+/ of its address, of which the app itself hears nothing.
    """
    shown_below = '(location.pathname.startsWith("/~/+/") ? "/~/+" : "")'
    return f"window.__streamlit = {{ BACKEND_BASE_URL: location.origin + {shown_below} + {json.dumps(prefix + '/')} }};"


def browser_of(cookies: Mapping[str, str]) -> str | None:
    """What tells this browser from others: the secret in the cookie by which Streamlit knows a foreign site's requests.

    The cookie is "2|mask|secret|time", hexadecimal, the secret's bytes turned by the mask's, another mask each time.
    Without such a cookie None: a reload then holds nothing of the visit before it.
    """
    try:
        version, mask, turned, _ = cookies.get(BROWSER_COOKIE, "").strip("\"'").split("|")
        mask, turned = bytes.fromhex(mask), bytes.fromhex(turned)
    except ValueError:
        return None
    if version != "2" or len(mask) != 4 or not 16 <= len(turned) <= 64:
        return None
    return bytes(byte ^ mask[i % 4] for i, byte in enumerate(turned)).hex()


def import_icons() -> None:
    """Import what checks the menu's icons, which else the first page does."""
    import streamlit.emojis  # noqa: F401


class AwaySessions:
    """Sessions whose browser has gone, which are ended after a while, and at once when there are too many.

    Streamlit's own storage forgets them without ending them; then each keeps an event loop, with three descriptors,
    until garbage is collected. The methods are those of Streamlit's SessionStorage; called in the server's loop.
    """

    def __init__(self, most: int, seconds: float = AWAY_SECONDS):
        self.most, self.seconds = most, seconds
        self._kept: dict[str, tuple[float, Any]] = {}

    def get(self, session_id: str) -> Any | None:
        since, found = self._kept.get(session_id, (0.0, None))
        return found if time.monotonic() - since <= self.seconds else None

    def save(self, session_info: Any) -> None:
        self._kept[session_info.session.id] = (time.monotonic(), session_info)
        self.end_old()

    def delete(self, session_id: str) -> None:
        self._kept.pop(session_id, None)

    def list(self) -> list[Any]:
        return [found for _, found in self._kept.values()]

    def end_old(self) -> None:
        """End those that have been away too long, and the oldest of too many."""
        now = time.monotonic()
        old = [key for key, (since, _) in self._kept.items() if now - since > self.seconds]
        old += [key for key in self._kept if key not in old][: max(0, len(self._kept) - len(old) - self.most)]
        for key in old:
            self._kept.pop(key)[1].session.shutdown()


def end_sessions_that_left(most: int) -> AwaySessions:
    """Let the running server keep at most so many sessions of browsers that have gone."""
    from streamlit.runtime import get_instance

    kept = AwaySessions(most)
    manager = getattr(get_instance(), "_session_mgr", None)
    if hasattr(manager, "_session_storage"):
        manager._session_storage = kept
    else:
        LOG.warning("This version of Streamlit keeps its sessions elsewhere: those that have left end late.")
    return kept
