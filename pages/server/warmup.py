"""What the server does beside serving: warm up before anyone waits for it, and sweep what nobody needs any more."""

import ast
import asyncio
import gc
import importlib
import itertools
import logging
import pkgutil
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import quantlib
from pages.server import files, jobs, memory, rehearsal, security, uploads, viewing
from pages.server.connections import LOOK_SECONDS, Connections, guard_connections
from pages.server.descriptors import budget
from pages.server.limits import LIMITS
from pages.server.streamlit_internals import AwaySessions, end_sessions_that_left, import_icons
from pages.server.visits import VISITS
from quantlib import formats
from quantlib.inspection.statistics import warm_up as warm_up_statistics

LOG = logging.getLogger("quantlib.app")
ROOT = Path(__file__).parents[2]
IMPORTED_LATE = (  # by Streamlit, Plotly and quantlib, when they first need it
    *("pandas", "plotly.graph_objects", "plotly.io", "plotly.subplots", "plotly.tools", "threadpoolctl", "tokenizers"),
)
FIRST_FORMATS = ("Q4_K", "Q8_0", "Q6_K")  # what the first clicks need
GIVING_WAY = (
    "import os; getattr(os, 'nice', int)(10); from quantlib import formats; from quantlib.methods import mixed; "
)
ALL_FORMATS = "formats.warm_up(); formats.warm_up(effort='best'); mixed.warm_up()"
FIRST_SECONDS = 4  # a browser that opened with the server has asked for its page by then
LONGEST_PAGE = 60  # seconds that the first page may keep the warm-up waiting
SWEEP_SECONDS = 15
TIDY_SECONDS = 60


asked, shown = threading.Event(), threading.Event()  # the first page has begun; it was shown


@contextmanager
def first_page() -> Iterator[None]:
    """Around every page; what is compiled besides waits until the first one is done."""
    asked.set()
    try:
        yield
    finally:
        shown.set()


def imported_by(source: Path) -> list[str]:
    """The modules that a page's file imports at its top, `from a import b` as both a and a.b."""
    names = []
    for node in ast.parse(source.read_bytes()).body:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def import_all(pages: Iterable[Path]) -> None:
    """Import what the pages import and all that quantlib would import later, before the first visitor is let in.

    Several visitors' threads that import a package at once can find it half imported: Python's locks are one for each
    module, and where two threads wait for each other it gives one of them what is there so far. With all pages asked
    for at once, a third of them failed on a server that had just started. The price is 1.6 s of processor time before
    the first page of such a server: 4.4 s instead of 2.8 s.
    """
    import_icons()
    for name in IMPORTED_LATE:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(quantlib.__path__, "quantlib."):
        if not module.name.startswith(("quantlib.__main__", "quantlib.cli")):
            importlib.import_module(module.name)
    for module in pkgutil.iter_modules([str(ROOT / "pages" / "ui")], "pages.ui."):
        if module.name != "pages.ui.entry":
            importlib.import_module(module.name)
    for name in dict.fromkeys(name for page in pages for name in imported_by(page)):
        package, _, part = name.rpartition(".")
        # What is no module of its own is a name in one that is imported by now.
        if not package or not hasattr(sys.modules.get(package), part):
            with suppress(ModuleNotFoundError):
                importlib.import_module(name)


def warm_up(pages: Iterable[str]) -> None:
    """Compile the kernels that the pages run first; then freeze what is there.

    With plotly and numba loaded a full collection of garbage takes about 70 ms under the interpreter lock; frozen
    objects are left out of it.
    """
    if asked.wait(FIRST_SECONDS):
        shown.wait(LONGEST_PAGE)
    formats.warm_up(FIRST_FORMATS)
    warm_up_statistics()
    tidy()
    if LIMITS.rehearse:
        compile_all()
        formats.warm_up()  # loads what lies on disk now, which takes milliseconds each
        asyncio.run(rehearsal.rehearse(pages))
        tidy()


def tidy() -> None:
    """Collect all garbage, and leave what lives now out of collections until the next time."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def compile_all() -> None:
    """Compile every kernel."""
    compile_apart(ALL_FORMATS)


def compile_apart(code: str) -> None:
    """Run what compiles kernels in a process of its own, at a lower priority than this one.

    Compiling holds the interpreter lock for seconds, so it must not happen here; the compiled code is kept on disk,
    where this process finds it. code: calls of `formats` and `mixed`.
    """
    subprocess.run([sys.executable, "-c", GIVING_WAY + code], cwd=ROOT, check=False)


def sweep_until(stopped: threading.Event) -> None:
    """Clear what a killed server left; then release what belongs to visits that have gone, and collect garbage."""
    try:
        files.clear_debris()
    except OSError:  # such as a folder that another user's server made: it stays, and the sweeping goes on
        LOG.exception("not everything that earlier servers left could be removed")
    for rounds in itertools.count(1):
        if stopped.wait(SWEEP_SECONDS):
            return
        if rounds % (TIDY_SECONDS // SWEEP_SECONDS) == 0:
            tidy()
        try:
            VISITS.sweep(LIMITS.away_seconds)
            uploads.registry().expire(uploads.FORGET_SECONDS)
            jobs.registry().expire(LIMITS.keep_seconds)
        except Exception:  # one thing that cannot be released must not keep all others for ever
            LOG.exception("not everything could be released")


async def look_on(connections: Connections, away: AwaySessions) -> None:
    """In the server's own loop: close connections that do nothing, and sessions whose browsers have gone."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        connections.look()
        away.end_old()


def lifespan(pages: Mapping[str, Path]) -> Callable[[object], AbstractAsyncContextManager[None]]:
    """What happens around the server's life; `pages` are the files of all pages by their addresses."""

    @asynccontextmanager
    async def around(_app: object) -> AsyncIterator[None]:
        security.warn_operator()
        memory.reserve_nothing()
        if viewing.VIEWING is None:
            import_all(pages.values())
        else:
            viewing.open_browser()  # one person waits for one page, which imports what it needs
        connections = Connections(budget().connections, budget().of_one)
        guard_connections(connections)
        looking = asyncio.create_task(look_on(connections, end_sessions_that_left(budget().away)))
        stopped = threading.Event()
        threading.Thread(target=warm_up, args=(pages,), name="warm-up", daemon=True).start()
        threading.Thread(target=sweep_until, args=(stopped,), name="sweep", daemon=True).start()
        yield
        looking.cancel()
        stopped.set()
        VISITS.sweep(0)
        files.clear_own()

    return around
