"""What the scripts for `.npz` files share: make every array of a file again from its inputs, and compare."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

Arrays = dict[str, np.ndarray]


def make_again(folder: Path, makers: Mapping[str, Callable[[Arrays], Arrays]], check: bool) -> int:
    """The exit status: 1 if `check` and a file would become another. Without `check`, such a file is written."""
    other = False
    for name, make in makers.items():
        with np.load(folder / name) as data:
            given = dict(data)
        made = make(given)
        differ = sorted(key for key in given.keys() | made.keys() if not same(given.get(key), made.get(key)))
        print(f"{name}: " + (f"other than stored: {', '.join(differ)}" if differ else "the same as stored"))
        other |= bool(differ)
        if differ and not check:
            np.savez_compressed(folder / name, **made)
    return int(other and check)


def same(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    return one is not None and other is not None and one.dtype == other.dtype and np.array_equal(one, other)
