"""The texts that a model is measured on: each with its name, so that registers can be told apart."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from quantlib.errors import CheckpointError
from quantlib.lm.assets import ASSETS
from quantlib.lm.model import Model
from quantlib.lm.tokenizer import Tokenizer
from quantlib.lm.windows import Windows, cut

EVALUATION = (ASSETS / "evaluation" / "story.txt", ASSETS / "evaluation" / "explanation.txt")
CALIBRATION = ASSETS / "calibration" / "mixed.txt"
MOST_BYTES = 2**28  # of a text; a calibration text has some hundred thousand
GENERATED = ASSETS / "calibration" / "generated.txt"  # longer: what the demo model writes by itself


def read_texts(paths: Sequence[str | Path]) -> dict[str, str]:
    """UTF-8 texts by name: the file's without its ending, its path where another file has that name.

    Raises CheckpointError where one cannot be read.
    """
    found: dict[str, str] = {}
    for path in map(Path, paths):
        found[str(path) if path.stem in found else path.stem] = read_text(path)
    return found


def read_text(path: Path) -> str:
    """A UTF-8 text from a file or a pipe. Raises CheckpointError where it is none, or is too large."""
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise CheckpointError(f"{path} has more than {MOST_BYTES:,} bytes, too much for a text; take a part of it.")
        return data.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")  # as text files are read
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as UTF-8 text: {error}.") from None


def digest_of_texts(texts: Mapping[str, str]) -> str:
    """A hash of texts and their names: 32 hexadecimal digits."""
    state = hashlib.blake2b(digest_size=16)
    for name, text in texts.items():
        state.update(f"{name}\0{text}\0".encode())
    return state.hexdigest()


def cut_texts(
    model: Model, tokenizer: Tokenizer, texts: Mapping[str, str], context: int, unscored: int | None = None
) -> dict[str, Windows]:
    """Each text in windows of its own; a rest of each is dropped. Raises CheckpointError where one is too short."""
    if not texts:
        raise CheckpointError("There is no text to measure on.")
    least = 2 if len(texts) == 1 else 1
    return {n: cut(model, tokenizer.encode(t), context, tokenizer.bos, least, unscored) for n, t in texts.items()}
