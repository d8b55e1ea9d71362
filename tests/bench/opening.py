"""Opening files and bounded memory: python tests/bench/opening.py [--gigabytes 8]

A GGUF with a vocabulary of 250,000 tokens, a safetensors header of 10,000 tensors, and a sparse file of the given size,
which is quantized whole. Prints seconds (the least of five, and processor time) and how far the memory of a fresh
process rises; the marks are 0.2 s and 50 MB for opening, 400 MB for quantizing.
"""

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

OPEN = """
import resource, sys, time
from quantlib.checkpoints import open_checkpoint
def most(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
before, times = most(), []
for _ in range(5):
    wall, cpu = time.perf_counter(), time.process_time()
    checkpoint = open_checkpoint(sys.argv[1])
    times.append((time.perf_counter() - wall, time.process_time() - cpu))
    if len(times) == 1: grown = most() - before
print(f"{min(t[0] for t in times):.3f} s, {min(t[1] for t in times):.3f} s of processor, {grown:.0f} MB")
"""


def large_vocabulary(path: Path) -> None:
    from quantlib.checkpoints import MetadataValue, write_gguf

    tokens = [f"token{i}" for i in range(250_000)]
    metadata = {
        "general.architecture": MetadataValue("string", "llama"),
        "tokenizer.ggml.tokens": MetadataValue("array[string]", tokens),
        "tokenizer.ggml.scores": MetadataValue("array[float32]", np.zeros(len(tokens), np.float32)),
        "tokenizer.ggml.token_type": MetadataValue("array[int32]", np.ones(len(tokens), np.int32)),
        "tokenizer.ggml.merges": MetadataValue("array[string]", [f"{a} x" for a in tokens]),
    }
    with open(path, "wb") as file:
        write_gguf(file, metadata, [(("a.weight", (4, 32), "FP32"), [np.zeros((4, 32), np.float32)])])


def many_tensors(path: Path) -> None:
    entries = {
        f"model.layers.{i}.mlp.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [16 * i, 16 * i + 16]}
        for i in range(10_000)
    }
    header = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(16 * len(entries)))


def sparse(path: Path, gigabytes: float) -> None:
    """A Llama-like container of BF16 matrices of zeros, which take no room on the disk."""
    rows, columns = 16_384, 8192
    count = max(1, round(gigabytes * 1e9 / (rows * columns * 2)))
    size = rows * columns * 2
    entries = {
        f"blk.{i}.ffn_up.weight": {
            "dtype": "BF16",
            "shape": [rows, columns],
            "data_offsets": [size * i, size * i + size],
        }
        for i in range(count)
    }
    header = json.dumps(entries).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size * count)


def opened(path: Path) -> str:
    command = [sys.executable, "-c", OPEN, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment()).stdout.strip()


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def quantized(path: Path, out: Path) -> str:
    command = [sys.executable, "-m", "quantlib", "quantize", str(path), str(out), "--recipe", "Q8_0", "--threads", "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit("the run failed")
    return f"{usage.ru_utime + usage.ru_stime:.1f} s of processor, at most {usage.ru_maxrss / 1000:.0f} MB resident"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--gigabytes", type=float, default=8.0)
    gigabytes = options.parse_args().gigabytes
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        files = [Path(folder) / name for name in ("vocabulary.gguf", "tensors.safetensors", "sparse.safetensors")]
        large_vocabulary(files[0])
        many_tensors(files[1])
        sparse(files[2], gigabytes)
        for path in files:
            print(f"{path.name}: {path.stat().st_size / 1e6:,.0f} MB; opened in {opened(path)}", flush=True)
        print(f"quantized to Q8_0: {quantized(files[2], Path(folder) / 'out.gguf')}")


if __name__ == "__main__":
    main()
