"""Opening hf:// addresses: a model's small files go to the cache, of the large ones only their headers are read."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from quantlib.checkpoints.base import Checkpoint, StoredFile, fault, shown
from quantlib.checkpoints.gguf_file import HeaderContinues, checkpoint_of_parts, open_parts
from quantlib.checkpoints.hub import SMALL, Address, Repository, Terms
from quantlib.checkpoints.hub_file import HubFile
from quantlib.checkpoints.huggingface import (
    LOOSE,
    PIPELINE,
    WEIGHTS,
    Shards,
    checkpoint_of_shards,
    open_component,
    shards_of_index,
)
from quantlib.checkpoints.safetensors_file import header_length
from quantlib.checkpoints.untrusted import plain_name, read_json_if_there
from quantlib.errors import CheckpointError

INDEX = WEIGHTS[0][1]
PARTS = ("transformer/", "unet/")  # of a pipeline, what makes images

# What converting and running a model needs beside its weights.
BESIDE = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model",
    "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "vocab.txt", "chat_template.jinja",
    "chat_template.json", "README.md", INDEX,
)  # fmt: skip
START = 2**20  # bytes of a GGUF file that are fetched first; its header follows no length field


def open_hub(source: str, terms: Terms = Terms()) -> Checkpoint:  # noqa: B008, it is frozen
    """The checkpoint at an hf:// address. Raises CheckpointError, in one sentence, where there is none."""
    address = Address.parse(source)
    repository = Repository(address, terms)
    if address.file and address.file.endswith(".safetensors"):
        return replace(_open_image_model(repository, [address.file]), origin=str(address))
    name = _gguf_name(repository)
    found = _open_gguf(repository, name) if name else _open_safetensors(repository)
    return replace(found, origin=str(address))


def _gguf_name(repository: Repository) -> str | None:
    """The GGUF file that is meant, if it is one: named in the address, or the only one there."""
    address = repository.address
    if address.file:
        if address.file not in repository.sizes:
            raise CheckpointError(f"{address} lists no file {shown(address.file)}.")
        return address.file
    names = [name for name in repository.sizes if name.endswith(".gguf")]
    first = [name for name in names if "-of-" not in name or "-00001-of-" in name]
    if not names or ("config.json" in repository.sizes and any(map(_is_weights, repository.sizes))):
        return None
    if len(first) != 1:
        some = ", ".join(shown(name) for name in sorted(first)[:8])
        raise CheckpointError(f"{address} holds {len(first)} GGUF files; add one of them to the address: {some}.")
    return first[0]


def _is_weights(name: str) -> bool:
    return fnmatchcase(name, "model*.safetensors")


def _open_gguf(repository: Repository, name: str) -> Checkpoint:
    """A GGUF file, read from its start on until its header is whole."""
    path = Path(name)

    def file(part: Path) -> HubFile:
        if str(part) not in repository.sizes:
            raise fault(path, f"is one part of a split file, and the part {shown(part.name)} is not listed.")
        opened = HubFile(repository, str(part))
        opened.know(START)
        return opened

    return checkpoint_of_parts(path, *open_parts(path, file, _further))


def _further(file: StoredFile, error: HeaderContinues) -> None:
    if isinstance(file, HubFile):
        file.know(max(4 * file.known, error.needed))


def _image_files(repository: Repository) -> list[str]:
    """The weights of an image model: of a pipeline's transformer or UNet, else the only file of weights there is.

    Raises CheckpointError where there is none, or where it is not clear which is meant.
    """
    address, sizes = repository.address, repository.sizes
    parts = [name for name in sizes if name.startswith(PARTS) and name.endswith(".safetensors")]
    if PIPELINE in sizes and parts:
        first = next(part for part in PARTS if any(name.startswith(part) for name in parts))
        named = sorted((name for name in parts if name.startswith(first)), key=lambda name: (len(name), name))
        return [name for name in named if LOOSE.fullmatch(name)] or named[:1]
    weights = sorted(name for name in sizes if name.endswith(".safetensors") and "/" not in name)
    if len(weights) == 1 or (weights and all(LOOSE.fullmatch(name) for name in weights)):
        return weights
    if weights:
        some = ", ".join(map(shown, weights[:8]))
        raise CheckpointError(
            f"{address} holds {len(weights)} files of weights; add one of them to the address: {some}."
        )
    raise CheckpointError(f"{address} has neither a config.json nor a single GGUF file, so there is no model to open.")


def _open_image_model(repository: Repository, names: list[str]) -> Checkpoint:
    """Files of weights that need no config.json, of which the headers are read."""
    for name in names:
        if name not in repository.sizes:
            raise CheckpointError(f"{repository.address} lists no file {shown(name)}.")
    source = Path(names[0] if len(names) == 1 else repository.address.repository.partition("/")[2])
    return open_component(source, names, None, lambda path: _headed(repository, path.as_posix()), folder=Path())


def _headed(repository: Repository, name: str) -> HubFile:
    """A file of safetensors whose header is known."""
    opened = HubFile(repository, name)
    opened.know(8)
    opened.know(8 + header_length(opened))
    return opened


def _open_safetensors(repository: Repository) -> Checkpoint:
    address, sizes = repository.address, repository.sizes
    if "config.json" not in sizes:
        return _open_image_model(repository, _image_files(repository))
    folder = repository.download("config.json").parent
    for name in BESIDE:
        if sizes.get(name, SMALL + 1) <= SMALL:
            repository.download(name)
    index = read_json_if_there(folder / INDEX)
    if index is None:
        shards = Shards(sorted(name for name in sizes if _is_weights(name) and plain_name(name, ".safetensors")))
    else:
        shards = shards_of_index(folder / INDEX, index, lambda name: name in sizes)
    if not shards.names:
        pickles = [name for name in sizes if name.endswith((".bin", ".pt", ".pth"))]
        why = f"only {shown(min(pickles))}, which is not read from afar; download and open it" if pickles else "none"
        raise CheckpointError(f"{address} should have its weights in safetensors files, and has {why}.")

    return checkpoint_of_shards(folder, shards, lambda path: _headed(repository, path.name))
