"""Cache, state and working memory of a model against llama.cpp's own log, for files of real size without weights."""

import pytest
from memory_log import hollow_file, planner

from quantlib.fit import cache_bytes, cache_of
from quantlib.fit.work import work_bytes

pytestmark = pytest.mark.peer
MIB = 1 << 20
# One of each kind: plain, windows, shared layers, latents, chunks, linear attention, state spaces, convolutions.
MODELS = (
    "SmolLM2-360M", "Gemma-3-1B", "Gemma-3n-E2B", "DeepSeek-V2-Lite", "Llama-4-Scout", "Qwen3.6-35B-A3B",
    "Falcon-H1-0.5B", "Granite-4.0-H-Tiny", "Nemotron-Nano-9B-v2", "LFM2-350M", "gpt-oss-20b", "Command-R7B",
    "MiniMax-M2",
)  # fmt: skip


@pytest.fixture(scope="module")
def planned(peer):
    with planner(peer("llama_cpp")) as planned:
        yield planned


@pytest.mark.parametrize("name", MODELS)
def test_memory_is_what_llama_cpp_plans(planned, name, tmp_path):
    path = tmp_path / "model.gguf"
    checkpoint = hollow_file(name, path)
    for context in (3000, 20_000):
        theirs = planned(path, context)
        assert theirs.caches
        ours = cache_bytes(cache_of(checkpoint), context) / MIB
        assert ours == pytest.approx(sum(theirs.caches), abs=0.0051 * len(theirs.caches))
        assert 0.75 * theirs.compute < work_bytes(checkpoint, context) / MIB < 1.3 * theirs.compute
