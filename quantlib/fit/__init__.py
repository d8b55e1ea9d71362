"""Which recipe to run: a model's shape, the memory it takes on a machine, its speed as an estimate, and advice."""

from quantlib.fit.answering import Answer, ask, machine_named
from quantlib.fit.cache import CacheLayer, cache_bytes, cache_of
from quantlib.fit.catalogue import KNOWN, Model
from quantlib.fit.described import described
from quantlib.fit.machines import MACHINES, Machine, Memory
from quantlib.fit.sources import Subject, named_subject, of_repository, opened, subject

__all__ = [
    "KNOWN",
    "MACHINES",
    "Answer",
    "CacheLayer",
    "Machine",
    "Memory",
    "Model",
    "Subject",
    "ask",
    "cache_bytes",
    "cache_of",
    "described",
    "machine_named",
    "named_subject",
    "of_repository",
    "opened",
    "subject",
]
