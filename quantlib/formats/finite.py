"""Checks of numbers before and after they are stored; each failure says which number and where."""

import numpy as np

from quantlib.errors import FormatError, ScaleError

HALF_MAX = 65504  # the largest number of FP16


def check_finite(name: str, x: np.ndarray) -> None:
    """Refuse NaN and infinity, which would make the scale of all weights beside them useless."""
    _refuse(~np.isfinite(x), name, x, "it would spoil the scale that it shares with other weights")


def check_numbers(name: str, x: np.ndarray) -> None:
    """Refuse NaN, in a float format that has numbers only."""
    _refuse(np.isnan(x), name, x, "the format has numbers only")


def check_scales(name: str, overflowed: np.ndarray, x: np.ndarray, importance: np.ndarray | None) -> None:
    """Refuse scales that half precision cannot hold; nothing of their block would be left.

    overflowed: (blocks,), which of the blocks of x (..., n) have such a scale.
    """
    if not overflowed.any():
        return
    rows = x.reshape(-1, x.shape[-1])
    row = int(np.argmax(overflowed)) * len(rows) // len(overflowed)
    place = tuple(int(i) for i in np.unravel_index(row, x.shape[:-1]))
    where = f"row {place[0] if len(place) == 1 else place}" if place else "this row"
    weighed = "" if importance is None else f", weighed by importances up to {np.max(importance):.4g}"
    raise ScaleError(
        f"{name} keeps its scales in FP16, which ends at {HALF_MAX}, and {where} needs one beyond: its largest weight "
        f"has the size {np.abs(rows[row]).max():.4g}{weighed}. Choose a format of a wider range, such as BF16."
    )


def _refuse(wrong: np.ndarray, name: str, x: np.ndarray, why: str) -> None:
    if wrong.any():
        place = tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), x.shape))
        found = "NaN" if np.isnan(x[place]) else "infinity" if x[place] > 0 else "-infinity"
        raise FormatError(
            f"{name} cannot store {found}, found at index {place[0] if len(place) == 1 else place}: {why}. "
            f"Repair the tensor or choose another format."
        )
