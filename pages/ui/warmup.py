"""What the server does once, before anyone waits for it: imports, kernel compilation, the collector's rest."""

import gc
import threading
from contextlib import asynccontextmanager


def warm_up() -> None:
    """Import what the pages import and compile the kernels they run; then freeze what is there.

    Streamlit collects garbage after every script run. With plotly and numba loaded a full collection takes about
    70 ms under the interpreter lock; frozen objects are left out of it.
    """
    import plotly.graph_objects
    import plotly.io  # noqa: F401

    from quantlib import formats

    formats.warm_up()
    gc.collect()
    gc.freeze()


@asynccontextmanager
async def lifespan(app):
    threading.Thread(target=warm_up, name="warm-up", daemon=True).start()
    yield
