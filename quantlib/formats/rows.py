"""Checks that every format makes on rows before it works on them; each failure is a sentence."""

import numpy as np

from quantlib.errors import FormatError
from quantlib.formats.finite import check_finite
from quantlib.formats.format import Rows


def check_row(form: Rows, n: int) -> None:
    """A row must be a whole number of the format's units."""
    if n % form.values:
        raise FormatError(
            f"{form.name} stores weights in blocks of {form.values}, and a row of {n:,} is not a multiple of that; "
            f"choose a format with smaller blocks for this tensor."
        )


def as_float32(x: np.ndarray) -> np.ndarray:
    """x as aligned C-contiguous float32, copied only if need be; FormatError where it is not an array of floats."""
    x = np.asarray(x)
    is_float = x.dtype.kind == "f" or (x.dtype.kind == "V" and x.dtype.name.startswith(("bfloat", "float")))
    if not is_float:
        raise FormatError(f"Only floating-point numbers can be quantized, not {x.dtype}; convert them to float32.")
    if x.ndim == 0:
        raise FormatError("A single number is not a row: give an array of at least one dimension.")
    with np.errstate(over="ignore"):
        return np.require(x, np.float32, ["C", "A"])


def check_rows(form: Rows, x: np.ndarray, finite: bool = True) -> np.ndarray:
    """x as float32 rows that blocks divide, and with `finite` without NaN and infinity."""
    x = as_float32(x)
    check_row(form, x.shape[-1])
    if finite:
        check_finite(form.name, x)
    return x


def check_importance(importance: np.ndarray, n: int) -> np.ndarray:
    """importance as float32 (n,), finite and not negative."""
    importance = np.require(importance, np.float32, ["C", "A"])
    if importance.shape != (n,):
        raise FormatError(f"The importance must have one number for each of the {n:,} columns, not {importance.shape}.")
    wrong = ~(np.isfinite(importance) & (importance >= 0))
    if wrong.any():
        place = int(np.argmax(wrong))
        raise FormatError(
            f"The importance of column {place} is {_spelling(importance[place])}; it is a mean square, so it must be "
            f"finite and not negative."
        )
    return importance


def check_stored_rows(form: Rows, data: np.ndarray, n: int | None) -> tuple[np.ndarray, int]:
    """data as contiguous uint8 rows of the format, and how many weights a row has."""
    data = np.asarray(data)
    if data.dtype != np.uint8 or data.ndim == 0:
        raise FormatError(f"Stored {form.name} rows are uint8 of at least one dimension, not {data.dtype}.")
    if data.shape[-1] % form.nbytes:
        raise FormatError(
            f"A row of {data.shape[-1]:,} bytes is not a whole number of {form.name} units of {form.nbytes} bytes."
        )
    stored = data.shape[-1] // form.nbytes * form.values
    if n is not None and n != stored:
        raise FormatError(f"These {form.name} rows hold {stored:,} weights each, not {n:,}.")
    return np.ascontiguousarray(data), stored


def read_only(array: np.ndarray) -> np.ndarray:
    """A view that cannot be written: memory-mapped and other arrays are then one type to numba, compiled once."""
    view = array.view()
    view.flags.writeable = False
    return view


def _spelling(number: float) -> str:
    return f"{float(number):g}".replace("nan", "NaN").replace("inf", "infinity")
