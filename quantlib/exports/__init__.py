"""Quantized Hugging Face folders that transformers and vLLM load: schemes, their file layouts, and the export."""

from quantlib.exports.calibrated import CalibratedScheme, prepare
from quantlib.exports.calibrated_schemes import CALIBRATED
from quantlib.exports.choices import Choices
from quantlib.exports.exporting import Exported, Layer, Prepared, export, fitted, misfit
from quantlib.exports.linears import linears_of
from quantlib.exports.schemes import PLAIN, Kind, Scheme, adjusted

SCHEMES = {scheme.name: scheme for scheme in (*CALIBRATED, *PLAIN)}

__all__ = [
    "CALIBRATED", "PLAIN", "SCHEMES", "CalibratedScheme", "Choices", "Exported", "Kind", "Layer", "Prepared", "Scheme",
    "adjusted", "export", "fitted", "linears_of", "misfit", "prepare",
]  # fmt: skip
