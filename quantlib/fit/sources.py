"""What a person names as something to be fitted: a known model, a size, a config.json, a checkpoint."""

import re
from dataclasses import dataclass, replace
from math import log
from pathlib import Path

from quantlib.checkpoints import Checkpoint, gguf_view, open_checkpoint
from quantlib.checkpoints.base import shown
from quantlib.checkpoints.hub import PREFIX, Address, Terms
from quantlib.checkpoints.hub_opening import open_hub
from quantlib.checkpoints.untrusted import parse_json, read_json
from quantlib.errors import CheckpointError
from quantlib.fit.catalogue import KNOWN, Model
from quantlib.fit.described import CONFIG, described, original_of
from quantlib.fit.repository import Stored, files_at

TERMS = Terms()
CLOSE = 1.06  # a size within 6% of a known model's is taken as that model's: "14B" are 14.8
UNITS = {"M": 1e6, "B": 1e9, "T": 1e12}
SIZES = (1e7, 2e12)
# Dense models of today, with key-value heads that several heads share: whose shape a bare size is taken to have.
MODERN = (
    "SmolLM2-135M", "SmolLM2-360M", "Qwen2.5-0.5B", "Llama-3.2-1B", "Qwen2.5-1.5B", "Llama-3.2-3B", "Qwen3-4B",
    "Mistral-7B-v0.3", "Llama-3.1-8B", "GLM-4-9B", "Mistral-Nemo-12B", "Qwen3-14B", "Mistral-Small-3.2-24B",
    "Qwen3-32B", "Llama-3.3-70B", "Mistral-Large-123B", "Llama-3.1-405B",
)  # fmt: skip
MIXED = ("Qwen3-30B-A3B", "Qwen3-Next-80B-A3B", "GLM-4.5-Air", "gpt-oss-120b", "Qwen3-235B-A22B", "DeepSeek-V3")


@dataclass(frozen=True)
class Subject:
    """A model to be fitted: the checkpoint, and the same as GGUF.

    assumed: whose shape was taken, in words, where only a size was given. model: the entry of the catalogue, if it is
    one. origin: how the command is told of it. files: what a repository of several GGUF files offers.
    """

    name: str
    checkpoint: Checkpoint
    view: Checkpoint
    assumed: str = ""
    model: Model | None = None
    origin: str = ""
    files: tuple[Stored, ...] = ()

    @property
    def parameters(self) -> int:
        return self.view.size

    @property
    def trained(self) -> int:
        """Tokens of context that it was trained for; 0 where it does not say."""
        return trained_for(self.view)


def trained_for(view: Checkpoint) -> int:
    """Tokens of context that a model was trained for; 0 where it does not say."""
    value = view.value(f"{view.architecture}.context_length", 0)
    return value if isinstance(value, int) else 0


def subject(source: str | Path) -> Subject:
    """A known model's name in any spelling, a size such as 8B or 30B-A3B, the text or the path of a config.json, or a
    checkpoint's path or address.

    Raises CheckpointError where the source is none of these, or cannot be opened.
    """
    text = str(source).strip()
    path = Path(text) if len(text) < 1024 and "\0" not in text else Path()
    if path.exists():
        found = None
    elif (found := _of_text(text)) is not None:
        return found
    if path.suffix == ".json" and path.is_file():
        return _of_shape(described(_object(path), path.parent.name or path.name), text)
    if text.startswith(PREFIX) and not Address.parse(text).file:
        return of_repository(text)
    checkpoint = open_checkpoint(source)
    view = gguf_view(checkpoint)
    known = KNOWN.find(checkpoint.origin or "") if checkpoint.origin else None
    return Subject(checkpoint.source.name, checkpoint, view, model=known, origin=text)


def of_repository(text: str, terms: Terms = TERMS) -> Subject:
    """A repository of the hub, whose GGUF files are listed with their sizes; a known one too where the hub is away.

    Raises CheckpointError for what is no address, and as the hub does.
    """
    address = Address.parse(text)
    known = KNOWN.find(address.repository)
    try:
        files = files_at(text, terms)
    except CheckpointError:  # the hub is out of reach, or has no such repository
        if known is None:
            raise
        return _of_shape(known.checkpoint(), text, model=known)
    if len(files) > 1 and known is not None:
        return replace(_of_shape(known.checkpoint(), str(address), model=known), files=files)
    if len(files) > 1:
        # It stays open: its vocabulary is read from the header when the sizes of files are reckoned.
        original = original_of(gguf_view(open_hub(f"{address}/{files[-1].name}", terms)))
        return Subject(address.repository.partition("/")[2], original, original, origin=str(address), files=files)
    checkpoint = open_hub(text, terms)
    return Subject(checkpoint.source.name, checkpoint, gguf_view(checkpoint), model=known, origin=text)


def opened(checkpoint: Checkpoint) -> Subject:
    """A checkpoint that is open already."""
    source = str(checkpoint.origin or checkpoint.source)
    return Subject(Path(source).name, checkpoint, gguf_view(checkpoint), origin=source)


def named_subject(text: str) -> Subject:
    """As `subject`, but nothing that would have to be opened: for text that a visitor types.

    Raises CheckpointError for anything else.
    """
    found = _of_text(text.strip())
    if found is None:
        raise CheckpointError(
            f"{shown(text.strip())} is no size: write one such as 8B, 13.5B, 30B-A3B or 500M, or paste a config.json."
        )
    return found


def _object(path: Path) -> dict[str, object]:
    values = read_json(path)
    if not isinstance(values, dict):
        raise CheckpointError(f"{shown(path.name)} holds no JSON object, so it is no config.json.")
    return values


def _of_text(text: str) -> Subject | None:
    if text.startswith("{"):
        values = parse_json(CONFIG, text.encode(errors="replace"))
        return _of_shape(described(values if isinstance(values, dict) else {}, "the pasted config.json"), text)
    if len(text) > 100:
        return None
    size = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)\s*([MBT])(?:-?A([0-9.]{1,6})B)?", text, re.IGNORECASE)
    if size and size[3]:
        return _of_mixture(float(size[1]) * UNITS[size[2].upper()], float(size[3].strip(".") or 0) * 1e9, text)
    if size:
        return _of_size(float(size[1]) * UNITS[size[2].upper()], text)
    known = KNOWN.find(text) if re.search(r"[A-Za-z]", text) and not text.startswith("hf://") else None
    return _of_shape(known.checkpoint(), known.name, model=known) if known else None


def _of_shape(checkpoint: Checkpoint, origin: str, assumed: str = "", model: Model | None = None) -> Subject:
    return Subject(checkpoint.source.name, checkpoint, checkpoint, assumed, model, origin)


def _of_size(parameters: float, text: str) -> Subject:
    """The nearest modern shape, with more or fewer layers where it is not near."""
    if not SIZES[0] <= parameters <= SIZES[1]:
        raise CheckpointError(f"{text} is no size of a language model; sizes from 10M to 2T are read.")
    near = min((KNOWN[name] for name in MODERN), key=lambda model: abs(log(model.parameters / parameters)))
    layers = _stated(near, "num_hidden_layers")
    if 1 / CLOSE <= near.parameters / parameters <= CLOSE:
        return _assumed(near.checkpoint(), near, "", text)
    each = (near.parameters - _without_layers(near)) / layers
    adapted = max(1, round((parameters - _without_layers(near)) / each))
    config = {**near.config, "num_hidden_layers": adapted}
    return _assumed(described(config, text), near, f" with {adapted:,} layers instead of {layers}", text)


def _without_layers(model: Model) -> int:
    one = described({**model.config, "num_hidden_layers": 1}, "").size
    two = described({**model.config, "num_hidden_layers": 2}, "").size
    return 2 * one - two


def _of_mixture(parameters: float, active: float, text: str) -> Subject:
    """The nearest mixture of experts, by all its weights and by those of a token, with more or fewer experts."""
    if not SIZES[0] <= parameters <= SIZES[1] or not 0 < active < parameters:
        raise CheckpointError(f"{text} is no size of a mixture of experts; write one such as 30B-A3B.")
    near = min(
        (KNOWN[name] for name in MIXED),
        key=lambda model: abs(log(model.parameters / parameters)) + abs(log((model.active or 1) / active)),
    )
    if 1 / CLOSE <= near.parameters / parameters <= CLOSE:
        return _assumed(near.checkpoint(), near, "", text)
    key = next(k for k in ("num_experts", "n_routed_experts", "num_local_experts", "") if k in near.config or not k)
    experts = _stated(near, key, 128)
    adapted = max(1, round(experts * parameters / near.parameters))
    config = {**near.config, key or "num_experts": min(adapted, 4096)}
    return _assumed(described(config, text), near, f" with {adapted:,} experts instead of {experts}", text)


def _stated(model: Model, key: str, default: int = 1) -> int:
    """A count of a known model's config."""
    value = model.config.get(key)
    return value if isinstance(value, int) else default


def _assumed(checkpoint: Checkpoint, near: Model, changed: str, text: str) -> Subject:
    heads, shared = (_stated(near, key) for key in ("num_attention_heads", "num_key_value_heads"))
    said = (
        f"the shape of {near.name}{changed}, {checkpoint.size:,} weights; {heads} heads share {shared} key-value heads"
    )
    return replace(_of_shape(checkpoint, text, said, near), name=text)
