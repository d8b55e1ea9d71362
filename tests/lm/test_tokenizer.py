"""Tokenizers run from GGUF metadata alone: as the original tokenizer.json cuts text, and refusing what contradicts."""

import json

import pytest
import tiny_models
import tokenizers

import quantlib as ql
from quantlib.architectures.pre_tokenizers import PRE_TOKENIZERS, pre_tokenizer_name
from quantlib.checkpoints import Checkpoint, MetadataValue, gguf_view
from quantlib.lm import Tokenizer
from quantlib.lm.tokenization.bounds import KNOWN
from quantlib.lm.tokenization.metadata import WHOLE_WORDS, pre_tokenizer, tokenizer_of_metadata

TEXTS = (
    'The old king looked out of the window, and said: "It\'s 12,345 miles!"',
    "of  two spaces\n\nand lines\twith tabs ",
    "naïve façade – Ünïcödé, 中文, 🙂 and 3.14159",
    "don't WE'LL I'm 1st 22nd",
    "",
)


def library(tokenizer: dict[str, object]) -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_str(json.dumps(tokenizer))


@pytest.mark.parametrize("name", ["llama_bpe", "llama_spm", "qwen2", "phi3"])
def test_metadata_cut_text_as_the_original_does(name, tmp_path):
    checkpoint = ql.open_checkpoint(tiny_models.write(name, tmp_path / name))
    original, ours = Tokenizer.of(checkpoint), library(tokenizer_of_metadata(gguf_view(checkpoint)))
    for text in TEXTS:  # none starts with a space, before which tokenizer.json puts no other and SentencePiece does
        ids = ours.encode(text, add_special_tokens=False).ids
        assert ids == original.runner.encode(text), text
        assert ours.decode(ids).strip(" ") == text.strip(" ")


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
def test_pre_tokenizers_are_those_that_the_table_knows(name):
    """Written out as a tokenizer.json, each is recognised by its structure; and no text is lost in the pieces."""
    ignored = name in WHOLE_WORDS | {"llama-bpe"}
    model = {"type": "BPE", "vocab": {}, "merges": [], "ignore_merges": ignored}
    written = {"version": "1.0", "model": model, "pre_tokenizer": pre_tokenizer(PRE_TOKENIZERS[name])}
    assert pre_tokenizer_name(written) == name
    cut = library(written).pre_tokenizer
    alphabet = tokenizers.decoders.ByteLevel()
    for text in TEXTS:
        assert alphabet.decode([piece for piece, _ in cut.pre_tokenize_str(text)]) == text


def view(**values) -> Checkpoint:
    metadata = {f"tokenizer.ggml.{key}": MetadataValue("", value) for key, value in values.items()}
    return Checkpoint("m.gguf", "gguf", metadata, "llama", {})


TOKENS = ["<unk>", "a", "b", "ab"]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "carries no tokenizer"),
        ({"model": "rwkv", "tokens": TOKENS}, "'rwkv'"),
        ({"model": "gpt2", "tokens": TOKENS, "pre": "unheard-of"}, "unheard-of"),
        ({"model": "gpt2", "tokens": TOKENS, "merges": ["x y"]}, "cannot be read"),
        ({"model": "gpt2", "tokens": TOKENS, "merges": ["xy"]}, "cannot be read"),
        ({"model": "gpt2", "tokens": [*TOKENS, "a"]}, "twice"),
        ({"model": "gpt2", "tokens": TOKENS, "token_type": [1]}, "another number"),
        ({"model": "llama", "tokens": TOKENS}, "scores"),
        ({"model": "llama", "tokens": TOKENS, "scores": [0.0]}, "scores"),
    ],
)
def test_what_contradicts_is_told(values, says):
    with pytest.raises(ql.CheckpointError, match=says):
        Tokenizer.of(view(**values))


def test_the_highest_score_is_joined_first():
    tokens = ["<unk>", "a", "b", "c", "ab", "bc", "abc"]
    for scores, pieces in (((0, 0, 0, 0, -1, -2, -9), [4, 3]), ((0, 0, 0, 0, -2, -1, -9), [1, 5])):
        values = {"model": "llama", "tokens": tokens[:6], "scores": scores[:6], "unknown_token_id": 0}
        found = Tokenizer.of(view(**values, add_space_prefix=False, add_bos_token=False))
        assert found.encode("abc") == pieces


@pytest.mark.parametrize("part", KNOWN)
def test_every_step_of_the_library_is_known(part):
    """A new version's new step is refused until it was looked at here."""
    module = getattr(tokenizers, part + "s")
    base = {"normalizer": "Normalizer", "pre_tokenizer": "PreTokenizer", "decoder": "Decoder"}[part]
    steps = {
        n for n, kind in vars(module).items() if isinstance(kind, type) and issubclass(kind, getattr(module, base))
    }
    assert steps - {base, "Sequence"} == set(KNOWN[part].split())
