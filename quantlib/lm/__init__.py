"""A small transformer that really runs: what quantization costs is measured on it."""

from quantlib.lm.generation import generate
from quantlib.lm.model import Llama
from quantlib.lm.perplexity import Perplexity, perplexity
from quantlib.lm.tokenizer import Tokenizer

__all__ = ["Llama", "Perplexity", "Tokenizer", "generate", "perplexity"]
