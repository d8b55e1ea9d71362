"""The stored comparison of methods, shown where it is of the demo model that is there."""

import json
from functools import cache

from pages.ui import model
from quantlib.errors import CheckpointError
from quantlib.lm import digest_of_model
from quantlib.lm.contest import Contest

PATH = model.ROOT / "assets" / "measurements" / "methods.json"
COMMAND = "python -m quantlib compare assets/demo_model --out assets/measurements/methods"


@cache
def contest() -> Contest | None:
    """The demo model by every method; None where it is missing or of other weights."""
    try:
        found = Contest.from_document(json.loads(PATH.read_text(encoding="utf-8")))
    except (OSError, ValueError, CheckpointError):
        return None
    return found if found.model == digest_of_model(model.demo_checkpoint()) else None
