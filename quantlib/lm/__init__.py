"""A small transformer that really runs: what quantization costs is measured on it."""

from quantlib.lm.activations import Activations, Ranges, activations
from quantlib.lm.applied import applied
from quantlib.lm.architectures import ARCHITECTURES, Architecture
from quantlib.lm.cache import Cache
from quantlib.lm.calibration import imatrix
from quantlib.lm.comparison import (
    Baseline,
    Comparison,
    Summary,
    WorstToken,
    baseline,
    compare,
    together,
    worst_tokens,
)
from quantlib.lm.generation import SEED, TEMPERATURE, generate
from quantlib.lm.keeping import digest_of_model
from quantlib.lm.model import Model, load
from quantlib.lm.perplexity import Perplexity, overall, perplexity, perplexity_of
from quantlib.lm.sensing import PARTS, PartLoss, Sensitivity, sensitivity
from quantlib.lm.shape import Shape
from quantlib.lm.sweeping import Bench, Measured, Sweep, bench, sweep
from quantlib.lm.texts import CALIBRATION, EVALUATION, GENERATED, cut_texts, digest_of_texts, read_texts
from quantlib.lm.tokenizer import Tokenizer
from quantlib.lm.windows import Windows, cut, spread

__all__ = [
    "ARCHITECTURES",
    "CALIBRATION",
    "EVALUATION",
    "GENERATED",
    "PARTS",
    "SEED",
    "TEMPERATURE",
    "Activations",
    "Architecture",
    "Baseline",
    "Bench",
    "Cache",
    "Comparison",
    "Measured",
    "Model",
    "PartLoss",
    "Perplexity",
    "Ranges",
    "Sensitivity",
    "Shape",
    "Summary",
    "Sweep",
    "Tokenizer",
    "Windows",
    "WorstToken",
    "activations",
    "applied",
    "baseline",
    "bench",
    "compare",
    "cut",
    "cut_texts",
    "digest_of_model",
    "digest_of_texts",
    "generate",
    "imatrix",
    "load",
    "overall",
    "perplexity",
    "perplexity_of",
    "read_texts",
    "sensitivity",
    "spread",
    "sweep",
    "together",
    "worst_tokens",
]
