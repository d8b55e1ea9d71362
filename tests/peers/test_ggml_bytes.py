"""Our bytes against ggml's own, by calling the library that llama-cpp-python brings along."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from quantlib.formats import FORMATS

sys.path.insert(0, str(Path(__file__).parents[1] / "formats"))
from families import FAMILIES, IMPORTANCE, draw, needed
from ggml_library import Ggml

pytestmark = pytest.mark.peer
BLOCKS = [name for name, form in FORMATS.items() if form.kind == "block"]
COLUMNS = 4096
ROWS = int(os.environ.get("QUANTLIB_PEER_ROWS", 768))  # three million weights of each common family
GRID_ROWS = ROWS // 24  # codebook searches take a thousand times longer, in ggml too; set the variable to test more
OVERFLOWING = ("huge", "end of range")  # their squares are infinite
COMMON = ("normal", "llm", "heavy tail", "mixed scale")


@pytest.fixture(scope="module")
def ggml(peer):
    peer("llama_cpp")
    return Ggml()


def assert_same(form, ours: np.ndarray, ggmls: np.ndarray) -> None:
    wrong = np.unique(np.nonzero(ours != ggmls)[0])
    assert not len(wrong), f"{form.name}: {len(wrong)} of {len(ours)} rows differ, the first is {wrong[0]}"


@pytest.mark.parametrize("importance", ["none", "ordinary"])
@pytest.mark.parametrize("family", COMMON)
@pytest.mark.parametrize("name", BLOCKS)
def test_many_weights_of_each_common_family(ggml, name, family, importance):
    form = FORMATS[name]
    codes = max(field.count for field in form.layout.fields if field.role == "code")
    left = GRID_ROWS if codes < form.values else ROWS  # a code for several weights is a place in a grid
    for seed, start in enumerate(range(0, left, 256)):
        x, important = draw(family, importance, (min(256, left - start), COLUMNS), seed)
        important = needed(form, important, COLUMNS)
        assert_same(form, form.ggml_bytes(x, important), ggml.encode(form, x, important))


@pytest.mark.parametrize("importance", IMPORTANCE)
@pytest.mark.parametrize("name", BLOCKS)
def test_every_family_and_importance(ggml, name, importance):
    form = FORMATS[name]
    for family in FAMILIES:
        if family in OVERFLOWING and name.startswith(("IQ2", "IQ3")):
            continue  # ggml finds no grid point there and stops the whole process
        x, important = draw(family, importance, (16, 2048), 1)
        important = needed(form, important, 2048)
        try:
            assert_same(form, form.ggml_bytes(x, important), ggml.encode(form, x, important))
        except AssertionError as error:
            raise AssertionError(f"{family}: {error}") from None


@pytest.mark.parametrize("name", BLOCKS)
def test_decoding_any_bytes(ggml, name):
    """Random blocks, with every kind of scale, infinities and NaN included."""
    form = FORMATS[name]
    data = np.random.default_rng(2).integers(0, 256, (20_000, form.nbytes), np.uint8)
    out = ggml.decode(form, data)
    ours = form.dequantize(data.reshape(-1)).reshape(out.shape)
    same = (ours.view(np.uint32) == out.view(np.uint32)) | (np.isnan(ours) & np.isnan(out))
    assert same.all()


@pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if form.kind == "activation"])
def test_activations_of_every_family(ggml, name):
    form = FORMATS[name]
    for family in FAMILIES:
        x, _ = draw(family, "none", (ROWS, 2048), 1)
        try:
            assert_same(form, form.ggml_bytes(x), ggml.encode_activations(form, x))
        except AssertionError as error:
            raise AssertionError(f"{family}: {error}") from None
