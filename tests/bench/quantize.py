"""Whole runs against llama-quantize's: python tests/bench/quantize.py [RECIPE ...] [--rounds N] [--weights N]

Both make the same file from the same BF16 GGUF of about 300 million weights, with two threads, each in a process of its
own from start to end (ours: Python's start, the plan, per-tensor errors, reading the file back). The rounds alternate;
what is printed are the medians of the wall time and of the processor time, their ratios, and our peak memory. llama.cpp
is what the package llama_cpp brings along. Every run makes a new file; the outputs must be the same bytes, or with
--effort best as many.
"""

import argparse
import filecmp
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

TARGETS = {"Q4_K_M": 0.25, "Q5_K_M": 0.25, "IQ4_XS": 0.25, "Q6_K": 0.35, "Q2_K": 0.35, "Q8_0": 1.3}
THREADS = 2
PATH = os.pathsep.join((str(ROOT), str(Path(__file__).parent)))
THEIRS = """
import ctypes, sys
import llama_cpp
source, out, file_type, threads = sys.argv[1:]
parameters = llama_cpp.llama_model_quantize_default_params()
parameters.nthread, parameters.ftype = int(threads), int(file_type)
quiet = llama_cpp.llama_log_callback(lambda *_: None)
llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
sys.exit(llama_cpp.llama_model_quantize(source.encode(), out.encode(), parameters))
"""


def write_source(path: Path, weights: int) -> None:
    """A Llama of about so many BF16 weights, drawn from a heavy-tailed distribution, with a tokenizer of bytes."""
    from quantlib.checkpoints import MetadataValue, write_gguf

    width, ffn, vocabulary = 1024, 2816, 32_000
    layer = 2 * width * width + 2 * width * width // 4 + 3 * width * ffn
    layers = max(1, round((weights - 2 * vocabulary * width) / layer))
    numbers = {
        "block_count": layers, "context_length": 2048, "embedding_length": width, "feed_forward_length": ffn,
        "attention.head_count": 16, "attention.head_count_kv": 4, "vocab_size": vocabulary, "rope.dimension_count": 64,
    }  # fmt: skip
    metadata = {"general.architecture": MetadataValue("string", "llama")}
    metadata |= {f"llama.{key}": MetadataValue("uint32", value) for key, value in numbers.items()}
    metadata |= {
        "llama.attention.layer_norm_rms_epsilon": MetadataValue("float32", 1e-5),
        "general.file_type": MetadataValue("uint32", 32),
        "tokenizer.ggml.model": MetadataValue("string", "llama"),
        "tokenizer.ggml.tokens": MetadataValue("array[string]", [f"t{i}" for i in range(vocabulary)]),
        "tokenizer.ggml.scores": MetadataValue("array[float32]", np.zeros(vocabulary, np.float32)),
        "tokenizer.ggml.token_type": MetadataValue("array[int32]", np.ones(vocabulary, np.int32)),
    }
    kv = width // 4
    shapes = {"token_embd": (vocabulary, width), "output_norm": (width,), "output": (vocabulary, width)}
    for i in range(layers):
        parts = {
            "attn_norm": (width,), "attn_q": (width, width), "attn_k": (kv, width), "attn_v": (kv, width),
            "attn_output": (width, width), "ffn_norm": (width,), "ffn_gate": (ffn, width), "ffn_up": (ffn, width),
            "ffn_down": (width, ffn),
        }  # fmt: skip
        shapes |= {f"blk.{i}.{name}": shape for name, shape in parts.items()}
    pool = (np.random.default_rng(0).standard_t(6, 1 << 24).astype(np.float32) * 0.02).view(np.uint32) >> 16
    pool = pool.astype(np.uint16)  # BF16 by cutting

    def tensor(name: str, shape: tuple[int, ...], seed: int):
        if len(shape) == 1:
            return (f"{name}.weight", shape, "FP32"), [np.ones(shape, np.float32)]
        start, size = seed * 7919 % len(pool), int(np.prod(shape))
        rolled = np.roll(pool, -start)
        pieces = (rolled[: min(len(pool), size - at)] for at in range(0, size, len(pool)))
        return (f"{name}.weight", shape, "BF16"), pieces

    with open(path, "wb") as file:
        write_gguf(file, metadata, [tensor(name, shape, i) for i, (name, shape) in enumerate(shapes.items())])


def timed(command: list[str]) -> tuple[float, float, float]:
    """Wall seconds, processor seconds and peak resident megabytes of a process."""
    environment = {**os.environ, "PYTHONPATH": PATH}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # modules are compiled once, as anywhere
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command[:4])} ... failed")
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("recipes", nargs="*", default=list(TARGETS), metavar="RECIPE")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--weights", type=int, default=300_000_000)
    options.add_argument("--effort", choices=["standard", "best"], default="standard")
    chosen = options.parse_args()
    from quantlib.recipes import RECIPES

    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        source, ours, theirs = (Path(folder) / name for name in ("source.gguf", "ours.gguf", "theirs.gguf"))
        code = "import sys, quantize; quantize.write_source(quantize.Path(sys.argv[1]), int(sys.argv[2]))"
        timed([sys.executable, "-c", code, str(source), str(chosen.weights)])  # a small parent keeps the peaks true
        print(f"{'recipe':8}{'ours s':>9}{'theirs s':>10}{'ratio':>8}{'cpu ratio':>11}{'target':>8}{'our MB':>8}")
        for name in chosen.recipes:
            mine = [sys.executable, "-m", "quantlib", "quantize", str(source), str(ours), "--recipe", name]
            mine += ["--effort", chosen.effort, "--threads", str(THREADS)]
            peer = [sys.executable, "-c", THEIRS, str(source), str(theirs), str(RECIPES[name].file_type), str(THREADS)]
            timed(mine)  # kernels are compiled and cached
            pairs = []
            for _ in range(chosen.rounds):
                ours.unlink(missing_ok=True)
                theirs.unlink(missing_ok=True)
                pairs.append((timed(mine), timed(peer)))
            if chosen.effort == "standard" and not filecmp.cmp(ours, theirs, shallow=False):
                raise SystemExit(f"{name}: the files differ")
            if ours.stat().st_size != theirs.stat().st_size:
                raise SystemExit(f"{name}: the files are not of one size")
            wall = [statistics.median(pair[side][0] for pair in pairs) for side in (0, 1)]
            cpu = statistics.median(pair[0][1] / pair[1][1] for pair in pairs)
            ratio = statistics.median(pair[0][0] / pair[1][0] for pair in pairs)
            target = TARGETS.get(name, 1) if chosen.effort == "standard" else 1
            peak = max(pair[0][2] for pair in pairs)
            print(
                f"{name:8}{wall[0]:9.2f}{wall[1]:10.2f}{ratio:8.2f}{cpu:11.2f}{target:8.2f}{peak:8.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
