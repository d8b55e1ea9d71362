"""A drawing that is pointed at: what a part of it is, is said below; pieces of a name above it make parts stand out."""

from collections.abc import Callable, Sequence

from pages.ui import component

_pointing = component.make("pointing", "dom.js", "pointing.js")


def pointing(
    svg: str,
    *,
    key: str,
    rest: str,
    name: str = "",
    ask: str = "",
    pieces: Sequence[dict] = (),
    token: str = "",
    start: int = -1,
    on_change: Callable[[], None] = lambda: None,
) -> None:
    """Show SVG made by `quantlib.figures`, whose parts carry `data-words` and, if pieces decide them, `data-part`.

    `rest`: what is said while nothing is pointed at. `pieces` of `name`: {"text", "kind", "title", "meaning", "part",
    "joined"}; pressing one dims the cells of other parts, and `ask` stands there while none is pressed. A new `token`
    presses `start` (-1: none). `st.session_state[key]["piece"]` is then {"token", "piece"}.
    """
    data = {"svg": svg, "rest": rest, "name": name, "ask": ask, "pieces": list(pieces), "token": token, "start": start}
    _pointing(key=key, data=data, on_piece_change=on_change)
