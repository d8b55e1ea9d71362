"""Every name of a pre-tokenizer cuts text in llama.cpp as our table says; `tokenizers` runs the table."""

import json

import pytest
import tiny_models
from tokenizers import Regex, Tokenizer, pre_tokenizers

from quantlib.checkpoints import DIGITS, PRE_TOKENIZERS, WORDS, gguf_view, open_checkpoint, steps_of, write_gguf
from quantlib.checkpoints.base import MetadataValue
from quantlib.checkpoints.convert.pre_tokenizers import SAME

pytestmark = pytest.mark.peer

NAMES = [*PRE_TOKENIZERS, *(other for others in SAME.values() for other in others.split())]
TEXT = (
    "\n \n\n \n\n\n \t \t\t \t\n  \n   \n    \n     \n🚀 (normal) ✅ 🦙🦙 3 33 333 3333 33333 333333 3333333 33333333 "
    "3.3 3..3 3...3 ?我想在apple工作1314151天～ ------======= нещо на Български ''''''```````\"\"\"\"......!!!!!!?????? "
    "I've been 'told he's there, 'RE you sure? 'M not sure I'll make it, 'D you like some tea? We'Ve a'lL HTTPServer "
    "camelCase Été naïve\r\nx = y[0]/2;\r\n\r\nend.\n\n"
)


def step(which: str):
    if which == DIGITS:
        return pre_tokenizers.Digits(individual_digits=True)
    if which == WORDS:
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    return pre_tokenizers.Split(Regex(which), "isolated")


def ours(name: str, tokenizer: str) -> list[int]:
    parts = [step(which) for which in steps_of(name)]
    if WORDS not in steps_of(name):
        parts.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    whole = Tokenizer.from_str(tokenizer)
    whole.pre_tokenizer = pre_tokenizers.Sequence(parts)
    return whole.encode(TEXT, add_special_tokens=False).ids


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_models.write("llama_bpe", tmp_path_factory.mktemp("pre") / "model")


@pytest.mark.parametrize("name", NAMES)
def test_llama_cpp_cuts_as_the_table_says(peer, model, tmp_path, name):
    llama_cpp = peer("llama_cpp")
    path = tmp_path / "vocabulary.gguf"
    with open_checkpoint(model) as checkpoint, open(path, "wb") as file:
        metadata = gguf_view(checkpoint).metadata | {"tokenizer.ggml.pre": MetadataValue("string", name)}
        write_gguf(file, metadata, [])
    llama = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    found = llama.tokenize(TEXT.encode(), add_bos=False, special=False)
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    # Names that skip merges for whole words do so for words that are in the vocabulary, which changes nothing here.
    assert found == ours(name, json.dumps(tokenizer))


def test_the_text_tells_pre_tokenizers_apart(model):
    tokenizer = (model / "tokenizer.json").read_text()
    assert len({tuple(ours(name, tokenizer)) for name in PRE_TOKENIZERS}) > len(PRE_TOKENIZERS) // 2
