"""The largest weight of a row in the reader's hand, or the end of the grid that has to reach it."""

from collections.abc import Callable

from pages.ui import component

_pull = component.make("pull", "float_math.js", "dom.js", "plot.js", "grid_math.js", "pull.js")


def pull(*, key: str, message: dict, on_change: Callable[[], None] = lambda: None) -> None:
    """`message` comes from `quantlib.figures.pulling.message`.

    `st.session_state[key]["pull"]` is then {"token", "share", "group"}: the weight, or the end of the grid, in
    thousandths of the largest weight, and how many weights share a scale.
    """
    _pull(key=key, data=message, on_pull_change=on_change)
