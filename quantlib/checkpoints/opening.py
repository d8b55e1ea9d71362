"""One door for every kind of checkpoint: what a path holds is decided by its first bytes, not by its name."""

from __future__ import annotations

from pathlib import Path

from quantlib.checkpoints.base import Checkpoint, MappedFile, fault
from quantlib.checkpoints.gguf_file import open_gguf
from quantlib.checkpoints.safetensors_file import open_safetensors
from quantlib.errors import CheckpointError

PICKLE_NAMES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
# What torch.save writes: a zip archive, a bare pickle of protocol 2 to 5, or an old tar archive.
PICKLE_MAGIC = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def open_checkpoint(source: str | Path) -> Checkpoint:
    """A safetensors file, a Hugging Face folder (sharded or not), a GGUF file or hf://owner/name[@revision][/file.gguf].

    It is opened lazily: only headers are read, also from the hub.

    Raises CheckpointError, in one sentence, for anything else and for every file that does not hold what it claims.
    """
    # What reads folders and the hub is loaded when there is one: it is a fifth of what `import quantlib` would take.
    if str(source).startswith("hf://"):
        from quantlib.checkpoints.hub_opening import open_hub

        return open_hub(str(source))
    path = Path(source)
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, ValueError):
        raise CheckpointError("The path of the checkpoint is none that a file can have.") from None
    if not exists:
        raise fault(path, "is not there: give the path of a safetensors or GGUF file, or of a model folder.")
    if is_folder:
        from quantlib.checkpoints.huggingface import open_folder

        return open_folder(path)
    start = _first_bytes(path)
    if start.startswith(b"GGUF"):
        return open_gguf(path)
    # A safetensors length of 640 starts with the bytes of a pickle, but its upper half is zero, which no pickle has.
    if path.suffix.lower() in PICKLE_NAMES or (start.startswith(PICKLE_MAGIC) and any(start[4:])):
        raise fault(
            path,
            "is a pickle (or named like one), and loading a pickle can run any code in it; "
            "save the model as safetensors and open that.",
        )
    if path.suffix.lower() == ".gguf":
        return open_gguf(path)  # says what is missing
    if (path.parent / "config.json").is_file():
        from quantlib.checkpoints.huggingface import open_with_config

        return open_with_config(path)
    return open_safetensors(path)


def _first_bytes(path: Path) -> bytes:
    file = MappedFile(path)
    try:
        return file.bytes(0, 8).tobytes()
    finally:
        file.close()
