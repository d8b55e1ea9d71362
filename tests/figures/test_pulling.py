"""The weight in the reader's hand: the browser rounds as Python does, and every conclusion follows from the row."""

import re

import javascript
import numpy as np
import pytest

import quantlib as ql
from pages.ui import component
from pages.ui.weight import OURS
from quantlib.figures import pulling
from quantlib.formats.granularity import PerChannel, PerGroup
from quantlib.lm.answering import CALCULATOR
from quantlib.methods.rtn import round_to_nearest


@pytest.fixture(scope="module")
def row():
    tensor, at, _ = OURS
    return ql.open_checkpoint(CALCULATOR).tensors[tensor].rows(at, at + 1).reshape(-1)


def test_three_levels_are_left_and_groups_or_pulling_bring_them_back(row):
    found = pulling.stretch(row, OURS[2])
    assert found.weights[found.at] == row[np.abs(row).argmax()] and found.weights[found.ours] == row[OURS[2]]
    assert found.beside()[0] == 3 and found.beside()[1] > 0.9
    assert found.beside(group=16)[0] > 10 and found.beside(group=16)[1] < 0.5
    assert found.beside(0.1)[0] > 10 and found.beside(0.1)[1] < 0.12


@pytest.mark.parametrize("size", [1.0, 0.37, 0.02])
@pytest.mark.parametrize("group", [64, 16])
def test_the_browser_rounds_as_python_does(row, size, group):
    found = pulling.stretch(row, OURS[2])
    largest = float(np.float32(size * float(found.weights[found.at])))
    x = found.weights.copy()
    x[found.at] = largest
    made = round_to_nearest(x[None], pulling.FORM, PerGroup(16) if group == 16 else PerChannel())
    script = re.sub(
        r"^export default.*$",
        "",
        component.bundle("float_math.js", "dom.js", "plot.js", "grid_math.js", "pull.js"),
        flags=re.M,
    )
    script += """
    const told = JSON.parse(require("fs").readFileSync(0));
    const found = stored(told.x, told.at, told.size, told.group);
    console.log(JSON.stringify({ codes: found.codes, values: found.values }));"""
    script = (
        'import { createRequire } from "module"; const require = createRequire(process.cwd() + "/x.js");\n' + script
    )
    told = {"x": found.weights.tolist(), "at": found.at, "size": largest, "group": group}
    said = javascript.said(script, told)
    assert said["codes"] == made.codes[0].tolist()
    assert np.array_equal(np.float32(said["values"]), made.decoded[0])


@pytest.mark.parametrize("column", [0, 239, 511])
@pytest.mark.parametrize("n", [64, 100, 512, 20])
def test_any_row_has_its_stretch_and_conclusions(n, column):
    x = np.random.default_rng(n).standard_t(3, n).astype(np.float32)
    found = pulling.stretch(x, min(column, n - 1))
    assert abs(found.weights[found.at]) == np.abs(x).max()
    assert found.ours == -1 or found.weights[found.ours] == x[min(column, n - 1)]
    assert all(said.endswith(".") for said in pulling.conclusions(x, min(column, n - 1)))


def test_a_row_of_zeros_is_no_fault():
    assert pulling.conclusions(np.zeros(64, np.float32), 3)


def test_what_is_concluded_of_our_row(row):
    first, second, third = pulling.conclusions(row, OURS[2])
    assert "keep 3 of 15 levels" in first
    assert "falls from 54.6% to 12.0%" in second
    assert "instead of" in third


def test_the_cheapest_repair_is_the_cheapest(row):
    best = pulling.cheapest(row, 0.1)
    assert best.error <= 0.1 and best.apart > 0
    assert not [r for r in pulling.repairs(row) if r.error <= 0.1 and r.bpw < best.bpw]
    assert pulling.cheapest(row, 0.0) is None
    kept = pulling.repair(row, None, 8)
    assert kept.bpw == pytest.approx(4 + 16 / row.size + 8 * 32 / row.size)
