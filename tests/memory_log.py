"""What llama.cpp says of its memory while it plans a model, for files of real size that hold no weights.

The files are holes behind a header, and llama.cpp plans its buffers for them without filling any.
"""

import ctypes
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quantlib.checkpoints import Checkpoint, MetadataValue, gguf_layout
from quantlib.fit import KNOWN


@dataclass(frozen=True)
class Planned:
    """MiB of each buffer of keys, values and states, and of the compute buffer."""

    caches: tuple[float, ...]
    compute: float


def hollow_file(name: str, path: Path) -> Checkpoint:
    """A GGUF file of a known model, whose weights are a hole in the file."""
    checkpoint = KNOWN[name].checkpoint()
    metadata = dict(checkpoint.metadata) | {"tokenizer.ggml.model": MetadataValue("string", "no_vocab")}
    layout = gguf_layout(metadata, [(t.name, t.shape, t.format) for t in checkpoint])
    with open(path, "wb") as file:
        file.write(layout.header)
        file.truncate(layout.nbytes)
    return checkpoint


@contextmanager
def planner(llama_cpp) -> Iterator[Callable[[Path, int], Planned]]:
    """planned(path, context): what it plans for one sequence and batches of 512."""
    lines: list[str] = []

    @llama_cpp.llama_log_callback
    def log(level, text, data):
        if level != 1:  # not what is for those who debug
            lines.append(text.decode(errors="replace"))

    def planned(path: Path, context: int) -> Planned:
        lines.clear()
        llama_cpp.llama_log_set(log, ctypes.c_void_p(0))
        parameters = llama_cpp.llama_model_default_params()
        parameters.no_alloc, parameters.load_mode = True, 0
        model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
        assert model, "".join(lines)[-800:]
        wanted = llama_cpp.llama_context_default_params()
        wanted.n_ctx, wanted.n_ubatch, wanted.n_batch, wanted.swa_full = context, 512, 2048, False
        made = llama_cpp.llama_init_from_model(model, wanted)
        assert made, "".join(lines)[-800:]
        llama_cpp.llama_free(made)
        llama_cpp.llama_model_free(model)
        said = "".join(lines)
        caches = tuple(float(x) for x in re.findall(r"(?:kv_cache|recurrent): size = +([\d.]+) MiB", said))
        return Planned(caches, float(re.search(r"compute buffer size = +([\d.]+) MiB", said)[1]))

    yield planned
    llama_cpp.llama_log_set(ctypes.cast(None, llama_cpp.llama_log_callback), ctypes.c_void_p(0))
