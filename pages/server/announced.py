"""Which files an upload may consist of: the names and folders that a browser announces, and those that we store.

What a file holds is told by its content once it has come. Its name decides only whether it may be part of a checkpoint,
and never where it lies: every part of a path is checked, and written as a name that a file can have everywhere.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from quantlib.destinations import portable
from quantlib.errors import CheckpointError

MOST_FILES = 512
DEEPEST = 4  # parts of a path: the model's folder, folders in it, the file
UNNAMED = "model"  # the folder of files that came without one
LONGEST = 200  # bytes of UTF-8 that a part of a path may have
SPLIT = re.compile(r"-(\d{5})-of-\d{5}\.gguf$", re.IGNORECASE)
# What lies beside the weights: the configuration, the tokenizer, and what quantizers leave. The browser leaves out of a
# folder what is none of these, so this is an expression of both languages.
BESIDE = r"\.(json|model|txt|jinja)$|^Modelfile$"
WEIGHTS = r"\.(safetensors|gguf)$"
_BESIDE, _WEIGHTS = re.compile(BESIDE, re.IGNORECASE), re.compile(WEIGHTS, re.IGNORECASE)
_BLOB = re.compile(r"sha256[-:][0-9a-f]{4,64}|[0-9a-f]{40,64}")  # as Ollama and the hub's cache name what they keep
# Files that are a checkpoint by themselves. Folders hold many of them that are none, such as what an optimizer keeps.
ALONE = r"\.(npy|npz|onnx|pt|pth|ckpt|bin)$"
_ALONE = re.compile(ALONE, re.IGNORECASE)
PICKLES = (".pkl", ".pickle")


@dataclass(frozen=True)
class Announced:
    """A file that is to come: its own name, its size, and its path below the upload's folder."""

    name: str
    size: int
    stored: str

    @property
    def weights(self) -> bool:
        """Whether it may hold weights, by its name; its content tells in the end."""
        return not _BESIDE.search(self.name)

    @property
    def continues(self) -> bool:
        """Whether it is a later part of a split GGUF file, which its first part names."""
        found = SPLIT.search(self.name)
        return found is not None and int(found[1]) != 1


def folder_of(files: Sequence[Announced]) -> str | None:
    """The name of the folder that the visitor brought; None for files that came without one."""
    top = files[0].stored.split("/")[0]
    return None if top == UNNAMED else top


def of_checkpoint(said: Sequence[tuple[str, int]]) -> tuple[Announced, ...]:
    """The files of one checkpoint, from their paths ("folder/1_Pooling/config.json", or a bare name) and sizes.

    All lie in one folder of the name that the visitor's own has. Raises CheckpointError for what is not taken.
    """
    if len(said) > MOST_FILES:
        raise CheckpointError(f"These are {len(said):,} files; a checkpoint has at most {MOST_FILES} here.")
    paths = [_path(path, len(said) == 1) for path, _ in said]
    tops = {path.parts[0] for path in paths if len(path.parts) > 1}
    folder = tops.pop() if len(tops) == 1 and all(len(path.parts) > 1 for path in paths) else None
    found = tuple(
        Announced(path.name, size, _stored(path, folder)) for path, (_, size) in zip(paths, said, strict=True)
    )
    _check_clashes(found)
    if not any(file.weights for file in found):
        raise CheckpointError("There is no .safetensors or .gguf file among these; add the one that holds the weights.")
    return found


def _path(text: str, alone: bool) -> PurePosixPath:
    """The path as its parts, each of which is a plain name. Raises CheckpointError for every other.

    alone: nothing comes beside it.
    """
    parts = text.split("/")
    if len(parts) > DEEPEST:
        raise CheckpointError(f"{_shown(text)} lies too deep: folders in folders are taken up to {DEEPEST - 1}.")
    for part in parts:
        wrong = part.startswith(".") or "\\" in part or not part.isprintable() or not part.strip()
        if wrong or len(part.encode("utf-8", "replace")) > LONGEST or re.match("[A-Za-z]:", part):
            raise CheckpointError(f"{_shown(text)} is not a plain file name, so it is not part of a checkpoint here.")
    name = parts[-1]
    if name.lower().endswith(PICKLES):
        raise CheckpointError(
            f"{_shown(name)} is a pickle, and loading a pickle can run any code it holds, so it is not opened here; "
            "save the weights as safetensors and bring that file."
        )
    if _ALONE.search(name):
        if alone:
            return PurePosixPath(text)
        raise CheckpointError(
            f"{_shown(name)} is taken by itself, and not beside other files; bring it alone, or a folder's safetensors "
            "files without it."
        )
    if not (_WEIGHTS.search(name) or _BESIDE.search(name) or _BLOB.fullmatch(name)):
        raise CheckpointError(
            f"{_shown(name)} is not part of a checkpoint; bring .safetensors or .gguf files, and the config.json and "
            "tokenizer files that are beside them."
        )
    return PurePosixPath(text)


def _stored(path: PurePosixPath, folder: str | None) -> str:
    """The path in the visitor's folder, or in one of a plain name: a model is named after it, where nothing else is."""
    parts = path.parts if folder else (UNNAMED, *path.parts)
    return "/".join(portable(part, LONGEST) for part in parts)


def _check_clashes(found: Sequence[Announced]) -> None:
    """Raise CheckpointError where two files, or a file and a folder, would be one on some system."""
    seen: dict[str, str] = {}
    for file in found:
        key = unicodedata.normalize("NFC", file.stored).casefold()
        if key in seen:
            same = "have the same name" if seen[key] == file.stored else "differ only in how their names are written"
            raise CheckpointError(f"Two of these files {same} ({_shown(file.name)}); bring each file once.")
        seen[key] = file.stored
    folders = {parent for key in seen for parent in map(str, PurePosixPath(key).parents)}
    if clash := folders & seen.keys():
        raise CheckpointError(f"{_shown(min(clash))} is a file and a folder at once; bring the files again.")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:79] + "…")
