"""Text to tokens and back, with the tokenizer that the checkpoint carries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

from quantlib.architectures.pre_tokenizers import DIGITS, WORDS, steps_of
from quantlib.checkpoints import Checkpoint, gguf_view
from quantlib.checkpoints.convert.vocabulary import CONTROL, USER_DEFINED
from quantlib.errors import CheckpointError

# Pre-tokenizers of models that take a word of the vocabulary as it is before they merge, or start texts with a token
# where no key says so. Source: llama_vocab::impl::load() in llama.cpp's src/llama-vocab.cpp.
LLAMA_3 = frozenset(["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"])
WHOLE_WORDS = LLAMA_3 | {"tekken"}
SPACE = "\u2581"  # how SentencePiece writes a space


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
    def of(cls, checkpoint: Checkpoint) -> Tokenizer:
        """The checkpoint's tokenizer: its tokenizer.json, or what its GGUF metadata says.

        Raises CheckpointError where there is none, or none that can be run from the metadata.
        """
        view = gguf_view(checkpoint)
        kind, cut = view.value("tokenizer.ggml.model"), view.value("tokenizer.ggml.pre")
        starts = view.value("tokenizer.ggml.add_bos_token", kind == "llama" or cut in LLAMA_3)
        bos = view.value("tokenizer.ggml.bos_token_id") if starts else None
        return cls(_inner(checkpoint, view), bos, view.value("tokenizer.ggml.eos_token_id"))


def _inner(checkpoint: Checkpoint, view: Checkpoint) -> tokenizers.Tokenizer:
    source = Path(checkpoint.source)
    path = (source if source.is_dir() else source.parent) / "tokenizer.json"
    if checkpoint.kind == "gguf" or not path.is_file():
        return from_metadata(view)
    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises bare Exceptions
        raise CheckpointError(f"{path} cannot be read as a tokenizer: {error}.") from None


def from_metadata(view: Checkpoint) -> tokenizers.Tokenizer:
    """The tokenizer that GGUF metadata describe: a byte-level BPE, or SentencePiece's BPE.

    Raises CheckpointError for other kinds, and where the lists contradict one another.
    """
    kind, tokens = view.value("tokenizer.ggml.model"), view.value("tokenizer.ggml.tokens")
    if tokens is None or kind not in ("gpt2", "llama"):
        raise CheckpointError(
            f"{view.source} has a tokenizer of the kind {str(kind)[:40]!r}, which cannot be run from GGUF; "
            "use the original folder with its tokenizer.json."
        )
    tokens = [str(token) for token in tokens]
    types = view.value("tokenizer.ggml.token_type")
    types = [1] * len(tokens) if types is None else [int(t) for t in types]
    if len(types) != len(tokens) or len(set(tokens)) != len(tokens):
        raise CheckpointError(f"{view.source} lists tokens twice, or has another number of them than of their types.")
    try:
        inner = _byte_level(view, tokens) if kind == "gpt2" else _sentencepiece(view, tokens)
    except CheckpointError:
        raise
    except Exception as error:  # merges of unknown tokens, and what else the package finds
        raise CheckpointError(f"The tokenizer in {view.source} cannot be run: {error}.") from None
    for token, sort in zip(tokens, types, strict=True):
        if sort == CONTROL:
            inner.add_special_tokens([AddedToken(token, special=True, normalized=False)])
        elif sort == USER_DEFINED:
            text = token.replace(SPACE, " ") if kind == "llama" else token
            if text == token:  # another spelling would become a token of its own
                inner.add_tokens([AddedToken(token, normalized=False)])
    return inner


def _byte_level(view: Checkpoint, tokens: list[str]) -> tokenizers.Tokenizer:
    name = str(view.value("tokenizer.ggml.pre", "gpt-2"))
    steps = steps_of("gpt-2" if name == "default" else name)
    if steps is None:
        raise CheckpointError(
            f"{view.source} cuts text as {name[:40]!r} does, which is not known here; "
            "use the original folder with its tokenizer.json."
        )
    merges = [tuple(str(merge).split(" ", 1)) for merge in view.value("tokenizer.ggml.merges", ())]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    inner = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=name in WHOLE_WORDS))
    inner.pre_tokenizer = pre_tokenizer(steps)
    inner.decoder = decoders.ByteLevel()
    return inner


def pre_tokenizer(steps: tuple[str, ...]) -> pre_tokenizers.PreTokenizer:
    """What cuts a text into pieces, by the steps that the table of pre-tokenizers has for a name."""
    made = {DIGITS: lambda: pre_tokenizers.Digits(True), WORDS: lambda: pre_tokenizers.ByteLevel(False)}
    parts = [made[s]() if s in made else pre_tokenizers.Split(Regex(s), "isolated") for s in steps]
    if WORDS not in steps:
        parts.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    return pre_tokenizers.Sequence(parts)


def _sentencepiece(view: Checkpoint, tokens: list[str]) -> tokenizers.Tokenizer:
    """SentencePiece joins the two pieces whose union has the highest score; as a BPE, merges in the order of scores."""
    scores = view.value("tokenizer.ggml.scores")
    if scores is None or len(scores) != len(tokens):
        raise CheckpointError(f"{view.source} lacks the scores of its tokens, without which text cannot be cut.")
    vocabulary = {token: i for i, token in enumerate(tokens)}
    order = sorted(range(len(tokens)), key=lambda i: -float(scores[i]))
    merges = [
        pair
        for token in map(tokens.__getitem__, order)
        for pair in sorted(
            (
                (token[:i], token[i:])
                for i in range(1, len(token))
                if token[:i] in vocabulary and token[i:] in vocabulary
            ),
            key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]),
        )
    ]
    unknown = view.value("tokenizer.ggml.unknown_token_id")
    unknown = tokens[unknown] if isinstance(unknown, int) and 0 <= unknown < len(tokens) else None
    inner = tokenizers.Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, unk_token=unknown, fuse_unk=True, byte_fallback=True)
    )
    prefix = bool(view.value("tokenizer.ggml.add_space_prefix", True))
    spaces = normalizers.Replace(" ", SPACE)
    inner.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), spaces]) if prefix else spaces
    ends = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    inner.decoder = decoders.Sequence([*ends, *[decoders.Strip(" ", 1, 0)] * prefix])
    return inner
