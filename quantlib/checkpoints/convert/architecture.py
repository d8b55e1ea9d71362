"""What an architecture is: its names, the shapes and changes of its tensors, its metadata keys, its tokenizer.

An architecture is a value. Everything else (reading config.json, checking shapes, naming, ordering, reporting what is
missing) is derived from it in `config`, `tensors` and `hyperparameters`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from quantlib.checkpoints.base import Tensor
from quantlib.checkpoints.convert import lazy

if TYPE_CHECKING:
    from quantlib.checkpoints.convert.config import Config

Shape = tuple[int, ...]


class Change:
    """How a tensor of GGUF comes from one of Hugging Face's: as it is. Subclasses move rows or change values.

    A change of a matrix is one of its bias too, unless it moves whole columns.
    """

    moves_columns = False

    def source_shape(self, shape: Shape) -> Shape:
        """The shape that the source must have for this shape in GGUF."""
        return shape

    def applied(self, source: Tensor, name: str, shape: Shape, config: Config) -> Tensor:
        """The tensor under GGUF's name; its rows are changed when they are read."""
        del shape, config
        return lazy.joined(name, source.shape, [(source, 0, source.nrows)])


@dataclass(frozen=True)
class Permuted(Change):
    """The rows of each head interleaved, as llama.cpp's rotary positions want them; heads: a name in Config."""

    heads: str

    def applied(self, source: Tensor, name: str, shape: Shape, config: Config) -> Tensor:
        del shape
        return lazy.permuted(source, name, getattr(config, self.heads))


class PlusOne(Change):
    """Norms that are stored as their distance from 1."""

    def applied(self, source: Tensor, name: str, shape: Shape, config: Config) -> Tensor:
        del shape, config
        return lazy.plus_one(source, name)


class Transposed(Change):
    """Matrices stored as (in, out)."""

    moves_columns = True

    def source_shape(self, shape: Shape) -> Shape:
        return shape[::-1]

    def applied(self, source: Tensor, name: str, shape: Shape, config: Config) -> Tensor:
        del shape, config
        return lazy.transposed(source, name)


@dataclass(frozen=True)
class Half(Change):
    """The first or second half of each expert's rows in a stack of fused matrices: 0 or 1."""

    index: int

    def source_shape(self, shape: Shape) -> Shape:
        return (shape[0], 2 * shape[1], shape[2])

    def applied(self, source: Tensor, name: str, shape: Shape, config: Config) -> Tensor:
        del config
        experts, rows, _ = shape
        starts = [(2 * expert + self.index) * rows for expert in range(experts)]
        return lazy.joined(name, shape, [(source, start, start + rows) for start in starts])


UNCHANGED = Change()


@dataclass(frozen=True)
class Weight:
    """A tensor of the model, with its name in both worlds; in a name, {} is the layer, in a stack's the expert next.

    shape: sizes by name (see Config.sizes), as GGUF has it, rows first. bias: whether a .bias comes with it.
    fused: where the experts' matrices may also lie in one tensor: its name, and the change that takes ours from it.
    stand_in: the name of the tensor to take where it is not there.
    """

    gguf: str
    hf: str
    shape: tuple[str, ...]
    change: Change = UNCHANGED
    needed: bool = True
    bias: Literal["none", "optional", "needed"] = "none"
    fused: tuple[str, Change] | None = None
    stand_in: str | None = None

    @property
    def stacked(self) -> bool:
        """Whether it is a stack of one matrix for each expert."""
        return self.hf.count("{}") == 2


@dataclass(frozen=True)
class Key:
    """A metadata key after the architecture's name: GGUF's type, and an attribute of Config or a function of it.

    The key is left out where the value is None.
    """

    name: str
    type: str
    value: str | Callable[[Config], object]

    def of(self, config: Config) -> object:
        """The value for this model."""
        return getattr(config, self.value) if isinstance(self.value, str) else self.value(config)


FILE_TYPE = Key("general.file_type", "uint32", lambda config: None)  # known to the recipe, not to the model
Keys = Key | Callable[["Config"], tuple[Key, ...]]


@dataclass(frozen=True)
class Tokenizer:
    """How an architecture's vocabulary goes to GGUF, where the converter treats it in its own way.

    kind: "any" takes tokenizer.model before tokenizer.json; "wordpiece" is BERT's. space_prefix: a flag that the
    converter sets itself, "config" where it takes tokenizer_config.json's. json_tokens: added tokens of tokenizer.json
    count beside those of tokenizer.model. vocab_size: whether 32,016 and 49,152 tokens mean Code Llama and Granite.
    """

    kind: Literal["any", "wordpiece"] = "any"
    space_prefix: bool | Literal["config"] | None = None
    json_tokens: bool = False
    vocab_size: bool = False


@dataclass(frozen=True)
class Assumed:
    """What llama.cpp takes for granted of an architecture: a value of config.json, and those it may have."""

    key: str
    allowed: tuple[object, ...]


@dataclass(frozen=True, eq=False)  # one value for each, told apart by identity
class Architecture:
    """A model architecture of transformers that GGUF has too.

    name: in GGUF. title: in messages. model_type, classes: as config.json says them. defaults: what transformers fills
    in where config.json is silent, by name of Config; a function of the values so far where it depends on those.
    theta: the base frequency of rotary positions where config.json is silent; None for models without.
    weights: in the converter's order where tensors share a source. keys: in the converter's order; early ones stand
    before general.type. extra: tensors that are computed of the config. checks: warnings of what will differ.
    prefixes: what may stand before the names of tensors. ignored: starts of names that GGUF has no use for.
    nested: the object within config.json that describes the language model, where it is not the whole.
    tokenizer: how its vocabulary is read, see `tokenizer`.
    """

    name: str
    title: str
    model_type: str
    classes: tuple[str, ...]
    defaults: Mapping[str, object]
    weights: tuple[Weight, ...]
    keys: tuple[Keys, ...]
    theta: float | None = 10_000.0
    early: tuple[Keys, ...] = ()
    extra: Callable[[Config], Mapping[str, np.ndarray]] | None = None
    assumed: tuple[Assumed, ...] = ()
    checks: tuple[Callable[[Config], str | None], ...] = ()
    prefixes: tuple[str, ...] = ("model.", "")
    ignored: tuple[str, ...] = ()
    nested: str | None = None
    tokenizer: Tokenizer = Tokenizer()

    @property
    def has_experts(self) -> bool:
        """Whether its feed-forward parts are mixtures of experts."""
        return any(weight.stacked for weight in self.weights)
