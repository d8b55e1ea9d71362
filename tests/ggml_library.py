"""ggml's own encoders and decoders, called in the library that llama-cpp-python brings along."""

import ctypes
import importlib.util
from pathlib import Path

import numpy as np

from quantlib.formats import BlockFormat

POINTER = ctypes.POINTER(ctypes.c_float)


class Ggml:
    """path: of a ggml-base library; the installed one if None. Ends the program with a sentence where there is none."""

    def __init__(self, path: str | None = None) -> None:
        self.shared = ctypes.CDLL(path or self._installed())
        quantize = self.shared.ggml_quantize_chunk
        quantize.argtypes = [ctypes.c_int, POINTER, ctypes.c_void_p, *[ctypes.c_int64] * 3, POINTER]
        quantize.restype = ctypes.c_size_t

    @staticmethod
    def _installed() -> str:
        spec = importlib.util.find_spec("llama_cpp")
        folders = list(spec.submodule_search_locations) if spec else []
        found = [path for folder in folders for path in sorted((Path(folder) / "lib").glob("*ggml-base*"))]
        if not found:
            raise SystemExit("Install llama-cpp-python, or name a ggml-base library with --ggml.")
        return str(found[0])

    def encode(self, form: BlockFormat, x: np.ndarray, importance: np.ndarray | None = None) -> np.ndarray:
        """Rows x (rows, n) as ggml stores them: uint8 (rows, bytes)."""
        out = np.empty((len(x), form.row_bytes(x.shape[1])), np.uint8)
        steering = None if importance is None else importance.ctypes.data_as(POINTER)
        written = self.shared.ggml_quantize_chunk(
            form.ggml_type, x.ctypes.data_as(POINTER), out.ctypes.data, 0, len(x), x.shape[1], steering
        )
        assert written == out.nbytes
        return out

    def encode_activations(self, form: BlockFormat, x: np.ndarray) -> np.ndarray:
        """The same in a format of activations; some leave bytes out."""
        out = np.zeros((len(x), form.row_bytes(x.shape[1])), np.uint8)
        self._row_function(f"quantize_row_{ggml_name(form)}_ref")(x.ctypes.data, out.ctypes.data, x.size)
        return out

    def decode(self, form: BlockFormat, data: np.ndarray) -> np.ndarray:
        """Stored rows (rows, bytes) as ggml reads them: float32 (rows, n)."""
        out = np.empty((len(data), data.shape[1] // form.nbytes * form.values), np.float32)
        self._row_function(f"dequantize_row_{ggml_name(form)}")(data.ctypes.data, out.ctypes.data, out.size)
        return out

    def _row_function(self, name: str):
        work = getattr(self.shared, name)
        work.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
        return work


def ggml_name(form: BlockFormat) -> str:
    """A format's name as ggml's functions and the golden data spell it: q4_K, iq2_xxs."""
    return form.name.lower().removesuffix("_k") + "_K" * form.name.endswith("_K")
