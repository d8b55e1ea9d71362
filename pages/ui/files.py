"""Files of the app: a private folder, one sub-folder for each upload and each job, named by us and swept by age."""

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from quantlib.errors import CheckpointError

KEEP_SECONDS = 2 * 3600
SPARE_BYTES = 1 << 30  # left free on the disk whatever users do
CHECKPOINT_SUFFIXES = (".safetensors", ".gguf")
SIDE_FILES = {
    "config.json",
    "generation_config.json",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
}
PICKLES = (".bin", ".pt", ".pth", ".ckpt")


class Upload(Protocol):
    """What Streamlit's uploader hands over."""

    name: str
    size: int
    file_id: str

    def seek(self, offset: int) -> int: ...
    def read(self, size: int) -> bytes: ...


def root() -> Path:
    """The private folder of this server: of this user, of this process, readable by nobody else."""
    path = Path(tempfile.gettempdir()) / f"quantlib-app-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    path.mkdir(mode=0o700, exist_ok=True)
    if path.is_symlink() or (hasattr(os, "getuid") and path.stat().st_uid != os.getuid()):
        raise RuntimeError(f"{path} belongs to somebody else")
    return path


def new_folder() -> Path:
    """A fresh folder of our own naming."""
    return Path(tempfile.mkdtemp(dir=root()))


def sweep(keep_seconds: float = KEEP_SECONDS) -> None:
    """Remove folders that nobody has touched for that long."""
    for path in root().iterdir():
        newest = max((p.stat().st_mtime for p in [path, *path.rglob("*")] if p.exists()), default=0)
        if time.time() - newest > keep_seconds:
            shutil.rmtree(path, ignore_errors=True)


def store(uploads: Iterable[Upload]) -> Path:
    """Copy uploaded files to a fresh folder; returns what to open: the one checkpoint file, or the folder.

    Names are checked against what a checkpoint consists of and never used as paths beyond that.
    Raises CheckpointError where there is no checkpoint among them, or no room.
    """
    uploads = list(uploads)
    for upload in uploads:
        _check_name(upload.name)
    if len({u.name for u in uploads}) < len(uploads):
        raise CheckpointError("Two of these files have the same name; bring each file once.")
    checkpoints = [u.name for u in uploads if u.name.endswith(CHECKPOINT_SUFFIXES)]
    if not checkpoints:
        raise CheckpointError("There is no .safetensors or .gguf file among these; add the one that holds the weights.")
    sweep()
    needed = sum(u.size for u in uploads)
    free = shutil.disk_usage(root()).free - SPARE_BYTES
    if needed > free:
        raise CheckpointError(f"The server has no room for {needed:,} bytes now; try a smaller file, or later.")
    folder = new_folder()
    for upload in uploads:
        _copy(upload, folder / upload.name)
    return folder if len(uploads) > 1 and len(checkpoints) != 1 else folder / checkpoints[0]


def store_one(upload: Upload, name: str) -> Path:
    """Copy one uploaded file to a fresh folder under a name of ours."""
    path = new_folder() / name
    _copy(upload, path)
    return path


def _copy(upload: Upload, path: Path) -> None:
    upload.seek(0)
    with open(path, "xb") as target:
        shutil.copyfileobj(upload, target, 1 << 20)


def _check_name(name: str) -> None:
    if name.lower().endswith(PICKLES):
        raise CheckpointError(
            f"{name} is a pickle, and loading a pickle can run any code it holds, so it is not opened here; "
            "save the weights as safetensors and bring that file."
        )
    if name in SIDE_FILES:
        return
    if not (name.endswith(CHECKPOINT_SUFFIXES) and re.fullmatch(r"\w[\w.+-]{0,120}", name)):
        raise CheckpointError(
            f"{name!r} is not part of a checkpoint; bring .safetensors or .gguf files, and the config.json and "
            "tokenizer files that lie beside them, with names of letters, digits, dots and dashes."
        )
