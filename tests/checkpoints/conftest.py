"""The golden Hugging Face models with their weights, written once a session."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

GOLDEN = Path(__file__).parents[1] / "golden" / "hf"

SHARED = {"phi3": {"tokenizer.json": "llama_spm"}}  # files that are the same as another model's


def golden_weights(spec: dict) -> dict[str, np.ndarray]:
    out = {}
    for i, (name, shape) in enumerate(spec["shapes"].items()):
        x = np.random.default_rng([spec["seed"], i]).standard_normal(shape).astype(np.float32)
        out[name] = 1 + np.float32(0.1) * x if len(shape) == 1 else np.float32(0.05) * x
    return out


@pytest.fixture(scope="session")
def golden_models(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("hf")
    folders = {}
    for name in ("llama_bpe", "llama_spm", "qwen2", "gemma3", "phi3"):
        folders[name] = Path(shutil.copytree(GOLDEN / name, root / name))
        for file, other in SHARED.get(name, {}).items():
            shutil.copy(GOLDEN / other / file, folders[name] / file)
        spec = json.loads((folders[name] / "weights.json").read_text())
        save_file(golden_weights(spec), folders[name] / "model.safetensors", metadata={"format": "pt"})
    return folders
