"""Tiny models of the architectures of 2026, with weights that numpy's generators make anew.

See golden/arch/README.md.
"""

import gzip
import json
import shutil
import zipfile
from functools import cache
from pathlib import Path

import ml_dtypes
import numpy as np

GOLDEN = Path(__file__).parent / "golden" / "arch"
DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16, "F8_E4M3": ml_dtypes.float8_e4m3fn}


@cache
def cases() -> dict[str, dict]:
    """By the model's name: its files and weights, and what the converter made of it."""
    files = (GOLDEN / name for name in ("cases.json.gz", "odd.json.gz"))
    return {name: case for file in files for name, case in json.loads(gzip.decompress(file.read_bytes())).items()}


def weights(spec: dict) -> dict[str, np.ndarray]:
    """Tensor number i is the standard normal of generator [seed, i], scaled, and around 1 where it is a vector."""
    out = {}
    for i, (name, shape) in enumerate(spec["shapes"].items()):
        rng = np.random.default_rng([spec["seed"], i])
        if name in spec.get("integers", {}):
            low, high = spec["integers"][name]
            out[name] = rng.integers(low, high, size=shape, dtype=np.uint8, endpoint=True)
            continue
        x = rng.standard_normal(shape).astype(np.float32)
        x = np.asarray(1 + np.float32(0.1) * x if len(shape) < 2 else np.float32(0.05) * x, np.float32)
        dtype = spec.get("dtypes", {}).get(name, spec.get("dtype", "F32"))
        out[name] = (16 * x if dtype == "F8_E4M3" else x).astype(DTYPES[dtype])
    return out


SPELLED = {np.dtype(dtype): name for name, dtype in DTYPES.items()} | {np.dtype(np.uint8): "U8"}


def save(tensors: dict[str, np.ndarray], path: Path) -> None:
    """A safetensors file with its tensors in this order."""
    header, at = {}, 0
    for name, x in tensors.items():
        header[name] = {"dtype": SPELLED[x.dtype], "shape": list(x.shape), "data_offsets": [at, at + x.nbytes]}
        at += x.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(x.tobytes() for x in tensors.values()))


def write(name: str, folder: Path, spec: dict | None = None) -> Path:
    """The model in `folder`, which must not exist. spec: a case of one's own in place of the golden one."""
    case = spec or cases()[name]
    folder.mkdir(parents=True)
    for file, content in case["files"].items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(json.dumps(content))
    with zipfile.ZipFile(GOLDEN / "tokenizers.zip") as archive:
        for file, source in case["copy"].items():
            if source.startswith("hf/"):
                shutil.copy(GOLDEN.parent / source, folder / file)
            else:
                (folder / file).write_bytes(archive.read(source))
    save(weights(case["weights"]), folder / "model.safetensors")
    return folder


def encoder_tokens(name: str) -> np.ndarray:
    """200 tokens of a tiny encoder's vocabulary, the special ones at its end left out."""
    tensors = cases()[name]["gguf"]["tensors"]
    vocabulary = next(t["shape"][0] for t in tensors if t["name"] == "token_embd.weight")
    return np.random.default_rng(5).integers(0, vocabulary - 40, size=200)


@cache
def encoded() -> dict[str, np.ndarray]:
    """What transformers computes in float32 of `encoder_tokens`: the first, a middle and the last vector."""
    with np.load(GOLDEN / "encoders.npz") as stored:
        return dict(stored)


@cache
def logits() -> dict[str, np.ndarray]:
    """What transformers computes in float32 of `tokens`: logits after the last, float32 (2, vocabulary)."""
    with np.load(GOLDEN / "logits.npz") as stored:
        return dict(stored)


def tokens(name: str) -> np.ndarray:
    """Two rows of 70 tokens within a model's vocabulary."""
    return np.random.default_rng(5).integers(5, min(logits()[name].shape[-1], 500), (2, 70))
