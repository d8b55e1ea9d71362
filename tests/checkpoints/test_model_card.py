"""What the model card becomes, against gguf.Metadata: the same keys with the same values in the same order."""

import json

import gguf
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantlib.checkpoints.convert.general import general_metadata
from quantlib.checkpoints.convert.model_card import FIELDS, LISTS, SOURCES

SIZE = 7_000_000_000
words = st.text(st.sampled_from("abcxyz"), min_size=1, max_size=6)
ids = st.sampled_from(
    ["meta-llama/Llama-2-7b-hf", "a/b", "Mixtral-8x7B-v0.1", "someone/Tiny-Model-1.1B-Chat-v1.0", "x"]
)
links = st.sampled_from(["https://huggingface.co/a/Some-Model-3B", "https://example.org/x", "ssh://a/b"])
entries = st.one_of(
    ids, links, st.dictionaries(st.sampled_from(["name", "author", "url", "version"]), words, min_size=1)
)
texts = st.one_of(words, st.lists(words, min_size=1, max_size=3))
cards = st.fixed_dictionaries(
    {},
    optional={key: words for keys in FIELDS.values() for key in keys if key != "license"}
    | {"license": texts}
    | {key: texts for keys in LISTS.values() for key in keys}
    | {keys[0]: st.one_of(ids, links, st.lists(entries, min_size=1, max_size=3)) for keys in SOURCES.values()},
)


class Recorder:
    """Takes the place of a GGUF writer: keeps what is added, by the method's name without add_."""

    def __init__(self):
        self.found = []

    def __getattr__(self, name: str):
        return lambda *args: self.found.append((name.removeprefix("add_"), *args))


def as_added(key: str, value: object) -> tuple:
    """Our key as the package's method and arguments: general.base_model.0.name is base_model_name(0, ...)."""
    parts = key.removeprefix("general.").split(".")
    numbers = [int(part) for part in parts if part.isdigit()]
    return ("_".join(part for part in parts if not part.isdigit()), *numbers, value)


@given(card=cards, name=st.one_of(st.none(), ids))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_same_as_the_package(tmp_path, card, name):
    (tmp_path / "README.md").write_text(f"---\n{yaml.safe_dump(card, sort_keys=False)}---\n# A model\n---\n")
    (tmp_path / "config.json").write_text(json.dumps({"_name_or_path": name} if name else {}))
    recorder = Recorder()
    metadata = gguf.Metadata.load(None, tmp_path, None, SIZE)
    metadata.size_label = metadata.size_label or gguf.size_label(SIZE, SIZE, 0, 0)
    metadata.set_gguf_meta_model(recorder)
    found = general_metadata(tmp_path, name, (SIZE, SIZE, 0, 0))
    found.pop("general.type")
    assert [as_added(key, value.value) for key, value in found.items()] == recorder.found


NOTHING = {
    "no front matter": "# A model\nlicense: mit\n",
    "not ended": "---\nlicense: mit\n",
    "not YAML": "---\nlicense: [\n---\n",
    "a list": "---\n- mit\n---\n",
    "deep": "---\na: " + "[" * 20_000 + "\n---\n",
    "long": "---\nlicense: " + "m" * 70_000 + "\n---\n",
    "an alias of itself": "---\ntags: &a [*a]\nlicense: null\n---\n",
    "objects": "---\nlicense: {a: b}\ntags: [[x], {y: z}]\nbase_model: [[x]]\n---\n",
    "code": "---\nlicense: !!python/object/apply:os.system [exit]\n---\n",
}


@pytest.mark.parametrize("name", NOTHING)
def test_cards_that_say_nothing_usable_are_passed_over(tmp_path, name):
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "README.md").write_text(NOTHING[name])
    found = general_metadata(folder, None, (1000, 1000, 0, 0))
    kept = {key for key in found if not key.startswith("general.license")}
    assert kept == {"general.type", "general.name", "general.size_label"}
    assert found.keys() - kept <= {"general.license"}


def test_text_stays_text(tmp_path):
    (tmp_path / "README.md").write_text("---\nlanguage: [no, en]\nversion: 1.10\nlicense: apache-2.0\n---\n")
    found = general_metadata(tmp_path, None, (1000, 1000, 0, 0))
    assert found["general.languages"].value == ["no", "en"]
    assert found["general.version"].value == "1.10"
    assert found["general.license"].value == "apache-2.0"
