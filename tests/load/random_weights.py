"""A large checkpoint out of nothing: random weights of a Llama's shape, written tensor by tensor."""

from pathlib import Path

import numpy as np

from quantlib.checkpoints import GGUFWriter, MetadataValue, gguf_layout

ROWS, COLUMNS = 4096, 4096


def write_gguf(path: Path, nbytes: int) -> int:
    """Write a GGUF file of about that many bytes in BF16; returns its exact size."""
    count = max(1, nbytes // (2 * ROWS * COLUMNS))
    shapes = [(f"blk.{i}.ffn_up.weight", (ROWS, COLUMNS), "BF16") for i in range(count)]
    metadata = {
        "general.architecture": MetadataValue("string", "llama"),
        "llama.block_count": MetadataValue("uint32", count),
    }
    rng = np.random.default_rng(0)
    with open(path, "wb") as file:
        writer = GGUFWriter(file, gguf_layout(metadata, shapes))
        for _ in shapes:
            x = rng.standard_normal((ROWS, COLUMNS), np.float32)
            writer.write((x.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8).reshape(-1))
        writer.finish()
    return path.stat().st_size
