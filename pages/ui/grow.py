"""One weight of a row that grows under the reader's hand."""

from collections.abc import Callable

from pages.ui import component

_grow = component.make("grow", "float_math.js", "dom.js", "plot.js", "grow.js")


def grow(*, key: str, message: dict, start: int, on_change: Callable[[], None]) -> None:
    """`message` comes from `quantlib.figures.outliers.message`; `start` is the step shown first.

    `st.session_state[key]["size"]` is then {"token", "step"}.
    """
    _grow(key=key, data={**message, "start": start}, on_size_change=on_change)
