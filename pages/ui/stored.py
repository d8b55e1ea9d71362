"""Measurements of the demo model that ship with the app, shown where they are of the weights that are there."""

import json
from functools import cache

from pages.ui import model
from quantlib.errors import CheckpointError
from quantlib.lm import Sensitivity, Sweep, digest_of_model

FOLDER = model.ROOT / "assets" / "measurements"

# What makes each, as in that folder's README.
SWEEP = "python -m quantlib perplexity assets/demo_model --sweep all --out assets/measurements/sweep"
SENSITIVITY = (
    "python -m quantlib perplexity assets/demo_model --sensitivity Q2_K --context 256 "
    "--text assets/calibration/mixed.txt --out assets/measurements/sensitivity"
)


@cache
def sweep() -> Sweep | None:
    """The demo model under every recipe; None where it is missing or of other weights."""
    return _of_these_weights("sweep.json", Sweep)


@cache
def sensitivity() -> Sensitivity | None:
    """The demo model with one tensor quantized at a time; None where it is missing or of other weights."""
    return _of_these_weights("sensitivity.json", Sensitivity)


def _of_these_weights(name: str, kind: type):
    try:
        found = kind.from_document(json.loads((FOLDER / name).read_text(encoding="utf-8")))
    except (OSError, ValueError, CheckpointError):
        return None
    return found if found.model == digest_of_model(model.demo_checkpoint()) else None
