"""Every name of a pre-tokenizer cuts text in llama.cpp as our table says; `tokenizers` runs the table."""

import json

import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from quantlib.architectures.pre_tokenizers import DIGITS, PRE_TOKENIZERS, SAME, WORDS, steps_of
from quantlib.checkpoints import gguf_view, open_checkpoint, write_gguf
from quantlib.checkpoints.base import MetadataValue

pytestmark = pytest.mark.peer

NAMES = [*PRE_TOKENIZERS, *(other for others in SAME.values() for other in others.split())]
TEXT = (
    "\n \n\n \n\n\n \t \t\t \t\n  \n   \n    \n     \n🚀 (normal) ✅ 🦙🦙 3 33 333 3333 33333 333333 3333333 "
    "33333333 3.3 3..3 3...3 ?我想在apple工作1314151天～ "
    "------======= нещо на Български ''''''```````\"\"\"\"......!!!!!!?????? "
    "I've been 'told he's there, 'RE you sure? 'M not sure I'll make it, 'D you like some tea? We'Ve a'lL HTTPServer "
    "camelCase Été naïve\r\nx = y[0]/2;\r\n\r\nend.\n\n"
)


def step(which: str):
    if which == DIGITS:
        return pre_tokenizers.Digits(individual_digits=True)
    if which == WORDS:
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    return pre_tokenizers.Split(Regex(which), "isolated")


def steps(name: str) -> pre_tokenizers.PreTokenizer:
    parts = [step(which) for which in steps_of(name)]
    if WORDS not in steps_of(name):
        parts.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    return pre_tokenizers.Sequence(parts)


@pytest.fixture(scope="module")
def vocabulary() -> Tokenizer:
    """A BPE whose merges come from the text uncut, so that wherever a cut is matters."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=700, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([TEXT, TEXT], trainer)
    return tokenizer


def ours(name: str, vocabulary: Tokenizer) -> list[int]:
    copy = Tokenizer.from_str(vocabulary.to_str())
    copy.pre_tokenizer = steps(name)
    return copy.encode(TEXT, add_special_tokens=False).ids


@pytest.mark.parametrize("name", NAMES)
def test_llama_cpp_cuts_as_the_table_says(peer, vocabulary, demo_model, tmp_path, name):
    llama_cpp = peer("llama_cpp")
    path, tokens = tmp_path / "vocabulary.gguf", [vocabulary.id_to_token(i) for i in range(vocabulary.get_vocab_size())]
    merges = [" ".join(pair) for pair in json.loads(vocabulary.to_str())["model"]["merges"]]
    with open_checkpoint(demo_model) as checkpoint, open(path, "wb") as file:
        kept = {key: v for key, v in gguf_view(checkpoint).metadata.items() if not key.startswith("tokenizer.")}
        metadata = kept | {
            "tokenizer.ggml.model": MetadataValue("string", "gpt2"),
            "tokenizer.ggml.pre": MetadataValue("string", name),
            "tokenizer.ggml.tokens": MetadataValue("array[string]", tokens),
            "tokenizer.ggml.token_type": MetadataValue("array[int32]", [1] * len(tokens)),
            "tokenizer.ggml.merges": MetadataValue("array[string]", merges),
        }
        write_gguf(file, metadata, [])
    llama = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    # Names that skip merges for whole words do so for words that are in the vocabulary, which merges make here too.
    assert llama.tokenize(TEXT.encode(), add_bos=False, special=False) == ours(name, vocabulary)


def test_the_text_tells_pre_tokenizers_apart(vocabulary):
    assert len({tuple(ours(name, vocabulary)) for name in PRE_TOKENIZERS}) >= 10
