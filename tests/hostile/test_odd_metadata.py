"""GGUF metadata with one value wrong: whatever uses it refuses in a sentence, or goes on; never another exception."""

import numpy as np
import pytest
import tiny_models

import quantlib as ql
from quantlib.checkpoints import MetadataValue, gguf_view
from quantlib.checkpoints.gguf_file import checkpoint_of_parts
from quantlib.errors import QuantlibError
from quantlib.fit import cache_of
from quantlib.lm import Tokenizer, load
from quantlib.lm.architectures import ARCHITECTURES, read_shape
from quantlib.lm.tokenization import Isolated

WRONG = (
    *(MetadataValue("uint64", n) for n in (0, 1, 3, 2**32 - 1, 2**64 - 1)),
    *(MetadataValue("float32", x) for x in (float("nan"), float("inf"), -1.5)),
    MetadataValue("int32", -1),
    MetadataValue("bool", True),
    *(MetadataValue("string", text) for text in ("", "x", "\x1b[2J" * 4000)),
    MetadataValue("array[string]", ["a", "b"]),
    MetadataValue("array[string]", []),
    *(MetadataValue("array[float32]", np.full(n, np.nan, np.float32)) for n in (0, 1, 400)),
    MetadataValue("array[uint32]", np.full(1000, 2**32 - 1, np.uint32)),
    MetadataValue("array[bool]", np.ones(3, np.bool_)),
)


def changed(view: ql.Checkpoint, key: str, value: MetadataValue) -> ql.Checkpoint:
    """The model as a GGUF file would give it, in which one value is another."""
    return checkpoint_of_parts(view.source, {**view.metadata, key: value}, view.tensors, view.files)


@pytest.fixture(scope="module", params=["llama_bpe", "llama_spm"])
def view(request, tmp_path_factory) -> ql.Checkpoint:
    folder = tiny_models.write(request.param, tmp_path_factory.mktemp("models") / request.param)
    return gguf_view(ql.open_checkpoint(folder))


def met(view: ql.Checkpoint, keys, use) -> list:
    """What goes wrong in other ways than in a sentence, over all keys and values."""
    wrong = []
    for key in keys:
        for value in WRONG:
            try:
                use(changed(view, key, value))
            except QuantlibError as error:
                if len(str(error)) >= 500 or "None" in str(error):
                    wrong.append((key, value, str(error)))
            except Exception as error:
                wrong.append((key, value, repr(error)))
    return wrong


def test_a_wrong_number_is_refused_or_used(view):
    arch = view.architecture
    more = ("attention.sliding_window", "rope.dimension_count", "rope.scaling.type", "expert_count", "logit_scale")
    keys = {key for key in view.metadata if key.startswith(arch)} | {f"{arch}.{key}" for key in more}
    assert met(view, sorted(keys), lambda view: read_shape(view, ARCHITECTURES[arch])) == []
    assert met(view, sorted(keys), cache_of) == []


def test_a_wrong_word_of_a_tokenizer_is_refused_or_used(view, monkeypatch):
    monkeypatch.setattr(Isolated, "load", lambda self: self)  # the library has tests of its own
    keys = {key for key in view.metadata if key.startswith("tokenizer.")} | {"tokenizer.ggml.add_space_prefix"}
    assert met(view, sorted(keys | {"general.architecture"}), Tokenizer.of) == []


def test_a_model_of_no_kind_is_told(view):
    for value in WRONG:
        with pytest.raises(QuantlibError) as caught:
            load(changed(view, "general.architecture", value))
        assert "None" not in str(caught.value)


def test_a_token_beyond_the_table_is_told(view):
    with pytest.raises(QuantlibError, match="two models"):
        load(changed(view, "general.name", WRONG[0])).hidden(np.array([10**6]))
