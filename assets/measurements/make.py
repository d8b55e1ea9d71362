"""Measure what the first page shows at once: `python assets/measurements/make.py`, whenever the demo model changes.

Inputs: assets/demo_model and the evaluation texts, named in the file by their hashes. A page whose model or texts are
others measures anew.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import quantlib as ql  # noqa: E402
from quantlib.lm import EVALUATION, read_texts  # noqa: E402
from quantlib.lm.showcase import STORED, showcase  # noqa: E402

if __name__ == "__main__":
    checkpoint = ql.open_checkpoint(ROOT / "assets" / "demo_model")
    showcase(checkpoint, read_texts(EVALUATION)).write(STORED)
    print(STORED.relative_to(ROOT))
