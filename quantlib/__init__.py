"""A quantization backend: number formats, checkpoint files, recipes, and the runs that join them.

import quantlib as ql
data = ql.quantize(x, "Q4_K")            # float32 (..., n) -> uint8 (..., bytes)
xhat = ql.dequantize(data, "Q4_K")       # and back
plan = ql.plan(ql.open_checkpoint("model/"), recipe="Q4_K_M")
ql.run(plan, "model.gguf")
"""

from collections.abc import Mapping
from importlib import import_module as _import_module
from typing import Any

import numpy as np

from quantlib import formats as _package
from quantlib.checkpoints import Checkpoint, Tensor, merged, open_checkpoint, vision_half
from quantlib.errors import Cancelled, CheckpointError, FormatError, JobError, MethodError, QuantlibError, RecipeError
from quantlib.jobs import Measured, Plan, PlannedTensor, Progress, RunResult, TensorResult, measure, plan, run

__version__ = "0.1.0"

__all__ = [
    "Cancelled", "Checkpoint", "CheckpointError", "FormatError", "JobError", "Measured", "MethodError", "Plan",
    "PlannedTensor", "Progress", "QuantlibError", "RecipeError", "RunResult", "Tensor", "TensorResult", "dequantize",
    "formats", "measure", "merged", "open_checkpoint", "plan", "quantize", "run", "vision_half",
]  # fmt: skip


class _Formats:
    """The package `quantlib.formats`, which called is the catalogue: `ql.formats()` and `ql.formats.get` both work."""

    def __call__(self) -> Mapping[str, _package.Format]:
        """The catalogue of number formats by name."""
        return _package.FORMATS

    def __getattr__(self, name: str) -> Any:
        return getattr(_package, name)

    def __dir__(self) -> list[str]:
        return dir(_package)


formats = _Formats()

_PARTS = (  # loaded when they are first touched
    "architectures", "checkpoints", "exports", "figures", "fit", "glossary", "inspection", "jobs", "lm", "methods",
    "metrics", "recipes", "tables",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _PARTS:
        return _import_module(f"quantlib.{name}")
    raise AttributeError(f"module 'quantlib' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_PARTS, "__version__"])


def quantize(x: np.ndarray, format: str, importance: np.ndarray | None = None, effort: str = "standard") -> np.ndarray:
    """Encode weights: x (..., n) float32 -> uint8 (..., bytes of a row), the bytes that the format's reference writes.

    importance: (n,) weights of the squared errors, one per column; without it the format's own default. effort: "best"
    lowers the error of most block formats below that of the reference's bytes, in the same size.
    Raises FormatError for an unknown format, a row length that does not fit, NaN or infinity.
    """
    return _package.get(format).quantize(x, importance, effort)


def dequantize(data: np.ndarray, format: str) -> np.ndarray:
    """Decode: data uint8 (..., bytes of a row) -> float32 (..., n). Raises FormatError where the bytes do not fit."""
    return _package.get(format).dequantize(data)
