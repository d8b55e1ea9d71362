"""Writing a Hugging Face folder: shards of safetensors, their index, config.json and what lies beside the weights.

The folder is written beside its final name and renamed when it is complete.
"""

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from quantlib.destinations import new_name, reason
from quantlib.errors import JobError

SHARD_BYTES = 1 << 30  # a shard is written when it has reached this size, which bounds the memory of an export
INDEX = "model.safetensors.index.json"
BESIDE = (
    "generation_config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja",
)  # fmt: skip


class ShardWriter:
    """Collects tensors and writes them shard by shard into a folder."""

    def __init__(self, folder: Path, shard_bytes: int = SHARD_BYTES):
        self.folder, self.shard_bytes = folder, shard_bytes
        self.nbytes = 0
        self._held: dict[str, np.ndarray] = {}
        self._held_bytes = 0
        self._shards: list[tuple[str, ...]] = []  # the names in each

    def add(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Take tensors of one module; they go to one shard."""
        self._held.update((name, np.ascontiguousarray(array)) for name, array in tensors.items())
        self._held_bytes += sum(array.nbytes for array in tensors.values())
        if self._held_bytes >= self.shard_bytes:
            self._write()

    def finish(self) -> None:
        """Write what is held, give the shards their final names, and the index where there are several."""
        if self._held or not self._shards:
            self._write()
        count = len(self._shards)
        if count == 1:
            os.replace(self._temporary(0), self.folder / "model.safetensors")
            return
        weight_map: dict[str, str] = {}
        for at, names in enumerate(self._shards):
            file = f"model-{at + 1:05d}-of-{count:05d}.safetensors"
            os.replace(self._temporary(at), self.folder / file)
            weight_map |= dict.fromkeys(names, file)
        document = {"metadata": {"total_size": self.nbytes}, "weight_map": dict(sorted(weight_map.items()))}
        (self.folder / INDEX).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")

    def _temporary(self, at: int) -> Path:
        return self.folder / f"shard-{at}"

    def _write(self) -> None:
        path = self._temporary(len(self._shards))
        save_file(self._held, path, metadata={"format": "pt"})
        path.chmod(self.folder.stat().st_mode & 0o666)  # the library lets nobody else read its files
        self._shards.append(tuple(self._held))
        self.nbytes += self._held_bytes
        self._held, self._held_bytes = {}, 0


def write_beside(source: Path, folder: Path, config: Mapping[str, object]) -> None:
    """config.json, and copies of the tokenizer's files and others that lie beside the source's weights."""
    (folder / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for name in BESIDE:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` that becomes `out` at the end, or nothing at all where something fails.

    Raises JobError where `out` is there already, or the disk does not take it.
    """
    new_name(out)
    partial, made = out.with_name(f".{secrets.token_hex(8)}.partial"), False
    try:
        partial.mkdir()
        made = True
        yield partial
        partial.rename(out)
    except OSError as error:
        raise JobError(f"{out} could not be written: {reason(error)}; nothing is left of it.") from error
    finally:
        if made:
            shutil.rmtree(partial, ignore_errors=True)
