"""Special tokens against gguf.SpecialVocab: the same keys with the same values in the same order, for any tokenizer."""

import json

import gguf
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from quantlib.checkpoints.convert.special_tokens import special_metadata

TOKENS = ["<s>", "</s>", "<unk>", "<sep>", "<eot>"]
ADDED = [{"id": i, "content": token, "special": True, "normalized": False} for i, token in enumerate(TOKENS)]


class Recorder:
    """Takes the place of a GGUF writer and keeps the keys in the order they are added."""

    KEYS = {f"add_{kind}_token_id": getattr(gguf.Keys.Tokenizer, f"{kind.upper()}_ID") for kind in (
        "bos", "eos", "unk", "sep", "pad", "mask", "eot", "eom")} | {
        "add_token_merges": gguf.Keys.Tokenizer.MERGES,
        "add_chat_template": gguf.Keys.Tokenizer.CHAT_TEMPLATE,
        "add_add_bos_token": gguf.Keys.Tokenizer.ADD_BOS,
        "add_add_eos_token": gguf.Keys.Tokenizer.ADD_EOS,
        "add_add_sep_token": gguf.Keys.Tokenizer.ADD_SEP,
    }  # fmt: skip

    def __init__(self):
        self.found = {}

    def __getattr__(self, name: str):
        if name not in self.KEYS:
            raise AttributeError(name)
        return lambda value: self.found.__setitem__(self.KEYS[name], value)


tokens = st.sampled_from(TOKENS)
special = tokens.map(lambda token: {"SpecialToken": {"id": token, "type_id": 0}})
text_a, text_b = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
maybe = st.lists(special, max_size=1)
singles = st.tuples(maybe, maybe).map(lambda ends: [*ends[0], text_a, *ends[1]])
pairs = st.tuples(maybe, st.lists(special, max_size=2), maybe).map(
    lambda parts: [*parts[0], text_a, *parts[1], text_b, *parts[2]]
)
templates = st.builds(
    lambda single, pair: {"type": "TemplateProcessing", "single": single, "pair": pair}, singles, pairs
)
post_processors = st.one_of(
    st.none(), templates, st.lists(templates, max_size=2).map(lambda parts: {"type": "Sequence", "processors": parts})
)
named = st.one_of(tokens, st.just("<absent>"))
configs = st.fixed_dictionaries(
    {"tokenizer_class": st.just("PreTrainedTokenizerFast")},
    optional={f"{kind}_token": named for kind in ("bos", "eos", "unk", "sep", "pad", "cls")}
    | {f"add_{kind}_token": st.booleans() for kind in ("bos", "eos", "sep")}
    | {"chat_template": st.text(max_size=5)},
)
models = st.fixed_dictionaries({}, optional={f"{kind}_token_id": st.integers(0, 4) for kind in ("bos", "eos", "pad")})
merges = st.sampled_from([[], ["a b", "c d"], [["a", "b"], ["c d", "e"]]])


def at_the(end: int, post: dict | None) -> set[str]:
    """The special tokens that templates put first (0) or last (-1)."""
    parts = post.get("processors", [post]) if post else []
    return {part["single"][end]["SpecialToken"]["id"] for part in parts if "SpecialToken" in part["single"][end]}


@given(post=post_processors, config=configs, model=models, merges=merges)
@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
def test_same_as_the_package(tmp_path, post, config, model, merges):
    # Releases of the package differ in what leading and trailing tokens become that the config does not name, and in
    # whether template or config says what is added.
    if post:
        config = {key: value for key, value in config.items() if not key.startswith("add_")}
    assume(at_the(0, post) <= {config.get("bos_token"), config.get("cls_token")})
    assume(at_the(-1, post) <= {config.get("eos_token") or config.get("sep_token")})
    tokenizer = {
        "added_tokens": ADDED,
        "normalizer": None,
        "post_processor": post,
        "model": {"type": "BPE", "vocab": {}, "merges": merges},
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "config.json").write_text(json.dumps(model))
    recorder = Recorder()
    gguf.SpecialVocab(tmp_path, load_merges=True).add_to_gguf(recorder, quiet=True)
    found = special_metadata(tmp_path, tokenizer, config, model, merges=True, size=None)
    assert [(key, value.value) for key, value in found.items()] == list(recorder.found.items())


def test_a_byte_level_post_processor_adds_nothing(tmp_path):
    found = special_metadata(tmp_path, {"post_processor": {"type": "ByteLevel"}}, {}, {}, merges=False, size=None)
    assert {key: value.value for key, value in found.items()} == {
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.add_eos_token": False,
    }


def test_tokens_written_as_objects_count_by_their_content(tmp_path):
    template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, text_a], "pair": []}
    tokenizer = {"added_tokens": ADDED, "post_processor": template}
    found = special_metadata(tmp_path, tokenizer, {"bos_token": {"content": "<s>"}}, {}, merges=False, size=None)
    assert {key: value.value for key, value in found.items()} == {
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.add_bos_token": True,
    }


def test_normalizers_are_found_within_sequences(tmp_path):
    parts = [{"type": "NFC"}, {"type": "Sequence", "normalizers": [{"type": "StripAccents"}, {"type": "Lowercase"}]}]
    tokenizer = {"normalizer": {"type": "Sequence", "normalizers": parts}}
    found = special_metadata(tmp_path, tokenizer, {}, {}, merges=False, size=None)
    assert list(found) == ["tokenizer.ggml.normalizer.lowercase", "tokenizer.ggml.normalizer.strip_accents"]
