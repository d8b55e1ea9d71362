"""Hugging Face folders: config.json, weights in one file or in shards, and the tokenizer's files.

Weights are in safetensors files; where there are none, in files of torch.save, of which no pickle is run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from quantlib.checkpoints.base import Checkpoint, MappedFile, StoredFile, Tensor, fault, shown
from quantlib.checkpoints.prequantized import decoded, with_scales_beside
from quantlib.checkpoints.recognizing import LOOKED_AT, TORCH, recognize, recognize_folder
from quantlib.checkpoints.safetensors_file import MAX_TENSORS, read_header
from quantlib.checkpoints.torch_file import read_torch
from quantlib.checkpoints.untrusted import plain_name, read_json, read_json_if_there

# How the files of a folder's weights end, the index that names them where they are several, and what they are called.
WEIGHTS = (
    (".safetensors", "model.safetensors.index.json", "model*.safetensors"),
    (".bin", "pytorch_model.bin.index.json", "pytorch_model*.bin"),
)
MAX_SHARDS = 4096
# Folders of the Diffusers library: a pipeline names its parts, a part's config.json names its class.
PIPELINE, DIFFUSERS_CLASS = "model_index.json", "_class_name"
COMPONENT = "diffusion_pytorch_model"
LOOSE = re.compile(r"(.+)-\d{5}-of-(\d{5})\.safetensors")


def open_folder(folder: Path) -> Checkpoint:
    """A Hugging Face folder as a checkpoint: kind "huggingface", config.json under the metadata's "config"."""
    if (folder / PIPELINE).is_file():
        return open_folder(_model_of_pipeline(folder))
    if (folder / "config.json").exists() and (part := _class_of_part(folder)) is not None:
        return open_component(folder, _shards_of_component(folder), part)
    if not (folder / "config.json").exists():
        if shards := loose_shards(folder):
            return open_component(folder, shards)
        if (what := recognize_folder(folder)) is not None:
            raise fault(folder, what)
        raise fault(folder, "has no config.json, so it is no Hugging Face model folder; name the file to open instead.")
    return checkpoint_of_shards(folder, _shards(folder))


def _model_of_pipeline(folder: Path) -> Path:
    """The part of a pipeline that makes images; the others are text encoders and image decoders."""
    for name in ("transformer", "unet"):
        if (folder / name / "config.json").is_file():
            return folder / name
    raise fault(
        folder,
        "is a pipeline of the Diffusers library without the folder 'transformer' or 'unet' of a model; name a "
        ".safetensors file in it to open that.",
    )


def _class_of_part(folder: Path) -> str | None:
    """The class of the Diffusers library that a folder's config.json names; None where it is of another kind."""
    stated = read_json(folder / "config.json").get(DIFFUSERS_CLASS)
    return stated if isinstance(stated, str) else None


def _shards_of_component(folder: Path) -> list[str]:
    """The files of a part of a pipeline, those of a variant (fp16, bf16) where there are no others."""
    indices = sorted(folder.glob(f"{COMPONENT}*.safetensors.index*.json"), key=lambda path: (len(path.name), path.name))
    if indices:
        listed = read_json(indices[0])
        return shards_of_index(indices[0], listed, lambda name: (folder / name).is_file()).names
    files = sorted(folder.glob(f"{COMPONENT}*.safetensors"), key=lambda path: (len(path.name), path.name))
    if not files:
        raise fault(
            folder, f"has no {COMPONENT}.safetensors and no index of shards; weights of other kinds are not read here."
        )
    return [files[0].name]


def loose_shards(folder: Path) -> list[str]:
    """Numbered shards of one model without config.json and index, as image models come; none where there are no such.

    Raises CheckpointError where one of them is not there.
    """
    found = {(m[1], int(m[2])) for path in folder.glob("*-of-*.safetensors") if (m := LOOSE.fullmatch(path.name))}
    if len(found) != 1:
        return []
    stem, count = found.pop()
    if not 0 < count <= MAX_SHARDS:
        return []
    names = [f"{stem}-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)]
    missing = next((name for name in names if not (folder / name).is_file()), None)
    if missing is not None:
        raise fault(folder, f"has shards of a model and lacks one of them, {shown(missing)}.")
    return names


def open_component(
    source: Path,
    names: list[str],
    part: str | None = None,
    open_file: Callable[[Path], StoredFile] = MappedFile,
    folder: Path | None = None,
) -> Checkpoint:
    """Files of weights with their tensors under the names that they have: kind "safetensors".

    part: the class of the Diffusers library, of a part of a pipeline. folder: where the files are; that of the source.
    """
    folder = folder or (source if source.is_dir() else source.parent)
    files, tensors = tensors_of_shards(folder, names, open_file)
    try:
        whole = with_scales_beside(source, tensors)
    except BaseException:
        for file in files:
            file.close()
        raise
    metadata = {DIFFUSERS_CLASS: part} if part else {}
    metadata |= {"undecoded": whole.refused} if whole.refused else {}
    return Checkpoint(source, "safetensors", metadata, None, whole.tensors, whole.warnings, tuple(files))


def open_with_config(path: Path) -> Checkpoint:
    """A file of weights beside a config.json: its folder as a checkpoint, restricted to this file."""
    if (part := _class_of_part(path.parent)) is not None:
        return open_component(path, [path.name], part)
    return checkpoint_of_shards(path.parent, Shards([path.name]), source=path)


class Shards(NamedTuple):
    """The names of a folder's files of weights, sorted; of an index, its path and which file holds which tensor."""

    names: list[str]
    weight_map: dict[str, str] | None = None
    listing: Path | None = None


def checkpoint_of_shards(
    folder: Path,
    shards: Shards,
    open_file: Callable[[Path], StoredFile] = MappedFile,
    source: Path | None = None,
) -> Checkpoint:
    """The checkpoint of a folder's config.json and its files of weights, which open_file opens by their paths."""
    config = read_json(folder / "config.json")
    files, tensors = tensors_of_shards(folder, shards.names, open_file)
    try:
        if shards.weight_map is not None and shards.listing is not None:
            _check_weight_map(shards.listing, shards.weight_map, tensors)
        whole = decoded(folder / "config.json", config, tensors)
    except BaseException:
        for file in files:
            file.close()
        raise
    architectures = config.get("architectures")
    first = architectures[0] if isinstance(architectures, list) and architectures else config.get("model_type")
    architecture = first if isinstance(first, str) else None
    return Checkpoint(
        source or folder,
        "huggingface",
        {"config": config} | ({"undecoded": whole.refused} if whole.refused else {}),
        architecture,
        whole.tensors,
        whole.warnings,
        tuple(files),
    )


def tensors_of_shards(
    folder: Path, names: list[str], open_file: Callable[[Path], StoredFile] = MappedFile
) -> tuple[list[StoredFile], dict[str, Tensor]]:
    """The opened files of these names, and their tensors; no name may come twice."""
    files: list[StoredFile] = []
    tensors: dict[str, Tensor] = {}
    try:
        for name in names:
            files.append(open_file(folder / name))
            found = _read_any(files[-1], MAX_TENSORS - len(tensors))
            files[-1].unmap()
            for key, tensor in found.items():
                if key in tensors:
                    raise fault(
                        folder / name, f"holds the tensor {shown(key)}, which {shown(tensors[key].file)} has too."
                    )
                tensors[key] = tensor
    except BaseException:
        for file in files:
            file.close()
        raise
    return files, tensors


def _read_any(file: StoredFile, most: int) -> dict[str, Tensor]:
    """The tensors of a file of safetensors or of torch.save, which its first bytes tell apart."""
    if file.path.name.endswith(".safetensors") and file.known < file.size:
        return read_header(file, most)[0]  # on the hub, where only files of that name are asked for
    found = recognize(file.bytes(0, LOOKED_AT).tobytes(), file.size, file.path.name)
    if found.kind == TORCH:
        return read_torch(file, most)[0]
    if found.kind == "pickle":
        raise fault(file.path, found.words)
    return read_header(file, most)[0]


def _shards(folder: Path) -> Shards:
    """The files of weights of a folder: of an index, or all of the usual names, or the only one there is."""
    for ending, index, usual in WEIGHTS:
        if (listed := read_json_if_there(folder / index)) is not None:
            return shards_of_index(folder / index, listed, lambda name: (folder / name).is_file(), ending)
        if names := sorted(path.name for path in folder.glob(usual)):
            return Shards(names)
        others = sorted(path.name for path in folder.glob(f"*{ending}"))
        if ending == ".safetensors" and others:
            if len(others) == 1:
                return Shards(others)  # whatever it is called, there is no other
            raise fault(
                folder,
                "has no model.safetensors and no index of shards; name one of its files to open it: "
                f"{', '.join(map(shown, others[:4]))}.",
            )
    raise fault(folder, "has no model.safetensors, no pytorch_model.bin and no index of shards.")


def shards_of_index(
    path: Path, index: Mapping[str, object], is_there: Callable[[str], bool], ending: str = ".safetensors"
) -> Shards:
    """The shards that an index names, sorted, and its weight map; each must be there and end so."""
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise fault(path, "has no 'weight_map' object that says which file holds which tensor.")
    names = set()
    for tensor, name in weight_map.items():
        if not plain_name(name, ending):
            raise fault(path, f"places {shown(tensor)} in {shown(name)}, which is no plain {ending} file name.")
        names.add(name)
        if len(names) > MAX_SHARDS:
            raise fault(path, f"names more than {MAX_SHARDS:,} shards.")
    for name in sorted(names):
        if not is_there(name):
            raise fault(path, f"names the shard {shown(name)}, which is not in the folder.")
    return Shards(sorted(names), weight_map, path)


def _check_weight_map(path: Path, weight_map: dict[str, str], tensors: dict[str, Tensor]) -> None:
    for name, file in weight_map.items():
        if name not in tensors:
            raise fault(path, f"places {shown(name)} in {shown(file)}, which does not hold it.")
        if tensors[name].file != file:
            raise fault(path, f"places {shown(name)} in {shown(file)}, but {shown(tensors[name].file)} holds it.")
    for name, tensor in tensors.items():
        if name not in weight_map:
            raise fault(path, f"does not mention {shown(name)}, which {shown(tensor.file)} holds.")
