"""What stands under pictures and numbers: where a number comes from, and the Python that makes it."""

import functools
import inspect
import re
from collections.abc import Callable, Iterable
from typing import Literal

import streamlit as st

from quantlib.recipes import gloss

LONG = 160  # characters of a receipt that are read at a glance
KINDS = {
    "measured": "measured here, now",
    "stored": "measured, stored",
    "exact": "exact",
    "published": "published",
    "estimated": "estimated",
}


def receipt(kind: Literal["measured", "stored", "exact", "published", "estimated"], source: str) -> None:
    """Where the numbers above come from: its first sentence, and what else is to be said where somebody asks."""
    first, stop, rest = source.partition(". ") if len(source) > LONG else (source, "", "")
    st.caption(f":gray-badge[{KINDS[kind]}] {first}{stop.strip()}", help=rest or None)


def glossed(name: str) -> None:
    """What the tensor of this name is for, in plain words under the control that names it."""
    if words := gloss(name):
        st.markdown(f":small[{words[0].upper()}{words[1:]}.]")


def data(csv: str | Callable[[], str], file_name: str, key: str | None = None) -> None:
    """The numbers of a figure as CSV; a function makes them when somebody asks."""
    st.download_button("Data (CSV)", csv, file_name, "text/csv", on_click="ignore", key=key or f"csv-{file_name}")


@st.fragment
def folded(label: str, key: str, draw: Callable[[], object]) -> None:
    """A box whose content is drawn when somebody opens it: a browser works on what closed boxes hold, too."""
    with st.expander(label, key=f"folded-{key}", on_change="rerun") as box:
        if box.open:
            draw()


def show_python(snippet: str, *sources: Callable, shell: str | None = None) -> None:
    """The snippet that reproduces a page's numbers, the same from a shell, and the code that ran.

    One element for all of it: the browser draws every element anew at each interaction.
    """
    functions = list(dict.fromkeys(map(_function, sources)))
    about = functions[0].__qualname__ if functions else "all"
    folded("Show the Python", f"python-{about}", lambda: st.markdown(_code(snippet, functions, shell)))


def _code(snippet: str, functions: Iterable[Callable], shell: str | None) -> str:
    parts = [_fenced(snippet, "python")]
    if shell:
        parts += ["From a shell:", _fenced(shell, "bash")]
    for function in functions:
        named = f"The code that ran, `{function.__module__}.{function.__qualname__}`:"
        parts += [named, _fenced(_text_of(function), "python")]
    return "\n\n".join(parts)


def _fenced(code: str, language: str) -> str:
    """The code as a block of Markdown, whatever the code holds."""
    fence = "`" * (max((len(run) for run in re.findall("`+", code)), default=0) + 3)
    return f"{fence}{language}\n{code.rstrip()}\n{fence}"


@functools.cache
def _text_of(source: Callable) -> str:
    """The function's source; finding where it ends takes milliseconds."""
    return inspect.getsource(source)


def _function(source: Callable) -> Callable:
    """The function itself where some of its arguments are given already."""
    while isinstance(source, functools.partial):
        source = source.func
    return source
