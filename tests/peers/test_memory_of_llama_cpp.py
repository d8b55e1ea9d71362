"""Cache, state and working memory of a model against llama.cpp's own log, for files of real size without weights.

The files are holes behind a header, and llama.cpp plans its buffers for them without filling any.
"""

import ctypes
import re

import pytest

from quantlib.checkpoints import MetadataValue, gguf_layout
from quantlib.fit import KNOWN, cache_bytes, cache_of
from quantlib.fit.work import work_bytes

pytestmark = pytest.mark.peer
MIB = 1 << 20
# One of each kind: plain, windows, shared layers, latents, chunks, linear attention, state spaces, convolutions.
MODELS = (
    "SmolLM2-360M", "Gemma-3-1B", "Gemma-3n-E2B", "DeepSeek-V2-Lite", "Llama-4-Scout", "Qwen3.6-35B-A3B",
    "Falcon-H1-0.5B", "Granite-4.0-H-Tiny", "Nemotron-Nano-9B-v2", "LFM2-350M", "gpt-oss-20b", "Command-R7B",
)  # fmt: skip


def hollow_file(name, path):
    """A GGUF file of a known model, whose weights are a hole in the file."""
    checkpoint = KNOWN[name].checkpoint()
    metadata = dict(checkpoint.metadata) | {"tokenizer.ggml.model": MetadataValue("string", "no_vocab")}
    layout = gguf_layout(metadata, [(t.name, t.shape, t.format) for t in checkpoint])
    with open(path, "wb") as file:
        file.write(layout.header)
        file.truncate(layout.nbytes)
    return checkpoint


@pytest.fixture(scope="module")
def printed(peer):
    """printed(path, context): what llama.cpp says while it plans its memory for a file."""
    llama_cpp = peer("llama_cpp")
    lines = []

    @llama_cpp.llama_log_callback
    def log(level, text, data):
        if level != 1:  # not what is for those who debug
            lines.append(text.decode(errors="replace"))

    def of(path, context):
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
        return "".join(lines)

    yield of
    llama_cpp.llama_log_set(ctypes.cast(None, llama_cpp.llama_log_callback), ctypes.c_void_p(0))


@pytest.mark.parametrize("name", MODELS)
def test_memory_is_what_llama_cpp_plans(printed, name, tmp_path):
    path = tmp_path / "model.gguf"
    checkpoint = hollow_file(name, path)
    for context in (3000, 20_000):
        said = printed(path, context)
        buffers = [float(x) for x in re.findall(r"(?:kv_cache|recurrent): size = +([\d.]+) MiB", said)]
        assert buffers
        ours = cache_bytes(cache_of(checkpoint), context) / MIB
        assert ours == pytest.approx(sum(buffers), abs=0.0051 * len(buffers))
        computed = float(re.search(r"compute buffer size = +([\d.]+) MiB", said)[1])
        assert 0.75 * computed < work_bytes(checkpoint, context) / MIB < 1.3 * computed
