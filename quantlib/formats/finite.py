"""Checks of single numbers before they are stored; each failure says which number and where."""

import numpy as np

from quantlib.errors import FormatError


def check_finite(name: str, x: np.ndarray) -> None:
    """Refuse NaN and infinity, which would make the scale of all weights beside them useless."""
    _refuse(~np.isfinite(x), name, x, "it would spoil the scale that it shares with other weights")


def check_numbers(name: str, x: np.ndarray) -> None:
    """Refuse NaN, in a float format that has numbers only."""
    _refuse(np.isnan(x), name, x, "the format has numbers only")


def _refuse(wrong: np.ndarray, name: str, x: np.ndarray, why: str) -> None:
    if wrong.any():
        place = tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), x.shape))
        found = "NaN" if np.isnan(x[place]) else "infinity" if x[place] > 0 else "-infinity"
        raise FormatError(
            f"{name} cannot store {found}, found at index {place[0] if len(place) == 1 else place}: {why}. "
            f"Repair the tensor or choose another format."
        )
