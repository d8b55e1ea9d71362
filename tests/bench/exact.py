"""Our bytes against ggml's on many weights: python tests/bench/exact.py [FORMAT ...] [--weights 10e6] [--ggml PATH]

Each format, without importance (where it stores anything so) and with an ordinary one, on that many weights of each
family of the tests. ggml's slow formats take minutes for one family; a line is printed as each format is done.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "formats"))
from families import FAMILIES, draw
from formats import COLUMNS, Ggml  # the benchmark beside this file, which puts quantlib on the path

from quantlib.formats import FORMATS, BlockFormat, get

ROWS = 512
OVERFLOWING = ("huge", "end of range")  # ggml finds no point of IQ2's and IQ3's grids there, and ends the process


def differing(ggml: Ggml, form: BlockFormat, family: str, importance: str, weights: int) -> tuple[int, int]:
    """How many rows were compared, and how many of them differ."""
    rows = -(-weights // COLUMNS)
    wrong = 0
    for seed, start in enumerate(range(0, rows, ROWS)):
        x, important = draw(family, importance, (min(ROWS, rows - start), COLUMNS), seed + 1000)
        wrong += int((form.ggml_bytes(x, important) != ggml.encode(form, x, important)).any(axis=1).sum())
    return rows, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("formats", nargs="*", metavar="FORMAT")
    parser.add_argument("--weights", type=float, default=10e6, help="of each family, 10e6 unless told")
    parser.add_argument("--ggml", metavar="PATH", help="the ggml-base library to compare with")
    args = parser.parse_args()
    ggml = Ggml(args.ggml)
    wrong_anywhere = 0
    for name in args.formats or [name for name, form in FORMATS.items() if form.kind == "block"]:
        form = get(name)
        families = [f for f in FAMILIES if f not in OVERFLOWING or not name.startswith(("IQ2", "IQ3"))]
        for importance in ["ordinary"] if form.requires_importance else ["none", "ordinary"]:
            start = time.perf_counter()
            found = {family: differing(ggml, form, family, importance, int(args.weights)) for family in families}
            millions = sum(rows for rows, _ in found.values()) * COLUMNS / 1e6
            wrong = {family: count for family, (_, count) in found.items() if count}
            wrong_anywhere += sum(wrong.values())
            print(
                f"{name:8} importance {importance:8} {len(families)} families {millions:.1f} million weights, "
                f"rows that differ: {wrong or 'none'}  ({time.perf_counter() - start:.0f} s)",
                flush=True,
            )
    sys.exit(bool(wrong_anywhere))


if __name__ == "__main__":
    main()
