"""Measure what the first page shows: `python assets/measurements/make.py [sums] [large]`, both where none is named.

sums: the calculator on 2,000 sums of each grade from every recipe, in half an hour on one core.
large: file sizes of a model of 70 billion weights, from its shape.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import quantlib as ql  # noqa: E402
from quantlib.figures import few_bits  # noqa: E402
from quantlib.lm import answering  # noqa: E402


def sums() -> None:
    answering.answering(ql.open_checkpoint(answering.CALCULATOR), progress=print).write(answering.STORED)


def large() -> None:
    few_bits.planned().write()


if __name__ == "__main__":
    made = {"sums": sums, "large": large}
    for name in sys.argv[1:] or made:
        made[name]()
