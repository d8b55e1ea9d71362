"""The launcher: `streamlit run app.py`.

Pages live in `pages/`; Streamlit would route them by itself if it found that folder beside its main script, and
then the first visit to a deep link on a fresh server misses the router. So the main script is `pages/ui/entry.py`,
which holds the router, and this file only builds the server around it.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import streamlit as st  # noqa: E402

st.secrets.load_if_toml_exists()  # as environment variables: settings on Streamlit's Community Cloud come so

from starlette.middleware import Middleware  # noqa: E402

from pages.server import files, first_paint, gate, routes, security, viewing, warmup  # noqa: E402
from pages.ui import menu  # noqa: E402

TITLES = {entry.address: entry.title for entry in menu.ENTRIES}
PAGES = {entry.address: Path(entry.path) for entry in menu.ENTRIES}
if complaint := files.complaint() or viewing.complaint():
    sys.exit(complaint)

app = st.App(
    ROOT / "pages" / "ui" / "entry.py",
    lifespan=warmup.lifespan(PAGES),
    routes=routes.routes(),
    middleware=[
        Middleware(gate.Gate),
        Middleware(security.SecurityHeaders),
        Middleware(first_paint.FirstPaint, pages=TITLES),
    ],
    on_script_error=security.show_sentence,
)
