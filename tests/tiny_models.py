"""The golden Hugging Face models: tiny, of every architecture, with weights that numpy's generators make anew."""

import gzip
import json
import shutil
from functools import cache
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

GOLDEN = Path(__file__).parent / "golden" / "hf"
WHOLE = ("llama_bpe", "llama_spm", "qwen2", "gemma3", "phi3")  # folders with all that a Hugging Face model has
SHARED = {"phi3": {"tokenizer.json": "llama_spm"}}  # files that are the same as another model's
# What a model takes of the folder that its tokenizer lies in.
TOKENIZER = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")
# Of phi3 the architectures' models had no tokenizer.json.
LEFT_OUT = {("phi3", "tokenizer.json")}


@cache
def architectures() -> dict[str, dict]:
    """The models of architectures.json.gz: config, shapes, seed, tokenizer; the converter's metadata and tensors."""
    return json.loads(gzip.decompress((GOLDEN / "architectures.json.gz").read_bytes()))


@cache
def converted(name: str) -> dict:
    """What llama.cpp's converter made of a model: metadata and tensors."""
    return json.loads((GOLDEN / f"{name}.gguf.json").read_text()) if name in WHOLE else architectures()[name]


def weights(spec: dict) -> dict[str, np.ndarray]:
    """Tensor number i is the standard normal of generator [seed, i], scaled, and around `vectors` where it is one."""
    out = {}
    for i, (name, shape) in enumerate(spec["shapes"].items()):
        x = np.random.default_rng([spec["seed"], i]).standard_normal(shape).astype(np.float32)
        around = np.float32(spec.get("vectors", 1))
        out[name] = around + np.float32(0.1) * x if len(shape) == 1 else np.float32(0.05) * x
    return out


def write(name: str, folder: Path) -> Path:
    """The model in `folder`, which must not exist."""
    if name in WHOLE:
        shutil.copytree(GOLDEN / name, folder)
        for file, other in SHARED.get(name, {}).items():
            shutil.copy(GOLDEN / other / file, folder / file)
        spec = json.loads((folder / "weights.json").read_text())
    else:
        spec = architectures()[name]
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(spec["config"]))
        for file in TOKENIZER:
            source = GOLDEN / spec["tokenizer"] / file
            if source.exists() and (spec["tokenizer"], file) not in LEFT_OUT:
                shutil.copy(source, folder / file)
    save_file(weights(spec), folder / "model.safetensors", metadata={"format": "pt"})
    return folder
