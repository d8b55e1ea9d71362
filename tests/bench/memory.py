"""A model of 1.1 billion weights evaluated with its weights as stored: python tests/bench/memory.py [--format Q4_0].

Writes a synthetic Llama of TinyLlama's shape as GGUF, reads some windows with it and prints the peak memory.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

import quantlib as ql
from quantlib import formats
from quantlib.checkpoints import MetadataValue, write_gguf
from quantlib.lm import load, perplexity

LAYERS, HIDDEN, FFN, VOCABULARY, HEADS, KV_HEADS = 22, 2048, 5632, 32000, 32, 4


def write(path: Path, name: str) -> int:
    """Random weights of small scale, quantized tensor by tensor; returns how many there are."""
    form, rng = formats.get(name), np.random.default_rng(0)
    kv = HIDDEN // HEADS * KV_HEADS
    block = {"attn_q": (HIDDEN, HIDDEN), "attn_k": (kv, HIDDEN), "attn_v": (kv, HIDDEN)}
    block |= {"attn_output": (HIDDEN, HIDDEN), "ffn_gate": (FFN, HIDDEN), "ffn_up": (FFN, HIDDEN)}
    block["ffn_down"] = (HIDDEN, FFN)
    norms = {"attn_norm": (HIDDEN,), "ffn_norm": (HIDDEN,)}
    shapes = {"token_embd.weight": (VOCABULARY, HIDDEN), "output.weight": (VOCABULARY, HIDDEN)}
    shapes |= {f"blk.{i}.{part}.weight": shape for i in range(LAYERS) for part, shape in (block | norms).items()}
    shapes["output_norm.weight"] = (HIDDEN,)

    def tensor(shape: tuple[int, ...]):
        if len(shape) == 1:
            yield np.ones(shape, np.float32)
            return
        for _ in range(0, shape[0], 256):
            yield form.quantize(rng.standard_normal((min(256, shape[0]), shape[1]), np.float32) * np.float32(0.02))

    numbers = {"block_count": LAYERS, "context_length": 2048, "embedding_length": HIDDEN, "feed_forward_length": FFN,
               "attention.head_count": HEADS, "attention.head_count_kv": KV_HEADS}  # fmt: skip
    metadata = {"general.architecture": MetadataValue("string", "llama")}
    metadata |= {f"llama.{key}": MetadataValue("uint32", value) for key, value in numbers.items()}
    metadata["llama.attention.layer_norm_rms_epsilon"] = MetadataValue("float32", 1e-5)
    with open(path, "wb") as file:
        tensors = [((n, s, "FP32" if len(s) == 1 else form.name), tensor(s)) for n, s in shapes.items()]
        write_gguf(file, metadata, tensors)
    return sum(int(np.prod(s)) for s in shapes.values())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--format", default="Q4_0")
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--windows", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        weights = write(path, options.format)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with ql.open_checkpoint(path) as checkpoint:
            model, started = load(checkpoint, decoded=False), time.perf_counter()
            tokens = np.random.default_rng(1).integers(0, VOCABULARY, options.windows * options.context)
            found = perplexity(model, tokens, options.context)
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"{weights:,} weights in {options.format}, {path.stat().st_size / 1e9:.2f} GB on disk")
        print(f"{tokens.size:,} tokens in {seconds:.1f} s, perplexity {found.value:.0f}")
        print(f"peak memory {peak / 1e6:.2f} GB, while the file was written {before / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
