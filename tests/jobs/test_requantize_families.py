"""Converted models of every architecture requantize to llama-quantize's whole file."""

import hashlib
import json
from pathlib import Path

import arch_models
import pytest

import quantlib as ql

# sha256 of what llama-quantize (llama-cpp-python 0.3.36) makes of each model converted to F16, by recipe.
FILES = json.loads((Path(__file__).parents[1] / "golden" / "arch" / "requantized.json").read_text())
CASES = [(name, sorted(made)[at % len(made)]) for at, (name, made) in enumerate(FILES.items())]


@pytest.mark.parametrize("name, recipe", CASES)
def test_the_file_is_llama_quantizes(tmp_path, name, recipe):
    model, half, _ = name.partition("-mm")
    folder = arch_models.write(model, tmp_path / model)
    with ql.open_checkpoint(folder) as checkpoint:
        whole = ql.vision_half(checkpoint) if half else checkpoint
        ql.run(ql.plan(whole, "F16"), tmp_path / "f16.gguf")
    with ql.open_checkpoint(tmp_path / "f16.gguf") as file:
        ql.run(ql.plan(file, recipe), tmp_path / "out.gguf")
    assert hashlib.sha256((tmp_path / "out.gguf").read_bytes()).hexdigest() == FILES[name][recipe]
