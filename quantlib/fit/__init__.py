"""Which recipe fits: a model's shape, its memory by recipe and context, its speed as an estimate, and plain advice."""

from quantlib.fit.advice import Advice, advise
from quantlib.fit.attention import CacheLayer, attention_of
from quantlib.fit.memory import Need, Weighed, cache_bytes, needs, read_bytes, tokens_per_second, weigh
from quantlib.fit.published import Machine, machine
from quantlib.fit.shapes import KNOWN, Shape
from quantlib.fit.sources import Subject, named_subject, subject

__all__ = [
    "KNOWN",
    "Advice",
    "CacheLayer",
    "Machine",
    "Need",
    "Shape",
    "Subject",
    "Weighed",
    "advise",
    "attention_of",
    "cache_bytes",
    "machine",
    "named_subject",
    "needs",
    "read_bytes",
    "subject",
    "tokens_per_second",
    "weigh",
]
