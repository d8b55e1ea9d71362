"""What an architecture is: its names, the shapes and changes of its tensors, its metadata keys, its tokenizer, how it
is computed, what of it folds.

An architecture is a value. Everything else is derived from it: reading config.json, checking shapes, naming, ordering,
reporting what is missing, running, memory, exports, the list of what there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from quantlib.architectures.changes import UNCHANGED, Change
from quantlib.architectures.computation import Computation, Encoding
from quantlib.architectures.config import Config, Setting
from quantlib.architectures.keeping import USUAL, Keeping
from quantlib.architectures.quantizing import AS_USUAL, Rules

Size = str | Callable[[Config, int], int]  # by its name in Config.sizes, or of the config and the layer
Layers = Callable[[Config], Iterable[tuple[int, int]]]


def where_stated(config: Config) -> bool:
    """Whether config.json says of all matrices that they have a bias."""
    return config.use_bias is True


@dataclass(frozen=True)
class Source:
    """Another tensor that one may come from, with what changes on the way.

    exact: whether the name is the whole of it, without a .weight to follow. packed: what follows the name of the two
    tensors that hold it as MXFP4, codes and scales.
    """

    hf: str
    change: Change = UNCHANGED
    exact: bool = False
    packed: tuple[str, str] | None = None


@dataclass(frozen=True)
class Weight:
    """A tensor of the model, with its name in both worlds; in a name, {} is the layer, in a stack's the part next.

    shape: sizes, as GGUF has it, rows first. bias: whether a .bias comes with it.
    others: where it may come from too, in this order. exact: both names are whole, without a .weight to follow.
    layers: the layers that have it, each by its number in GGUF and in Hugging Face's names; all where not said.
    there, biased: of a weight that is not needed, or of a bias that is optional: whether a model of this config has it
    (in this layer), so that config.json alone describes the model; where not said, it has the weight.
    over: the size that counts the parts of a stack. stored: the format that llama.cpp wants it in, of the one that is
    asked for; None: that one.
    """

    gguf: str
    hf: str
    shape: tuple[Size, ...]
    change: Change = UNCHANGED
    needed: bool = True
    bias: Literal["none", "optional", "needed"] = "none"
    others: tuple[Source, ...] = ()
    exact: bool = False
    layers: Layers | None = None
    there: Callable[[Config, int], bool] | None = None
    biased: Callable[[Config], bool] = where_stated
    over: str = "experts"
    stored: Callable[[str], str] | None = None

    def is_there(self, config: Config, layer: int) -> bool:
        """Whether a model of this config has it in this layer, as config.json alone tells."""
        return self.needed or self.there is None or self.there(config, layer)

    def has_bias(self, config: Config) -> bool:
        """Whether it comes with a bias, as config.json alone tells."""
        return self.bias == "needed" or (self.bias == "optional" and self.biased(config))

    @property
    def stacked(self) -> bool:
        """Whether it is a stack of matrices that lie alone in the source."""
        return self.hf.count("{}") > self.gguf.count("{}")

    def numbered(self, config: Config) -> Iterable[tuple[int, int]]:
        """The layers that have it, in GGUF's and in Hugging Face's count."""
        if self.layers is not None:
            return self.layers(config)
        return ((layer, layer) for layer in range(config.layers if "{}" in self.gguf else 1))


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
Keys = Key | Callable[[Config], tuple[Key, ...]]


@dataclass(frozen=True)
class Tokenizer:
    """How an architecture's vocabulary goes to GGUF, where the converter treats it in its own way.

    kind: "any" takes tokenizer.model before tokenizer.json; "wordpiece" is BERT's, "unigram" T5's, "fairseq" the same
    with other first tokens, "merged" a BPE with byte fallback that keeps its merges.
    space_prefix: a flag that the converter sets itself, "config" where it takes tokenizer_config.json's, "last" where
    it writes that last. json_tokens: added tokens of tokenizer.json count beside those of tokenizer.model.
    vocab_size: whether 32,016 and 49,152 tokens mean Code Llama and Granite.
    pre: another name for a pre-tokenizer, by which llama.cpp knows that of this architecture. tokens: special tokens by
    kind and text, for kinds that nothing else names; ids: by kind and number, behind the others. padded: how many
    tokens GGUF has, where that is not what config.json says. model: what GGUF calls such a tokenizer. flags: which of
    add_bos, add_eos and add_sep are set before all else, whatever the folder says. visible: special tokens that are
    shown; control: those that are not, whatever the folder says. ends: keys of config.json that say the end of a text
    before eos_token_id does.
    """

    kind: Literal["any", "wordpiece", "unigram", "fairseq", "merged"] = "any"
    space_prefix: bool | Literal["config", "last"] | None = None
    json_tokens: bool = False
    vocab_size: bool = False
    pre: Mapping[str, str] = field(default_factory=dict)
    tokens: tuple[tuple[str, str], ...] = ()
    ids: tuple[tuple[str, int], ...] = ()
    padded: Callable[[Config], int] | None = None
    model: str | None = None
    flags: tuple[str, ...] = ()
    visible: frozenset[str] = frozenset()
    control: frozenset[str] = frozenset()
    ends: tuple[str, ...] = ()


@dataclass(frozen=True)
class Assumed:
    """What llama.cpp takes for granted of an architecture: a value of config.json, and those it may have."""

    key: str
    allowed: tuple[object, ...]


@dataclass(frozen=True)
class Counted:
    """A number of parts that config.json says and that the names of tensors tell.

    pattern: finds a part's number in a name. stated: whether config.json's word is written down though no part is
    there; else what is there counts. In Config the number of parts that are there is "stored_" and the name, and what
    config.json says is "named_" and the name.
    """

    pattern: str
    stated: bool = True


@dataclass(frozen=True, eq=False)  # one value for each, told apart by identity
class Architecture:
    """A model architecture of transformers that GGUF has too.

    name: in GGUF. title: in messages. model_type, classes: as config.json says them. defaults: what transformers fills
    in where config.json is silent, by name of Config; a function of the values so far where it depends on those.
    settings: numbers of config.json that it has beside the common ones. sizes: of weights, beside the common ones.
    counted: numbers that the names of tensors tell, too.
    theta: the base frequency of rotary positions where config.json is silent; None for models without.
    weights: in the converter's order where tensors share a source. keys: in the converter's order; early ones stand
    before general.type. extra: tensors that are computed of the config. checks: warnings of what will differ.
    prefixes: what may stand before the names of tensors. ignored: starts of names that GGUF has no use for.
    nested: the object within config.json that describes the language model, where it is not the whole.
    tokenizer: how its vocabulary is read, see `tokenizer`.
    runs: how it is computed; None: it is converted and cannot be run here. encodes: how it makes embeddings, of models
    that make nothing else.
    global_every: where attention has a window, every so many-th layer sees all tokens all the same; None: no layer.
    window: the window where a GGUF file does not say it. config_window: whether only config.json says it, no key.
    folds: the kind of the tensor that makes the inputs of a kind of matrix, for scales that move from one into the
    other (AWQ, SmoothQuant); None: they cannot.
    variants: other names that GGUF has for models of some numbers, and for which. dropped: further starts of names that
    GGUF has no use for.
    sees: the half that sees pictures, which GGUF keeps in a file of its own. only: starts of the names that belong to
    such a half; all where not said. tokens: whose numbers it asks for, see `vision`.
    keeps: what llama.cpp keeps of a conversation where no key says it. rules: how llama-quantize chooses for it.
    generation: what people call a model of so many tokens, layers and feed-forward channels, where one name of GGUF
    stands for several; None: by the title.
    """

    name: str
    title: str
    model_type: str
    classes: tuple[str, ...]
    defaults: Mapping[str, object]
    weights: tuple[Weight, ...]
    keys: tuple[Keys, ...]
    settings: Mapping[str, Setting] = field(default_factory=dict)
    sizes: Callable[[Config], Mapping[str, int]] | None = None
    counted: Mapping[str, Counted] = field(default_factory=dict)
    theta: float | None = 10_000.0
    early: tuple[Keys, ...] = ()
    extra: Callable[[Config], Mapping[str, np.ndarray]] | None = None
    assumed: tuple[Assumed, ...] = ()
    checks: tuple[Callable[[Config], str | None], ...] = ()
    prefixes: tuple[str, ...] = ("model.", "")
    ignored: tuple[str, ...] = ()
    nested: str | None = None
    tokenizer: Tokenizer = Tokenizer()
    runs: Computation | None = None
    encodes: Encoding | None = None
    global_every: int | None = None
    window: int = 0
    config_window: bool = False
    folds: Mapping[str, str] | None = None
    variants: Mapping[str, Callable[[Config], bool]] = field(default_factory=dict)
    dropped: Callable[[Config], tuple[str, ...]] | None = None
    sees: Architecture | None = None
    only: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    keeps: Keeping = USUAL
    rules: Rules = AS_USUAL
    generation: Callable[[int, int, int], str | None] | None = None

    def name_of(self, config: Config) -> str:
        """What GGUF calls a model of these numbers."""
        return next((name for name, holds in self.variants.items() if holds(config)), self.name)

    @property
    def packs(self) -> bool:
        """Whether it is known what its packed tensors hold, so that they are kept as they are."""
        return any(source.packed for weight in self.weights for source in weight.others)

    @property
    def has_experts(self) -> bool:
        """Whether its feed-forward parts are mixtures of experts."""
        return any("_exps" in weight.gguf for weight in self.weights)

    def sizes_of(self, config: Config) -> Mapping[str, Any]:
        """The sizes by which its weights are declared."""
        return {**config.sizes, **(self.sizes(config) if self.sizes else {})}

    def shape_of(self, weight: Weight, config: Config, layer: int) -> tuple[int, ...]:
        """The shape of one of its weights in a layer."""
        sizes = self.sizes_of(config)
        return tuple(size(config, layer) if callable(size) else sizes[size] for size in weight.shape)
