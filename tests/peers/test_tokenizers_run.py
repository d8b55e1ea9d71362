"""Text is cut from GGUF metadata as llama.cpp cuts it."""

import pytest
import tiny_models

import quantlib as ql
from quantlib.lm import Tokenizer

pytestmark = pytest.mark.peer

TEXTS = (
    'The old king looked out of the window, and said: "It\'s 12,345 miles!"',
    "  two spaces\n\nand lines\twith tabs ",
    "naïve façade – Ünïcödé, 中文, 🙂 and 3.14159",
    "don't WE'LL I'm 1st 22nd",
    " ",
)


@pytest.mark.parametrize("name", tiny_models.WHOLE)
def test_tokens_are_those_of_llama_cpp(peer, name, tmp_path):
    path = tmp_path / "model.gguf"
    ql.run(ql.plan(ql.open_checkpoint(tiny_models.write(name, tmp_path / "model")), "F16"), path)
    theirs = peer("llama_cpp").Llama(str(path), vocab_only=True, verbose=False)
    with ql.open_checkpoint(path) as file:
        ours = Tokenizer.of(file)
    for text in TEXTS:
        assert ours.encode(text) == theirs.tokenize(text.encode(), add_bos=True), text
