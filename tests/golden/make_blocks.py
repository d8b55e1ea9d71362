"""Makes `ggml_blocks.npz` again: ggml's bytes of every block format, plain and with importance.

    pip install llama-cpp-python==0.3.36
    python tests/golden/make_blocks.py [--check]

The inputs stay as they are: `x` (32 rows of 1,024 weights, of the families in `families`) and `imatrix` (1,024).
A format that is new in the catalogue gets its rows. --check writes nothing and says whether anything would differ.
"""

import sys
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("ggml_blocks.npz")
INPUTS = ("x", "imatrix", "families")
sys.path[:0] = [str(FILE.parents[1]), str(FILE.parents[2])]  # the tests' helpers, and quantlib


def made(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """ggml's bytes by its names of the formats, with "+imatrix" where importance steered them."""
    from ggml_library import Ggml, ggml_name

    from quantlib.formats import FORMATS

    ggml, found = Ggml(), {}
    for form in FORMATS.values():
        if form.kind != "block":
            continue
        if not form.requires_importance:
            found[ggml_name(form)] = ggml.encode(form, inputs["x"])
        found[ggml_name(form) + "+imatrix"] = ggml.encode(form, inputs["x"], inputs["imatrix"])
    return found


def main(check: bool) -> int:
    with np.load(FILE) as stored:
        before = dict(stored)
    inputs = {name: before[name] for name in INPUTS}
    found = made(inputs)
    old = {name: rows for name, rows in before.items() if name not in INPUTS}
    differ = [name for name in sorted(old.keys() | found.keys()) if not np.array_equal(old.get(name), found.get(name))]
    print("the same as stored" if not differ else f"other than stored: {', '.join(differ)}")
    if not check and differ:
        np.savez_compressed(FILE, **inputs, **found)
    return bool(differ) and check


if __name__ == "__main__":
    raise SystemExit(main("--check" in sys.argv[1:]))
