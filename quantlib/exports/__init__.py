"""Quantized Hugging Face folders that transformers and vLLM load: schemes, their file layouts, and the export."""

from quantlib.exports.calibrated import prepare
from quantlib.exports.calibrated_schemes import CALIBRATED
from quantlib.exports.exporting import Exported, Layer, Prepared, export, misfit
from quantlib.exports.linears import linears_of
from quantlib.exports.schemes import PLAIN, Kind, Scheme

SCHEMES = {scheme.name: scheme for scheme in (*CALIBRATED, *PLAIN)}

__all__ = [
    "CALIBRATED", "PLAIN", "SCHEMES", "Exported", "Kind", "Layer", "Prepared", "Scheme", "export", "linears_of",
    "misfit", "prepare",
]  # fmt: skip
