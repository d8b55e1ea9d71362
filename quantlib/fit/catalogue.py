"""Models that people know, by name: each one's published config.json, and how many weights its card states.

Source: models.json beside this file says for every model which repository of the hub publishes it (`hub`) and where its
config.json was read, or the report or table that states its numbers (`found`). Tests hold the weights that follow from
a config against `parameters`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path

from quantlib.checkpoints import Checkpoint
from quantlib.fit.described import described
from quantlib.jobs import Plan, plan

FILE = Path(__file__).with_name("models.json")
# What repositories add to a model's name: how its files are stored, and how it was trained.
ENDS = re.compile(r"(?:-(?:i1|imatrix|GGUF|MLX|AWQ|GPTQ|FP8|BF16|[48]bit|unsloth|bnb|qat|q4_0|int4))+$", re.IGNORECASE)
TUNED = re.compile(r"-(?:Instruct|Base|Chat|it|pt)$", re.IGNORECASE)


@dataclass(frozen=True)
class Model:
    """A published model. parameters: weights as its card counts them; active: those that a token passes through. also:
    further repositories of the hub with models of this shape.
    """

    name: str
    hub: str
    found: str
    parameters: int
    config: Mapping[str, object] = field(repr=False, hash=False)
    active: int | None = None
    also: Sequence[str] = ()

    @property
    def searched(self) -> str:
        """What files made of it are called on the hub."""
        return ENDS.sub("", self.hub.rpartition("/")[2])

    def checkpoint(self) -> Checkpoint:
        """Its shape, without weights: it can be planned and sized, and says so when it is read."""
        return _checkpoint(self.name)

    def planned(self, recipe: str) -> Plan:
        """The plan of this shape by a recipe; as with an importance matrix where the recipe needs one."""
        found = plan(self.checkpoint(), recipe)
        return plan(self.checkpoint(), recipe, important=True) if found.lacking else found


class Catalogue(Mapping[str, Model]):
    """The models by name, read from the file when the first is asked for."""

    def __getitem__(self, name: str) -> Model:
        return _models()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_models())

    def __len__(self) -> int:
        return len(_models())

    def find(self, text: str) -> Model | None:
        """By name or by the hub's, in any case and spelling: "qwen3 8b", "Qwen/Qwen3-8B", "bartowski/Qwen3-8B-GGUF"."""
        name = text.rpartition("/")[2]
        # bartowski's files are called "Qwen_Qwen3-14B-GGUF", mradermacher's "Qwen3-14B-i1-GGUF".
        bare = ENDS.sub("", name.partition("_")[2] or name)
        spellings = (text, name, ENDS.sub("", name), bare, TUNED.sub("", bare))
        return next((model for each in spellings if (model := _spelled().get(_plain(each)))), None)


KNOWN = Catalogue()


@lru_cache(maxsize=32)
def _checkpoint(name: str) -> Checkpoint:
    return described(KNOWN[name].config, name)


@cache
def _models() -> dict[str, Model]:
    return {entry["name"]: Model(**entry) for entry in json.loads(FILE.read_text(encoding="utf-8"))}


@cache
def _spelled() -> dict[str, Model]:
    """Every model by each way to write it: its own name goes before others, and an earlier model keeps a spelling."""
    found = {_plain(model.name): model for model in _models().values()}
    for model in _models().values():
        for text in (model.name, *(name for hub in (model.hub, *model.also) for name in (hub, hub.partition("/")[2]))):
            found.setdefault(_plain(text), model)
    return found


def _plain(text: str) -> str:
    """Letters and digits alone, in lower case."""
    return "".join(c for c in text.lower() if c.isascii() and c.isalnum())
