"""Text to tokens and back, with the tokenizer that the checkpoint carries."""

from dataclasses import dataclass
from pathlib import Path

import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers

from quantlib.checkpoints import Checkpoint, gguf_view
from quantlib.errors import CheckpointError

# How llama.cpp's names of byte-level pre-tokenizers cut text, before bytes become characters.
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CUTS = {
    "gpt-2": lambda: [pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "smollm": lambda: [pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "llama-bpe": lambda: [
        pre_tokenizers.Split(Regex(LLAMA_3), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ],
}


@dataclass(frozen=True)
class Tokenizer:
    """bos: the token that starts a text, where the model wants one; eos: the one that ends it."""

    inner: tokenizers.Tokenizer
    bos: int | None
    eos: int | None

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, the start token first where the model wants one."""
        ids = self.inner.encode(text, add_special_tokens=False).ids
        return ids if self.bos is None else [self.bos, *ids]

    def decode(self, ids: list[int]) -> str:
        return self.inner.decode(ids, skip_special_tokens=True)

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "Tokenizer":
        """The checkpoint's tokenizer: its tokenizer.json, or what its GGUF metadata says.

        Raises CheckpointError where there is none, or none that can be run from the metadata.
        """
        view = gguf_view(checkpoint)
        bos = view.value("tokenizer.ggml.bos_token_id") if view.value("tokenizer.ggml.add_bos_token", False) else None
        return cls(_inner(checkpoint, view), bos, view.value("tokenizer.ggml.eos_token_id"))


def _inner(checkpoint: Checkpoint, view: Checkpoint) -> tokenizers.Tokenizer:
    if checkpoint.kind == "gguf":
        return _from_metadata(view)
    source = Path(checkpoint.source)
    path = (source if source.is_dir() else source.parent) / "tokenizer.json"
    if not path.is_file():
        raise CheckpointError(f"There is no tokenizer.json beside {checkpoint.source}, so text cannot be read with it.")
    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises bare Exceptions
        raise CheckpointError(f"{path} cannot be read as a tokenizer: {error}.") from None


def _from_metadata(view: Checkpoint) -> tokenizers.Tokenizer:
    kind, cut = view.value("tokenizer.ggml.model"), view.value("tokenizer.ggml.pre", "gpt-2")
    if kind != "gpt2" or cut not in CUTS:
        raise CheckpointError(
            f"{view.source} has a {kind!r} tokenizer ({cut!r}), which cannot be run from GGUF yet; "
            "use the original folder with its tokenizer.json."
        )
    vocabulary = {token: i for i, token in enumerate(view.value("tokenizer.ggml.tokens"))}
    merges = [tuple(merge.split(" ", 1)) for merge in view.value("tokenizer.ggml.merges")]
    inner = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    inner.pre_tokenizer = pre_tokenizers.Sequence(CUTS[cut]())
    inner.decoder = decoders.ByteLevel()
    controls = [t for t, i in zip(vocabulary, view.value("tokenizer.ggml.token_type"), strict=True) if i == 3]
    inner.add_special_tokens(controls)
    return inner
