"""Running tokenizers that came in files: what they say is bounded, and the library reads it in a process of its own."""

from quantlib.lm.tokenization.bounds import bounded
from quantlib.lm.tokenization.metadata import tokenizer_of_metadata
from quantlib.lm.tokenization.runners import Here, Isolated, Runner

__all__ = ["Here", "Isolated", "Runner", "bounded", "tokenizer_of_metadata"]
