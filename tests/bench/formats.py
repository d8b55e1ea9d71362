"""Our kernels against ggml's, paired: python tests/bench/formats.py [FORMAT ...] [--ggml PATH] [--threads 2] [--rows N]

One thread, unless --threads asks for our pool against one thread of our own. ggml is called through the library that
llama-cpp-python brings along, or the one at PATH. Every number is the median over rounds of (the peer's CPU time /
ours), the two measured in turn, so more than 1 is faster than the peer. Means are geometric. Speeds are in millions of
weights a second. Beside them stands auto-round's encoder, where that package is installed and has one.
"""

import argparse
import importlib.util
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gguf
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1]))

from ggml_library import Ggml

from quantlib.formats import FORMATS, BlockFormat, get

COLUMNS = 4096
ROUNDS = 7
SECONDS = 1.5  # about what a format may take in all
GGUF_DECODES = {int(kind) for kind in gguf.quants._type_traits}


def seconds(work: Callable, clock: Callable[[], float] = time.thread_time) -> float:
    start = clock()
    work()
    return clock() - start


def paired(theirs: Callable, ours: Callable, clock: Callable = time.thread_time) -> tuple[float, float]:
    """The median ratio of their time to ours, and our median time."""
    repeats = max(1, int(2e-3 / (seconds(theirs, clock) + seconds(ours, clock) + 1e-9)))  # clocks are coarse

    def several(work: Callable) -> float:
        return seconds(lambda: deque((work() for _ in range(repeats)), maxlen=1), clock) / repeats

    pairs = [(several(theirs), several(ours)) for _ in range(ROUNDS)]
    return statistics.median(a / b for a, b in pairs), statistics.median(b for _, b in pairs)


def auto_round_encoder() -> Callable | None:
    """auto-round's encoder of GGUF blocks, which works on torch tensors."""
    if importlib.util.find_spec("auto_round") is None:
        return None
    import torch
    from auto_round.export.export_to_gguf.packing import GGML_QUANT_TYPE, ggml_quant

    torch.set_num_threads(1)

    def encode(form: BlockFormat, x: np.ndarray, importance: np.ndarray | None) -> None:
        steering = None if importance is None else torch.from_numpy(importance)
        ggml_quant(torch.from_numpy(x), form.name.lower(), imatrix=steering, device="cpu")

    encode.formats = {name.upper() for name in GGML_QUANT_TYPE}
    return encode


def rows_for(encode: Callable, x: np.ndarray) -> np.ndarray:
    """As many rows as the slower side encodes in the time there is."""
    each = max(seconds(lambda: encode(x[:4])) / 4, 1e-7)
    return x[: int(np.clip(SECONDS / (ROUNDS + 1) / each, 4, len(x)))]


def compare_encoding(ggml: Ggml, form: BlockFormat, x, importance, auto_round) -> float:
    ours = form.quantize(x[:4], importance)  # compiles
    assert np.array_equal(ours, ggml.encode(form, x[:4], importance)), f"{form.name} has other bytes than ggml"
    x = rows_for(lambda some: ggml.encode(form, some, importance), x)
    ratio, took = paired(lambda: ggml.encode(form, x, importance), lambda: form.quantize(x, importance))
    line = f"{form.name:8}{'yes' if importance is not None else 'no':>12}{ratio:10.2f}{x.size / took / 1e6:14.1f}"
    if auto_round and form.name in auto_round.formats:
        x = x[:64]
        other, _ = paired(lambda: auto_round(form, x, importance), lambda: form.quantize(x, importance))
        line += f"{other:14.1f}"
    print(line, flush=True)
    return ratio


def compare_decoding(ggml: Ggml, form: BlockFormat, data: np.ndarray) -> tuple[float, float | None]:
    assert np.array_equal(form.dequantize(data), ggml.decode(form, data)), f"{form.name} decodes otherwise than ggml"
    ratio, took = paired(lambda: ggml.decode(form, data), lambda: form.dequantize(data))
    line = f"{form.name:8}{ratio:10.2f}{data.size * 8 / form.bpw / took / 1e6:14.0f}"
    python = None
    if form.ggml_type in GGUF_DECODES:
        kind = gguf.GGMLQuantizationType(form.ggml_type)
        python, _ = paired(lambda: gguf.quants.dequantize(data, kind), lambda: form.dequantize(data))
        line += f"{python:14.1f}"
    print(line, flush=True)
    return ratio, python


def summary(title: str, ratios: list[float]) -> None:
    if ratios:
        print(f"{title}: geometric mean {statistics.geometric_mean(ratios):.2f}, least {min(ratios):.2f}")


def compare_with_ggml(forms: list[BlockFormat], x: np.ndarray, imatrix: np.ndarray, path: str | None) -> None:
    ggml, auto_round = Ggml(path), auto_round_encoder()
    print("Encoding\nformat    importance  x of ggml    Mweights/s  x of auto-round")
    ratios = {"no": [], "yes": []}
    for form in forms:
        for importance in (imatrix,) if form.requires_importance else (None, imatrix):
            steered = "no" if importance is None else "yes"
            ratios[steered].append(compare_encoding(ggml, form, x, importance, auto_round))
    for steered, values in ratios.items():
        summary(f"encoding, importance {steered}", values)
    summary("encoding, all", ratios["no"] + ratios["yes"])
    print("\nDecoding\nformat   x of ggml    Mweights/s  x of gguf-py")
    stored = [form.quantize(x[:64], imatrix) for form in forms]
    both = [compare_decoding(ggml, form, data) for form, data in zip(forms, stored, strict=True)]
    summary("decoding against ggml", [ratio for ratio, _ in both])
    summary("decoding against gguf-py", [python for _, python in both if python])


def compare_threads(forms: list[BlockFormat], x: np.ndarray, imatrix: np.ndarray, threads: int) -> None:
    """Our own pool against one thread, in wall time."""
    print(f"{threads} threads\nformat    importance  x of one thread")
    ratios = []
    with ThreadPoolExecutor(threads) as pool:
        for form in forms:
            for importance in (imatrix,) if form.requires_importance else (None, imatrix):
                ratios.append(one_against_many(form, x, importance, pool, threads))
    summary(f"{threads} threads against one", ratios)


def one_against_many(form: BlockFormat, x, importance, pool: ThreadPoolExecutor, threads: int) -> float:
    def encode(rows: np.ndarray) -> np.ndarray:
        return form.quantize(rows, importance)

    encode(x[:4])  # compiles
    parts = np.array_split(rows_for(encode, x), 4 * threads)
    ratio, _ = paired(lambda: list(map(encode, parts)), lambda: list(pool.map(encode, parts)), time.perf_counter)
    print(f"{form.name:8}{'no' if importance is None else 'yes':>12}{ratio:10.2f}", flush=True)
    return ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("formats", nargs="*", help="block formats, all without")
    parser.add_argument("--ggml", help="path of a ggml-base library")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--rows", type=int, help=f"at most so many rows of {COLUMNS} weights; a whole matrix for threads, else 256"
    )
    options = parser.parse_args()
    rows = options.rows or (COLUMNS if options.threads > 1 else 256)
    named = [get(name) for name in options.formats] or [f for f in FORMATS.values() if f.kind == "block"]
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((rows, COLUMNS)) * 0.02).astype(np.float32)
    imatrix = (rng.standard_normal(COLUMNS) ** 2).astype(np.float32)
    if options.threads > 1:
        compare_threads(named, x, imatrix, options.threads)
    else:
        compare_with_ggml(named, x, imatrix, options.ggml)


if __name__ == "__main__":
    main()
