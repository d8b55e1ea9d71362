"""How large values show themselves: one screen of text, a table in a notebook, a figure, a data frame.

What the screens say is in `quantlib.notebook`, and figures are in `quantlib.figures`: both are above the values that
they show, and are loaded when somebody looks.
"""

from importlib import import_module
from typing import Any


class Shown:
    """A value that may be large, shown on one screen."""

    def __repr__(self) -> str:
        return str(import_module("quantlib.notebook").text(self))

    def _repr_html_(self) -> str:
        """What Jupyter shows."""
        return str(import_module("quantlib.notebook").html(self))

    def to_frame(self) -> Any:
        """Its table as a pandas DataFrame, a row for each tensor. Raises QuantlibError where pandas is missing."""
        return import_module("quantlib.notebook").frame(self)

    def figure(self, theme: str = "light") -> Any:
        """Its picture as a Plotly figure, in theme "light" or "dark". Raises QuantlibError where Plotly is missing."""
        return figure_of(self, theme)


def figure_of(value: object, theme: str) -> Any:
    """The picture of a value as a Plotly figure. Raises QuantlibError where Plotly is missing."""
    return import_module("quantlib.notebook").figure(value, theme)
