"""One door for every kind of checkpoint: what a path holds is decided by its first bytes, not by its name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from quantlib.checkpoints.base import Checkpoint, MappedFile, fault
from quantlib.checkpoints.gguf_file import open_gguf
from quantlib.checkpoints.prequantized import with_scales_beside
from quantlib.checkpoints.prequantized.beside import NOTES
from quantlib.checkpoints.recognizing import (
    ARCHIVE,
    GGUF,
    LOOKED_AT,
    NUMPY,
    ONNX,
    SAFETENSORS,
    TORCH,
    hub_address,
    recognize,
)
from quantlib.checkpoints.safetensors_file import open_safetensors
from quantlib.errors import CheckpointError


def open_checkpoint(source: str | Path) -> Checkpoint:
    """A checkpoint: a file of safetensors, GGUF, PyTorch, NumPy or ONNX, a Hugging Face folder, or a name of the hub.

    A folder may be sharded, a GGUF file split; names are hf://owner/name[@revision][/file.gguf].

    A name owner/name, or the address of a model's page, is one of the hub where no such path exists.

    It is opened lazily: only headers are read, also from the hub.

    Raises CheckpointError, in one sentence, for anything else and for every file that does not hold what it claims.
    """
    # What reads folders and the hub is loaded when there is one: it is a fifth of what `import quantlib` would take.
    text = str(source)
    if text.startswith("hf://"):
        return _open_hub(text)
    path = Path(source)
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, ValueError):
        raise CheckpointError("This is not a valid path of a file or folder.") from None
    if not exists:
        if isinstance(source, str) and not path.parent.is_dir() and (address := hub_address(text)) is not None:
            return _open_hub(address)
        raise fault(path, "is not there: give the path of a file that holds tensors, or of a model folder.")
    if is_folder:
        from quantlib.checkpoints.huggingface import open_folder

        return open_folder(path)
    found = recognize(*_start_of(path), path.name)
    if found.kind == GGUF:
        return open_gguf(path)
    if found.kind in (NUMPY, ARCHIVE, ONNX):
        return _open_arrays(path, found.kind)
    if found.kind not in (SAFETENSORS, TORCH):
        raise fault(path, found.words)
    if (path.parent / "config.json").is_file():
        from quantlib.checkpoints.huggingface import open_with_config

        return open_with_config(path)
    if found.kind == TORCH:
        from quantlib.checkpoints.torch_file import open_torch

        return open_torch(path)
    return _with_scales(open_safetensors(path))


def _open_arrays(path: Path, kind: str) -> Checkpoint:
    """A file of arrays that belongs to no model folder."""
    if kind == ONNX:
        from quantlib.checkpoints.onnx_file import open_onnx

        return open_onnx(path)
    from quantlib.checkpoints.numpy_file import open_npy, open_npz

    return open_npy(path) if kind == NUMPY else open_npz(path)


def _with_scales(checkpoint: Checkpoint) -> Checkpoint:
    """A file without a config.json, with the scales that lie beside 8-bit weights applied."""
    try:
        whole = with_scales_beside(checkpoint.source, checkpoint.tensors, checkpoint.metadata.get(NOTES))
    except CheckpointError:
        checkpoint.close()
        raise
    undecoded = {"undecoded": whole.refused} if whole.refused else {}
    metadata = {**checkpoint.metadata, **undecoded}
    return replace(checkpoint, metadata=metadata, tensors=whole.tensors, warnings=checkpoint.warnings + whole.warnings)


def _open_hub(address: str) -> Checkpoint:
    from quantlib.checkpoints.hub_opening import open_hub

    return open_hub(address)


def _start_of(path: Path) -> tuple[bytes, int]:
    """The bytes that tell what a file is, and its length."""
    file = MappedFile(path)
    try:
        return file.bytes(0, LOOKED_AT).tobytes(), file.size
    finally:
        file.close()
