import csv
import io
import json

import numpy as np
import pytest

from quantlib.figures import block as blocks
from quantlib.formats import FORMATS

BLOCKS = [form for form in FORMATS.values() if blocks.drawable(form)]
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
def test_the_grid_of_a_block_is_what_its_weights_are_decoded_with(fmt):
    block = stored(fmt)
    grids = blocks.message(block, "t")["grids"]
    assert (grids is None) == ("mn" not in block.trace.codes)
    if grids:
        scales, minima = (np.array(grids[name], np.uint32).view(np.float32) for name in ("scales", "minima"))
        codes = block.trace.codes["q"].reshape(len(scales), -1).astype(np.float32)
        assert (scales[:, None] * codes - minima[:, None]).reshape(-1) == pytest.approx(block.decoded, rel=1e-6)


@every_block
def test_csv_gives_every_weight_with_its_error(fmt):
    block = stored(fmt)
    rows = list(csv.DictReader(io.StringIO(blocks.to_csv(block))))
    assert np.array([r["w"] for r in rows], np.float32).tolist() == block.weights.tolist()
    assert np.array([r["stored"] for r in rows], np.float32).tolist() == block.decoded.tolist()


@every_block
def test_size_table_adds_up(fmt):
    html = blocks.size_html(fmt)
    assert f"{8 * fmt.nbytes} bits ÷ {fmt.values} weights = {fmt.bpw:g} bits per weight" in html
    assert all(field.name in html and field.doc in html for field in fmt.layout.fields)
