"""Our bytes against ggml's on many weights: python tests/bench/exact.py [FORMAT ...] [--weights 10e6] [--ggml PATH]

Each format, without importance (where it stores anything so) and with an ordinary one, on that many weights of each
family of the tests. ggml's slow formats take minutes for one family; a line is printed as each format is done. Where
ggml finds no code for a family it ends its process: that family is named and left out.
"""

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "formats"))

from families import FAMILIES, draw
from ggml_library import Ggml

from quantlib.formats import FORMATS, get

COLUMNS = 4096
ROWS = 512  # at once


def differing(ggml: str | None, name: str, family: str, importance: str, rows: int) -> int:
    """How many of so many rows differ."""
    form, library, wrong = get(name), Ggml(ggml), 0
    for seed, start in enumerate(range(0, rows, ROWS)):
        x, important = draw(family, importance, (min(ROWS, rows - start), COLUMNS), seed + 1000)
        wrong += int((library.encode(form, x, important) != form.ggml_bytes(x, important)).any(axis=1).sum())
    return wrong


class Apart:
    """`differing` in another process, a new one after ggml has ended it; ggml prepares its grids once in each."""

    def __init__(self) -> None:
        self.process = ProcessPoolExecutor(1)

    def differing(self, *arguments) -> int | None:
        """None where ggml ended the process."""
        try:
            return self.process.submit(differing, *arguments).result()
        except BrokenProcessPool:
            self.process = ProcessPoolExecutor(1)
            return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("formats", nargs="*", metavar="FORMAT")
    parser.add_argument("--weights", type=float, default=10e6, help="of each family, 10e6 unless told")
    parser.add_argument(
        "--families", nargs="+", choices=FAMILIES, default=FAMILIES, metavar="FAMILY", help="only these"
    )
    parser.add_argument("--ggml", metavar="PATH", help="the ggml-base library to compare with")
    args = parser.parse_args()
    os.environ["GGML_NO_BACKTRACE"] = "1"
    apart, rows, anywhere = Apart(), -(-int(args.weights) // COLUMNS), 0
    for name in args.formats or [name for name, form in FORMATS.items() if form.kind == "block"]:
        for importance in ["ordinary"] if get(name).requires_importance else ["none", "ordinary"]:
            start = time.perf_counter()
            found = {family: apart.differing(args.ggml, name, family, importance, rows) for family in args.families}
            wrong = {family: count for family, count in found.items() if count}
            ended = [family for family, count in found.items() if count is None]
            anywhere += sum(wrong.values())
            compared = len(found) - len(ended)
            millions = compared * rows * COLUMNS / 1e6
            print(
                f"{name:8} importance {importance:8} {compared} families, {millions:.1f} million weights, rows that "
                f"differ: {wrong or 'none'}{f', ggml ended at: {ended}' * bool(ended)} "
                f"({time.perf_counter() - start:.0f} s)",
                flush=True,
            )
    sys.exit(bool(anywhere))


if __name__ == "__main__":
    main()
