"""A small transformer that really runs: what quantization costs is measured on it."""

from quantlib.lm.activations import Activations, Ranges, activations
from quantlib.lm.architectures import ARCHITECTURES, Architecture, Shape
from quantlib.lm.cache import Cache
from quantlib.lm.calibration import imatrix
from quantlib.lm.generation import generate
from quantlib.lm.model import Model, load
from quantlib.lm.perplexity import Perplexity, perplexity
from quantlib.lm.tokenizer import Tokenizer

__all__ = [
    "ARCHITECTURES",
    "Activations",
    "Architecture",
    "Cache",
    "Model",
    "Perplexity",
    "Ranges",
    "Shape",
    "Tokenizer",
    "activations",
    "generate",
    "imatrix",
    "load",
    "perplexity",
]
