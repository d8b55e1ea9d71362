"""Prompt processing beside llama.cpp's on one F32 GGUF file: python tests/bench/prompt.py [MODEL] [--threads N].

Each reads windows of 512 tokens and gives the logits of their second half, as llama-perplexity does; repetitions take
turns. Printed are medians of wall time and of processor time, tokens a second, and llama.cpp's time over ours.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import llama_cpp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

import quantlib as ql
from quantlib.lm import load, perplexity_of
from quantlib.lm import threads as our_threads
from quantlib.lm.windows import Windows

CONTEXT = 512


def theirs(path: Path, rows: np.ndarray, threads: int) -> Callable[[], None]:
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = CONTEXT
    params.n_threads = params.n_threads_batch = threads
    context = llama_cpp.llama_init_from_model(model, params)
    batch = llama_cpp.llama_batch_init(CONTEXT, 0, 1)

    def run() -> None:
        for row in rows:
            llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
            batch.n_tokens = CONTEXT
            for i, token in enumerate(row.tolist()):
                batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, i, 1
                batch.seq_id[i][0], batch.logits[i] = 0, i >= CONTEXT // 2
            assert llama_cpp.llama_decode(context, batch) == 0
            llama_cpp.llama_synchronize(context)

    return run


def ours(path: Path, rows: np.ndarray, threads: int) -> Callable[[], None]:
    model, windows = load(ql.open_checkpoint(path)), Windows(rows, None)
    pool = ThreadPoolExecutor(threads)
    our_threads.shared_pool = lambda: pool
    return lambda: perplexity_of(model, windows)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?", type=Path, help="a GGUF file; by default the demo model in F32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--windows", type=int, default=4)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.model
        if path is None:
            path = Path(folder) / "demo.gguf"
            ql.run(ql.plan(ql.open_checkpoint(Path(__file__).parents[2] / "assets" / "demo_model"), "F32"), path)
        vocabulary = load(ql.open_checkpoint(path), decoded=False).shape.vocabulary
        rows = np.random.default_rng(0).integers(0, vocabulary, (options.windows, CONTEXT))
        runs = {"llama.cpp": theirs(path, rows, options.threads), "quantlib": ours(path, rows, options.threads)}
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
        for _ in range(options.repeat + 1):
            for name, run in runs.items():
                start = time.perf_counter(), time.process_time()
                run()
                times[name].append((time.perf_counter() - start[0], time.process_time() - start[1]))
    medians = {name: [statistics.median(x) for x in zip(*t[1:], strict=True)] for name, t in times.items()}
    for name, (wall, processor) in medians.items():
        print(f"{name:10} {wall:7.3f} s wall, {processor:7.3f} s processor, {rows.size / wall:7.0f} tokens a second")
    wall, processor = (a / b for a, b in zip(medians["llama.cpp"], medians["quantlib"], strict=True))
    print(f"llama.cpp's time over ours, {options.threads} threads: wall {wall:.2f}, processor {processor:.2f}")


if __name__ == "__main__":
    main()
