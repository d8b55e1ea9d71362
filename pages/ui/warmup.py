"""What the server does beside serving: warm up before anyone waits for it, and sweep what nobody needs any more."""

import gc
import threading
from contextlib import asynccontextmanager

from pages.ui import files, jobs
from pages.ui.limits import LIMITS
from pages.ui.visits import VISITS

# The formats that the first clicks need. Compiling holds the interpreter lock, so the others wait until they are asked
# for: that takes seconds once, and the compiled code is kept on disk.
FIRST_FORMATS = ("Q4_K", "Q8_0", "Q6_K")
SWEEP_SECONDS = 15


def warm_up() -> None:
    """Import what the pages import and compile the kernels they run first; then freeze what is there.

    Streamlit collects garbage after every script run. With plotly and numba loaded a full collection takes about
    70 ms under the interpreter lock; frozen objects are left out of it.
    """
    import plotly.graph_objects
    import plotly.io  # noqa: F401

    from quantlib import formats, loss_kernel  # noqa: F401

    formats.warm_up(FIRST_FORMATS)
    gc.collect()
    gc.freeze()


def sweep_until(stopped: threading.Event) -> None:
    """Clear what a killed server left, then release every few seconds what belongs to visits that have gone."""
    files.clear_debris()
    while not stopped.wait(SWEEP_SECONDS):
        VISITS.sweep(LIMITS.away_seconds)
        jobs.registry().expire(LIMITS.keep_seconds)


@asynccontextmanager
async def lifespan(app):
    stopped = threading.Event()
    threading.Thread(target=warm_up, name="warm-up", daemon=True).start()
    threading.Thread(target=sweep_until, args=(stopped,), name="sweep", daemon=True).start()
    yield
    stopped.set()
    VISITS.sweep(0)
    files.clear_own()
