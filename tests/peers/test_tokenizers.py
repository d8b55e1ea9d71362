"""llama.cpp reads text with the tokenizer in our GGUF files as `tokenizers` does with the original's."""

import pytest
import tiny_models
from tokenizers import Tokenizer

from quantlib.checkpoints import gguf_view, open_checkpoint, write_gguf

pytestmark = pytest.mark.peer

# None starts with a space: there llama.cpp and SentencePiece put one more before it, and `tokenizers` does not.
TEXTS = (
    "The old king looked out of the window and said that the sea was grey.",
    "two  spaces, a tab\t, a line\nand  another\n\n\nend ",
    "Été naïve — “quoted” 3.14159 and 2024, 1,000,000; don't WON'T I'll",
    "我想在 apple 工作 🦙🚀 ½ ﬁ",
    "x = [i**2 for i in range(10)]  # code",
    "",
)
# SentencePiece with its own file, without it, byte-level BPE, WordPiece.
KINDS = {"llama_spm": (), "llama_spm without its model": ("tokenizer.model",), "llama_bpe": (), "bert": ()}


@pytest.fixture(scope="module", params=KINDS)
def both(request, peer, tmp_path_factory):
    """The original tokenizer, and llama.cpp with ours."""
    llama_cpp = peer("llama_cpp")
    root = tmp_path_factory.mktemp("tokenizers")
    folder, path = tiny_models.write(request.param.split()[0], root / "model"), root / "vocabulary.gguf"
    original = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for name in KINDS[request.param]:
        (folder / name).unlink()
    with open_checkpoint(folder) as checkpoint, open(path, "wb") as file:
        write_gguf(file, gguf_view(checkpoint).metadata, [])
    return original, llama_cpp.Llama(str(path), vocab_only=True, verbose=False)


@pytest.mark.parametrize("text", TEXTS)
def test_text_becomes_the_same_tokens(both, text):
    original, llama = both
    assert llama.tokenize(text.encode(), add_bos=True, special=False) == original.encode(text).ids
