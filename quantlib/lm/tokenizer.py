"""Text to tokens and back, with the tokenizer that the checkpoint carries."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from quantlib.checkpoints import Checkpoint, gguf_view
from quantlib.checkpoints.image_models import check_reads_text
from quantlib.checkpoints.untrusted import read_json
from quantlib.errors import CheckpointError
from quantlib.lm.assets import ASSETS
from quantlib.lm.tokenization import Here, Isolated, Runner, bounded, tokenizer_of_metadata
from quantlib.lm.tokenization.metadata import LLAMA_3

OUR_OWN = ASSETS  # the models that come with this project


@dataclass(frozen=True)
class Tokenizer:
    """bos: the token that starts a text, where the model wants one; eos: the one that ends it."""

    runner: Runner
    bos: int | None
    eos: int | None

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, the start token first where the model wants one.

        Raises CheckpointError where the text is no valid Unicode, or the tokenizer fails at it.
        """
        if not text.isascii():
            try:
                text.encode("utf-8")
            except UnicodeEncodeError as error:
                raise CheckpointError(
                    f"The text has half of a character at position {error.start:,}, which cannot be cut into tokens."
                ) from None
        ids = self.runner.encode(text)
        return ids if self.bos is None else [self.bos, *ids]

    def decode(self, ids: list[int]) -> str:
        """The text of tokens, special ones left out. Raises CheckpointError where the tokenizer fails at them."""
        return self.runner.decode(ids)

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Tokenizer:
        """The checkpoint's tokenizer: its tokenizer.json, or what its GGUF metadata says.

        Raises CheckpointError where there is none, or none that can be run from the metadata.
        """
        check_reads_text(checkpoint)
        view = gguf_view(checkpoint)
        kind, cut = view.text("tokenizer.ggml.model"), view.text("tokenizer.ggml.pre")
        starts = view.flag("tokenizer.ggml.add_bos_token", kind == "llama" or cut in LLAMA_3)
        bos = _token(view, "tokenizer.ggml.bos_token_id") if starts else None
        return cls(_runner(checkpoint, view), bos, _token(view, "tokenizer.ggml.eos_token_id"))


def _token(view: Checkpoint, key: str) -> int | None:
    """The id of a token that the metadata name, None where they name none."""
    value = view.value(key)
    if value is None:
        return None
    if not isinstance(value, int) or not 0 <= value < 2**31:
        raise CheckpointError(f"{view.source} says {key} is {str(value)[:40]!r}, which is no token.")
    return value


def _runner(checkpoint: Checkpoint, view: Checkpoint) -> Runner:
    source = Path(checkpoint.source)
    path = (source if source.is_dir() else source.parent) / "tokenizer.json"
    if checkpoint.kind == "gguf" or not path.is_file():
        return _isolated(Path(view.source), tokenizer_of_metadata(view))
    if path.resolve().is_relative_to(OUR_OWN):
        return Here(path)
    return _isolated(path, read_json(path))


def _isolated(path: Path, tokenizer: dict[str, object]) -> Isolated:
    spec = json.dumps(bounded(path, tokenizer), ensure_ascii=False, separators=(",", ":"))
    return Isolated(spec.encode("utf-8"), str(path)).load()
