"""What the server does beside serving: warm up before anyone waits for it, and sweep what nobody needs any more."""

import ast
import asyncio
import gc
import importlib
import itertools
import pkgutil
import subprocess
import sys
import threading
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from pages.server import files, jobs, rehearsal, security, uploads
from pages.server.connections import LOOK_SECONDS, Connections, guard_connections
from pages.server.descriptors import budget
from pages.server.limits import LIMITS
from pages.server.streamlit_internals import AwaySessions, end_sessions_that_left, import_icons
from pages.server.visits import VISITS
from pages.ui import menu

ROOT = Path(__file__).parents[2]
FIRST_FORMATS = ("Q4_K", "Q8_0", "Q6_K")  # what the first clicks need
ALL_FORMATS = "import os; getattr(os, 'nice', int)(10); from quantlib import formats; formats.warm_up()"
FIRST_SECONDS = 4  # a browser that opened with the server has asked for its page by then
LONGEST_PAGE = 60  # seconds that the first page may keep the warm-up waiting
SWEEP_SECONDS = 15
TIDY_SECONDS = 60


importing = threading.Event()  # somebody's browser has asked for a page
asked, shown = threading.Event(), threading.Event()  # the first page has begun; it was shown


@contextmanager
def first_page():
    """Around every page; what is imported and compiled besides waits until the first one is done."""
    asked.set()
    try:
        yield
    finally:
        shown.set()


def import_ahead(address: str) -> None:
    """Import what a page imports, while the browser that asked for it is still reading Streamlit's scripts."""
    import_icons()
    entries = {entry.address: entry for entry in menu.ENTRIES}
    source = Path(entries.get(address, menu.HOME).path)
    imports = [node for node in ast.parse(source.read_bytes()).body if isinstance(node, ast.Import | ast.ImportFrom)]
    exec(compile(ast.Module(imports, []), source, "exec"), {})


def page_asked(address: str) -> None:
    """Somebody's browser asks for a page by its address; the first time, its imports begin."""
    if not importing.is_set():
        importing.set()
        threading.Thread(target=import_ahead, args=(address,), name="imports", daemon=True).start()


def warm_up() -> None:
    """Import what the pages import and compile the kernels they run first; then freeze what is there.

    With plotly and numba loaded a full collection of garbage takes about 70 ms under the interpreter lock; frozen
    objects are left out of it.
    """
    if asked.wait(FIRST_SECONDS):
        shown.wait(LONGEST_PAGE)
    import plotly.graph_objects
    import plotly.io  # noqa: F401

    from quantlib import figures, formats

    for module in pkgutil.iter_modules(figures.__path__, "quantlib.figures."):
        importlib.import_module(module.name)
    formats.warm_up(FIRST_FORMATS)
    tidy()
    if LIMITS.rehearse:
        compile_all()
        formats.warm_up()  # loads what lies on disk now, which takes milliseconds each
        asyncio.run(rehearsal.rehearse())
        tidy()


def tidy() -> None:
    """Collect all garbage, and leave what lives now out of collections until the next time."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def compile_all() -> None:
    """Compile every kernel in a process of its own, which gives way to this one.

    Compiling holds the interpreter lock for seconds, so it must not happen here; the compiled code is kept on disk,
    where this process finds it.
    """
    subprocess.run([sys.executable, "-c", ALL_FORMATS], cwd=ROOT, check=False)


def sweep_until(stopped: threading.Event) -> None:
    """Clear what a killed server left; then release what belongs to visits that have gone, and collect garbage."""
    files.clear_debris()
    for rounds in itertools.count(1):
        if stopped.wait(SWEEP_SECONDS):
            return
        if rounds % (TIDY_SECONDS // SWEEP_SECONDS) == 0:
            tidy()
        VISITS.sweep(LIMITS.away_seconds)
        uploads.registry().expire(uploads.FORGET_SECONDS)
        jobs.registry().expire(LIMITS.keep_seconds)


async def look_on(connections: Connections, away: AwaySessions) -> None:
    """In the server's own loop: close connections that do nothing, and sessions whose browsers have gone."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        connections.look()
        away.end_old()


@asynccontextmanager
async def lifespan(app):
    security.warn_operator()
    connections = Connections(budget().connections, budget().of_one)
    guard_connections(connections)
    looking = asyncio.create_task(look_on(connections, end_sessions_that_left(budget().away)))
    stopped = threading.Event()
    threading.Thread(target=warm_up, name="warm-up", daemon=True).start()
    threading.Thread(target=sweep_until, args=(stopped,), name="sweep", daemon=True).start()
    yield
    looking.cancel()
    stopped.set()
    VISITS.sweep(0)
    files.clear_own()
