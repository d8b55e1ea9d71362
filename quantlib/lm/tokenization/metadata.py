"""The tokenizer that GGUF metadata describe, written as the tokenizer.json that does the same."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from quantlib.architectures.pre_tokenizers import DIGITS, WORDS, steps_of
from quantlib.checkpoints import Checkpoint
from quantlib.checkpoints.base import shown
from quantlib.checkpoints.convert.vocabulary import CONTROL, NORMAL, USER_DEFINED
from quantlib.errors import CheckpointError

# Pre-tokenizers of models that take a word of the vocabulary as it is before they merge, or start texts with a token
# where no key says so. Source: llama_vocab::impl::load() in llama.cpp's src/llama-vocab.cpp.
LLAMA_3 = frozenset(["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"])
WHOLE_WORDS = LLAMA_3 | {"tekken"}
SPACE = "\u2581"  # how SentencePiece writes a space
MAX_CHARACTERS = 2**26  # of all tokens and merges; the largest vocabularies in use have about 2**22
# SentencePiece's tokens have 16 characters at most, so the ways to cut them have 16 times the vocabulary's, and those
# that are merges about twice. Long runs of one character, of which a vocabulary has a few, need more.
CUTS_PER_CHARACTER, FREE_CUTS = 64, 2**24
MERGED_PER_CHARACTER, FREE_MERGED = 8, 2**20


def tokenizer_of_metadata(view: Checkpoint) -> dict[str, object]:
    """The tokenizer.json of a byte-level BPE, of SentencePiece's BPE, or of WordPiece, from GGUF metadata.

    Raises CheckpointError for other kinds, and where the lists contradict one another.
    """
    kind, tokens = view.text("tokenizer.ggml.model"), view.value("tokenizer.ggml.tokens")
    if not isinstance(tokens, Sequence | np.ndarray) or isinstance(tokens, str):
        raise CheckpointError(
            f"{view.source} carries no tokenizer, so no text can be run through its model; "
            "use the original folder with its tokenizer.json."
        )
    if kind not in MAKERS:
        raise CheckpointError(
            f"{view.source} has a tokenizer of the kind {(kind or 'unknown')[:40]!r}, which cannot be run from GGUF; "
            "use the original folder with its tokenizer.json."
        )
    tokens = [str(token) for token in tokens]
    types = view.value("tokenizer.ggml.token_type")
    types = [1] * len(tokens) if types is None else [int(t) for t in _numbers(view, "token_type", types)]
    if len(types) != len(tokens) or len(set(tokens)) != len(tokens):
        raise CheckpointError(f"{view.source} lists tokens twice, or has another number of them than of their types.")
    _bounded(view, tokens)
    made = MAKERS[kind](view, tokens, types)
    return made | {"version": "1.0", "added_tokens": _added(tokens, types, spelled=kind == "gpt2")}


def _numbers(view: Checkpoint, key: str, values: object) -> np.ndarray:
    """An array of finite numbers. Raises CheckpointError for anything else under this key."""
    found = values if isinstance(values, np.ndarray) else np.array(values if isinstance(values, list | tuple) else "")
    if found.dtype.kind not in "biuf" or not np.isfinite(found).all():
        raise CheckpointError(f"{view.source} has something else than numbers in tokenizer.ggml.{key}.")
    return found


def _bounded(view: Checkpoint, texts: Sequence[str]) -> None:
    characters = sum(map(len, texts))
    if characters > MAX_CHARACTERS:
        raise CheckpointError(
            f"{view.source} has {characters:,} characters of tokens or merges, more than the {MAX_CHARACTERS:,} that "
            "are run."
        )


def _added(tokens: Sequence[str], types: Sequence[int], spelled: bool) -> list[dict[str, object]]:
    """The tokens that are found in a text before it is cut.

    spelled: whether a space in a token is written as a space. Where it is not, a token with spaces of the user's own
    is left to the model: in another spelling it would become a token of its own.
    """
    return [
        {
            "id": number,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": kind == CONTROL,
        }
        for number, (token, kind) in enumerate(zip(tokens, types, strict=True))
        if kind == CONTROL or (kind == USER_DEFINED and (spelled or SPACE not in token))
    ]


def _wordpiece(view: Checkpoint, tokens: list[str], types: list[int]) -> dict[str, object]:
    """BERT's: GGUF writes what starts a word with a mark, and what goes on with one without."""
    vocabulary = {
        token if kind == CONTROL else token[1:] if token.startswith(SPACE) else f"##{token}": number
        for number, (token, kind) in enumerate(zip(tokens, types, strict=True))
    }
    unknown = view.value("tokenizer.ggml.unknown_token_id")
    known = isinstance(unknown, int) and 0 <= unknown < len(tokens)
    if not known and "[UNK]" not in vocabulary:
        raise CheckpointError(f"{view.source} does not say which token stands for unknown words.")
    cased = any(token != token.lower() for token, kind in zip(tokens, types, strict=True) if kind == NORMAL)
    return {
        "model": {
            "type": "WordPiece",
            "unk_token": tokens[unknown] if known else "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": not cased,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
    }


def _byte_level(view: Checkpoint, tokens: list[str], types: list[int]) -> dict[str, object]:
    name = view.text("tokenizer.ggml.pre") or "gpt-2"
    steps = steps_of("gpt-2" if name == "default" else name)
    if steps is None:
        raise CheckpointError(
            f"{view.source} cuts text as {name[:40]!r} does, which is not known here; "
            "use the original folder with its tokenizer.json."
        )
    listed = view.value("tokenizer.ggml.merges", ())
    lists = isinstance(listed, Sequence | np.ndarray) and not isinstance(listed, str)
    listed = [str(merge) for merge in listed] if lists else []
    _bounded(view, listed)
    merges = [merge.split(" ", 1) for merge in listed]
    for number, merge in enumerate(merges):
        if len(merge) != 2:
            raise CheckpointError(
                f"The tokenizer in {view.source} cannot be read: its merge number {number:,}, {shown(merge[0])}, "
                "is not two tokens."
            )
    return {
        "model": _bpe(tokens, merges, ignore_merges=name in WHOLE_WORDS),
        "pre_tokenizer": pre_tokenizer(steps),
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    }


def _bpe(tokens: Sequence[str], merges: list[list[str]], **settings: object) -> dict[str, object]:
    return {"type": "BPE", "vocab": dict(zip(tokens, range(len(tokens)), strict=True)), "merges": merges} | settings


def pre_tokenizer(steps: tuple[str, ...]) -> dict[str, object]:
    """What cuts a text into pieces, by the steps that the table of pre-tokenizers has for a name."""
    bytes_only = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    made = {DIGITS: {"type": "Digits", "individual_digits": True}, WORDS: bytes_only | {"use_regex": True}}
    parts = [
        made.get(step) or {"type": "Split", "pattern": {"Regex": step}, "behavior": "Isolated", "invert": False}
        for step in steps
    ]
    return {"type": "Sequence", "pretokenizers": parts if WORDS in steps else [*parts, bytes_only]}


def _sentencepiece(view: Checkpoint, tokens: list[str], types: list[int]) -> dict[str, object]:
    """SentencePiece joins the two pieces whose union has the highest score; as a BPE, merges in the order of scores."""
    scores = view.value("tokenizer.ggml.scores")
    if not isinstance(scores, Sequence | np.ndarray) or isinstance(scores, str) or len(scores) != len(tokens):
        raise CheckpointError(f"{view.source} lacks the scores of its tokens, without which text cannot be cut.")
    unknown = view.value("tokenizer.ggml.unknown_token_id")
    unknown = tokens[unknown] if isinstance(unknown, int) and 0 <= unknown < len(tokens) else None
    prefix = view.flag("tokenizer.ggml.add_space_prefix", True)
    before = {"type": "Prepend", "prepend": SPACE}
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    ends = [
        {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        *[{"type": "Strip", "content": " ", "start": 1, "stop": 0}] * prefix,
    ]
    merges = _merges(view, tokens, [float(score) for score in _numbers(view, "scores", scores)])
    return {
        "model": _bpe(tokens, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True),
        "normalizer": {"type": "Sequence", "normalizers": [before, spaces] if prefix else [spaces]},
        "decoder": {"type": "Sequence", "decoders": ends},
    }


def _merges(view: Checkpoint, tokens: list[str], scores: list[float]) -> list[list[str]]:
    """All pairs of tokens whose union is a token: the one with the highest score first, then by the ids of the pair.

    Only cuts into lengths that tokens have are looked at. How many characters those have is counted before any is cut:
    it grows as the cube of the number of tokens where each is a longer run of one character.
    """
    of_length, characters = Counter(map(len, tokens)), sum(map(len, tokens))
    lengths, cuts, work = sorted(of_length), {}, 0
    for length in lengths:
        cuts[length] = [i for i in lengths[: bisect_left(lengths, length)] if i and length - i in of_length]
        work += of_length[length] * length * len(cuts[length])
        if work > FREE_CUTS + CUTS_PER_CHARACTER * characters:
            raise _too_many_ways(view)
    merged, most = 0, FREE_MERGED + MERGED_PER_CHARACTER * characters
    ids = dict(zip(tokens, range(len(tokens)), strict=True))
    out: list[list[str]] = []
    for number in sorted(range(len(tokens)), key=lambda i: -scores[i]):
        token = tokens[number]
        pairs = ((token[:i], token[i:]) for i in cuts[len(token)])
        known = [pair for pair in pairs if pair[0] in ids and pair[1] in ids]
        merged += len(known) * len(token)
        if merged > most:
            raise _too_many_ways(view)
        out += map(list, sorted(known, key=lambda pair: (ids[pair[0]], ids[pair[1]])))
    return out


def _too_many_ways(view: Checkpoint) -> CheckpointError:
    return CheckpointError(
        f"{view.source} has long tokens that can be put together from others in too many ways to be run; "
        "use the original folder with its tokenizer.json."
    )


MAKERS: Mapping[str | None, Callable[[Checkpoint, list[str], list[int]], dict[str, object]]] = {
    "gpt2": _byte_level,
    "llama": _sentencepiece,
    "bert": _wordpiece,
}
