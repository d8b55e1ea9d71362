"""What a checkpoint is, from its headers alone: the facts that a person asks for first, and the sentences for them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from quantlib.amounts import count
from quantlib.checkpoints import Checkpoint, MetadataValue, gguf_view
from quantlib.checkpoints.image_models import image_family
from quantlib.errors import QuantlibError
from quantlib.inspection.mixture import Match, nearest_recipe
from quantlib.recipes import RECIPES

GUESSED = 1024  # llama.cpp adds it to a file type that the file itself did not name
FEW = 3  # names that a sentence lists
LEAST_SHARE = 0.005  # of the weights that a format must have to be listed


@dataclass(frozen=True)
class Share:
    """A format of a checkpoint: how many weights it stores in how many bytes."""

    format: str
    weights: int
    nbytes: int

    @property
    def bpw(self) -> float:
        """Bits per weight, scales counted."""
        return 8 * self.nbytes / max(1, self.weights)


@dataclass(frozen=True)
class Description:
    """A checkpoint in a few facts; None where it does not say.

    kind: "gguf", "huggingface" or "safetensors". layers, context: how many, and of how many tokens. named: the recipe
    that the header names, or the method of a config.json; found: the one that the tensors are of. imatrix: the name of
    the importance matrix that the rounding heeded. formats: the largest share first.
    """

    kind: str
    architecture: str | None
    family: str | None
    name: str | None
    weights: int
    nbytes: int
    tensors: int
    layers: int | None
    context: int | None
    vocabulary: int | None
    licence: str | None
    chat_template: bool
    named: str | None
    found: Match | None
    imatrix: str | None
    formats: tuple[Share, ...]

    @property
    def bpw(self) -> float | None:
        return 8 * self.nbytes / self.weights if self.weights else None

    @property
    def quantized(self) -> bool:
        """Whether its tensors have the mixture of some recipe."""
        return self.found is not None


def describe(checkpoint: Checkpoint) -> Description:
    """The facts of a checkpoint; reads headers only. What its files do not say, or say wrongly, is None."""
    view = _view(checkpoint)
    family = image_family(checkpoint)
    about = _Keys(view.metadata, view.architecture)
    named = _named(view, checkpoint)
    return Description(
        kind=checkpoint.kind,
        architecture=family.name if family else view.architecture,
        family=family.title if family else None,
        name=about.text("general.name"),
        weights=checkpoint.size,
        nbytes=checkpoint.nbytes,
        tensors=len(checkpoint.tensors),
        layers=about.own("block_count"),
        context=about.own("context_length"),
        vocabulary=_vocabulary(about),
        licence=about.text("general.license"),
        chat_template=about.text("tokenizer.chat_template") is not None,
        named=named,
        found=nearest_recipe(view, named),
        imatrix=about.text("quantize.imatrix.file"),
        formats=shares(checkpoint),
    )


def shares(checkpoint: Checkpoint) -> tuple[Share, ...]:
    """Its formats, the one of most weights first."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for tensor in checkpoint:
        sums[tensor.format][0] += tensor.size
        sums[tensor.format][1] += tensor.nbytes
    return tuple(sorted((Share(name, *both) for name, both in sums.items()), key=lambda s: -s.weights))


def headline(found: Description) -> str:
    """What it is, in one line: architecture, weights, layers, context, vocabulary."""
    parts = [found.family or found.architecture or "architecture not stated", f"{count(found.weights)} weights"]
    parts += [f"{found.layers:,} layers"] if found.layers else []
    parts += [f"reads {found.context:,} tokens"] if found.context else []
    parts += [f"vocabulary of {found.vocabulary:,}"] if found.vocabulary else []
    return " · ".join(parts)


def recipe_words(found: Description) -> str:
    """The recipe as named and as found: whether the file is what its header says."""
    named = f"Its header says {found.named}" if found.named else "Its header names no recipe"
    match = found.found
    if match is None:
        stored = found.formats[0].format if found.formats else "nothing"
        return f"{named}. No matrix is in a block format; most weights are {stored}."
    if match.exact:
        also = f" ({_listed(match.also)} would be the same here)" if match.also else ""
        same = found.named == match.recipe
        agree = "and the tensors agree" if same else f"and the tensors are those of {match.recipe}"
        return f"{named}, {agree}: every matrix has the format that the recipe gives it{also}."
    count = len(match.differing)
    return (
        f"{named}. The nearest mixture is {match.recipe}, which fits {match.share:.0%} of the weights; "
        f"{count:,} {'matrices differ' if count > 1 else 'matrix differs'}: {_listed(match.differing)}."
    )


def bits_words(found: Description) -> str:
    """Why it has so many bits per weight: which formats store how much of it, and which rows force larger ones."""
    if found.bpw is None:
        return "It stores no weights."
    listed = [s for s in found.formats if s.weights >= LEAST_SHARE * found.weights]
    parts = ", ".join(f"{s.format} ({s.bpw:.4g} bits) for {s.weights / found.weights:.0%}" for s in listed)
    odd = len(found.found.stand_ins) if found.found else 0
    if not odd:
        return f"{parts} of the weights."
    rows = f"{odd:,} matrices have rows" if odd > 1 else "One matrix has rows"
    return f"{parts} of the weights. {rows} that do not divide into the recipe's blocks, so other formats stand in."


class _Keys:
    """Metadata of a stranger's file: a value of the kind that is asked for, or None."""

    def __init__(self, metadata: Mapping[str, Any], architecture: str | None):
        self.metadata, self.architecture = metadata, architecture

    def value(self, key: str) -> Any:
        found = self.metadata.get(key)
        return found.value if isinstance(found, MetadataValue) else found

    def text(self, key: str) -> str | None:
        found = self.value(key)
        return found if isinstance(found, str) and found else None

    def own(self, key: str) -> int | None:
        """A count under the architecture's own prefix, or of a config.json."""
        found = self.value(f"{self.architecture}.{key}")
        if found is None:
            config = self.value("config")
            found = config.get(CONFIG_KEYS.get(key, "")) if isinstance(config, Mapping) else None
        return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else None


CONFIG_KEYS = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "vocab_size": "vocab_size",
}


def _view(checkpoint: Checkpoint) -> Checkpoint:
    """As GGUF stores it where that is known; else as it is."""
    try:
        return gguf_view(checkpoint)
    except QuantlibError:
        return checkpoint


def _vocabulary(about: _Keys) -> int | None:
    tokens = about.value("tokenizer.ggml.tokens")
    return len(tokens) if hasattr(tokens, "__len__") else about.own("vocab_size")


def _named(view: Checkpoint, checkpoint: Checkpoint) -> str | None:
    """The recipe of general.file_type, or the method that a config.json says it was quantized by."""
    number = view.value("general.file_type") if checkpoint.kind == "gguf" else None
    if isinstance(number, int) and not isinstance(number, bool):
        known = {recipe.file_type: recipe.name for recipe in reversed(RECIPES.values())}
        return known.get(number % GUESSED, f"file type {number}")
    config = checkpoint.value("config")
    stated = config.get("quantization_config") if isinstance(config, Mapping) else None
    method = stated.get("quant_method") if isinstance(stated, Mapping) else None
    return method if isinstance(method, str) else None


def _listed(names: Iterable[str]) -> str:
    names = tuple(names)
    rest = len(names) - FEW
    return ", ".join(names[:FEW]) + (f" and {rest:,} more" if rest > 0 else "")
