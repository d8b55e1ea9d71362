"""Our kernels against ggml's, one thread each, paired: python tests/bench/encode.py [path of a ggml-base library].

Without a path, the library that llama-cpp-python brings along is used. Prints the median over rounds of
(ggml's time / ours), so more than 1 is faster than ggml, and our speed in millions of weights a second.
"""

import ctypes
import importlib.util
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from quantlib.formats import FORMATS, BlockFormat

ROWS, COLUMNS, ROUNDS = 256, 4096, 9
FLOATS = ctypes.POINTER(ctypes.c_float)


def ggml_library() -> ctypes.CDLL:
    if len(sys.argv) > 1:
        return ctypes.CDLL(sys.argv[1])
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None:
        raise SystemExit("Install llama-cpp-python, or name a ggml-base library as the first argument.")
    folder = Path(next(iter(spec.submodule_search_locations))) / "lib"
    return ctypes.CDLL(str(next(folder.glob("*ggml-base*"))))


def seconds(work) -> float:
    start = time.thread_time()
    work()
    return time.thread_time() - start


def main() -> None:
    ggml = ggml_library()
    ggml.ggml_quantize_chunk.argtypes = [ctypes.c_int, FLOATS, ctypes.c_void_p, *[ctypes.c_int64] * 3, FLOATS]
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((ROWS, COLUMNS)) * 0.02).astype(np.float32)
    imatrix = (rng.standard_normal(COLUMNS) ** 2).astype(np.float32)
    print(f"{'format':8}{'importance':12}{'ratio':>8}{'Mweights/s':>12}{'decode':>10}")
    for form in FORMATS.values():
        if isinstance(form, BlockFormat):
            for importance in (imatrix,) if form.requires_importance else (None, imatrix):
                compare(ggml, form, x, importance)


def compare(ggml: ctypes.CDLL, form: BlockFormat, x: np.ndarray, importance: np.ndarray | None) -> None:
    out = np.empty((ROWS, form.row_bytes(COLUMNS)), np.uint8)
    steering = None if importance is None else importance.ctypes.data_as(FLOATS)

    def theirs() -> None:
        ggml.ggml_quantize_chunk(form.ggml_type, x.ctypes.data_as(FLOATS), out.ctypes.data, 0, ROWS, COLUMNS, steering)

    ours = form.quantize(x, importance)  # compiles
    form.dequantize(ours)
    theirs()
    assert np.array_equal(ours, out)
    pairs = [(seconds(theirs), seconds(lambda: form.quantize(x, importance))) for _ in range(ROUNDS)]
    decode = statistics.median(seconds(lambda: form.dequantize(out)) for _ in range(ROUNDS))
    ratio = statistics.median(a / b for a, b in pairs)
    speed = x.size / statistics.median(b for _, b in pairs) / 1e6
    steered = "no" if importance is None else "yes"
    print(f"{form.name:8}{steered:12}{ratio:8.2f}{speed:12.1f}{x.size / decode / 1e6:10.0f}")


if __name__ == "__main__":
    main()
