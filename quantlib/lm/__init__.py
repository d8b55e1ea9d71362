"""A small transformer that really runs: what quantization costs is measured on it."""

from quantlib.lm.architectures import ARCHITECTURES, Architecture, Shape
from quantlib.lm.cache import Cache
from quantlib.lm.calibration import imatrix
from quantlib.lm.generation import generate
from quantlib.lm.model import Model, load
from quantlib.lm.perplexity import Perplexity, perplexity
from quantlib.lm.tokenizer import Tokenizer

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "Cache",
    "Model",
    "Perplexity",
    "Shape",
    "Tokenizer",
    "generate",
    "imatrix",
    "load",
    "perplexity",
]
