import csv
import io
import json

import numpy as np
import pytest

from quantlib.figures import block as blocks
from quantlib.formats import FORMATS

BLOCKS = [form for form in FORMATS.values() if blocks.drawable(form)]
EVEN = [form for form in BLOCKS if not form.terms]
every_block = pytest.mark.parametrize("fmt", BLOCKS, ids=lambda f: f.name)


def importance_for(fmt):
    return np.ones(fmt.values, np.float32) if fmt.requires_importance else None


def stored(fmt, seed=0):
    weights = np.random.default_rng(seed).normal(0, 0.02, fmt.values).astype(np.float32)
    return blocks.store(fmt, weights, importance_for(fmt))


@every_block
def test_the_block_shown_is_the_block_that_quantize_writes(fmt):
    block = stored(fmt)
    assert block.data.tolist() == fmt.quantize(block.weights, importance_for(fmt)).tolist()
    assert block.decoded.tolist() == fmt.dequantize(block.data).tolist()


@every_block
def test_message_is_integers_from_which_the_bytes_can_be_rebuilt(fmt):
    block = stored(fmt)
    said = json.loads(json.dumps(blocks.message(block, "t")))
    rebuilt = np.zeros(8 * fmt.nbytes, np.uint8)
    for field in said["fields"]:
        for addresses, code in zip(field["bits"], field["codes"], strict=True):
            assert isinstance(code, int)
            for place, address in enumerate(addresses):
                rebuilt[address] = code >> place & 1
    assert np.packbits(rebuilt, bitorder="little").tolist() == said["bytes"] == block.data.tolist()
    assert np.array(said["decoded"], np.uint32).view(np.float32).tolist() == block.decoded.tolist()


@every_block
def test_every_name_in_the_formula_is_a_field(fmt):
    said = blocks.message(stored(fmt), "t")
    names = {part["name"]: "0" for part in [*said["fields"], *said["terms"]]}
    assert said["formula"].format(**names)
    assert all(len(term["values"]) == fmt.values for term in said["terms"])


@every_block
def test_stored_values_lie_on_the_levels_of_their_group(fmt):
    block = stored(fmt)
    if blocks.has_grid(fmt):
        assert blocks.levels(block, 0).size == 0
        return
    for group, part in enumerate(block.decoded.reshape(-1, block.group)):
        assert set(part.tolist()) <= set(blocks.levels(block, group).tolist())


@pytest.mark.parametrize("fmt", EVEN, ids=lambda f: f.name)
def test_levels_are_one_stored_scale_apart(fmt):
    block = stored(fmt)
    grid = blocks.levels(block, 0).astype(float)
    assert np.allclose(np.diff(grid), blocks.stored_scale(block, 0), rtol=1e-4)


@every_block
def test_csv_gives_every_weight_with_its_error(fmt):
    block = stored(fmt)
    rows = list(csv.DictReader(io.StringIO(blocks.to_csv(block))))
    assert np.array([r["x"] for r in rows], np.float32).tolist() == block.weights.tolist()
    assert np.array([r["stored"] for r in rows], np.float32).tolist() == block.decoded.tolist()


@every_block
def test_size_table_adds_up(fmt):
    html = blocks.size_html(fmt)
    assert f"{8 * fmt.nbytes} bits ÷ {fmt.values} weights = {fmt.bpw:g} bits per weight" in html
    assert all(field.name in html and field.doc in html for field in fmt.layout.fields)


@every_block
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_figures_stay_small_and_share_their_axis(fmt, theme):
    block = stored(fmt)
    figure = blocks.before_after(block, 0, theme)
    assert figure.layout.xaxis.matches == "x2" or figure.layout.xaxis2.matches == "x"
    assert sum(len(trace.x) for trace in figure.data) <= 1000
    search = blocks.search_figure(block, 0, theme)
    assert search.data[1].y[0] == pytest.approx(np.nanmin(block.trace.errors[0]), rel=1e-5)


@every_block
def test_a_block_of_zeros_has_a_picture_too(fmt):
    block = blocks.store(fmt, np.zeros(fmt.values, np.float32), importance_for(fmt))
    assert blocks.before_after(block, 0).data and blocks.search_figure(block, 0).data
    assert fmt.terms or blocks.stored_scale(block, 0) == 0
