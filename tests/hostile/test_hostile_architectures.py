"""config.json of every architecture with one value wrong: refused in a sentence, or read; never another exception."""

import copy
import random

import arch_models
import pytest

from quantlib.checkpoints import open_checkpoint
from quantlib.checkpoints.convert import architecture_of
from quantlib.checkpoints.convert.config import read_config
from quantlib.checkpoints.convert.hyperparameters import metadata_of
from quantlib.checkpoints.convert.tensors import view_tensors
from quantlib.errors import CheckpointError

NAMES = [name for name in arch_models.cases() if not name.startswith("odd/")]
WRONG = (
    None, 0, -1, 1, 7, 2**31, 2**70, 1.5, -0.5, 1e300, "x", "", [], [1], ["x"], [True], [1] * 3,
    ["sliding_attention"] * 2, {}, {"0": 1}, True,
)  # fmt: skip
TRIES = 60


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_value_is_refused_or_read(tmp_path, name):
    folder = arch_models.write(name, tmp_path / name)
    config, rng = arch_models.cases()[name]["files"]["config.json"], random.Random(name)
    with open_checkpoint(folder) as checkpoint:
        for _ in range(TRIES):
            changed = copy.deepcopy(config)
            inner = changed.get("text_config", changed)
            key = rng.choice([key for key in inner if key not in ("model_type", "architectures")])
            inner[key] = copy.deepcopy(rng.choice(WRONG))
            try:
                architecture = architecture_of(folder / "config.json", changed)
                found = read_config(folder / "config.json", changed, architecture, checkpoint.tensors)
                view_tensors(folder / "config.json", architecture, found, checkpoint.tensors)
                metadata_of(architecture.keys, architecture, found, file_type=0)
            except CheckpointError as error:
                assert len(str(error)) < 400 and str(error).endswith(".")
