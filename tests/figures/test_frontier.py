"""The frontier's picture: every recipe is in it, and what lost nothing is not."""

import xml.etree.ElementTree as ET

import pytest

from quantlib.figures.frontier import LOSSES, frontier_svg
from quantlib.figures.ladder import ladder
from quantlib.lm import Measured, Summary, Sweep

SVG = "{http://www.w3.org/2000/svg}"


def measured(recipe: str, bpw: float, kl: float, weighted: bool = False) -> Measured:
    names = Summary.__dataclass_fields__
    total = Summary(**dict.fromkeys(names, 0.0) | {"kl": kl, "difference": 10 * kl, "changed_top": kl / 2})
    return Measured(recipe, weighted, int(1e6 * bpw), bpw, 1.0, total, {})


SWEEP = Sweep(
    "m", "", "", ("a",), 512, "",
    (measured("BF16", 16, 0), measured("Q8_0", 8.5, 1e-4), measured("Q4_0", 4.5, 0.02), measured("Q4_1", 5, 0.03),
     measured("Q2_K", 3.3, 0.1, weighted=True)),
)  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_shows_every_recipe_that_lost_something(loss, theme):
    root = ET.fromstring(frontier_svg(SWEEP, loss, "Q4_0", theme))
    titles = [t.text for t in root.iter(SVG + "title")]
    assert [t.split(":")[0] for t in titles] == ["Q4_1", "Q8_0", "Q4_0", "Q2_K + imatrix"]
    assert [("smaller and better" in t) for t in titles] == [True, False, False, False]
    assert len(next(root.iter(SVG + "polyline")).get("points").split()) == 3


def test_a_16_bit_format_stands_at_the_edge_and_leaves_the_scale_to_the_others():
    wide = Sweep("m", "", "", ("a",), 512, "", (*SWEEP.measured, measured("F16", 16, 1e-7)))
    root = ET.fromstring(frontier_svg(wide))
    assert "F16, 16 bits: 10⁻⁷" in [t.text for t in root.iter(SVG + "text")]
    assert "10⁻⁶" not in [t.text for t in root.iter(SVG + "text")], "the scale ends where the others do"
    assert len(list(root.iter(SVG + "title"))) == 4


def test_higher_loss_stands_higher():
    root = ET.fromstring(frontier_svg(SWEEP))
    points = [tuple(map(float, p.split(","))) for p in next(root.iter(SVG + "polyline")).get("points").split()]
    assert points == sorted(points, reverse=True, key=lambda p: p[0])
    assert [y for _, y in points] == sorted((y for _, y in points), reverse=True)


def test_the_ladder_stands_beside_what_was_published():
    table = ladder(SWEEP)
    assert [row["recipe"] for row in table.rows] == ["Q8_0"], "weighted and other recipes are none of its steps"
    assert table.rows[0]["Llama-3-8B, published"] == 0.00265
    clear = Sweep("m", "", "", ("a",), 512, "", (measured("Q3_K_M", 4, 0.02), measured("Q2_K", 3, 0.05)))
    assert "perplexity higher" in ladder(clear).words[0]
    turned = Sweep("m", "", "", ("a",), 512, "", (measured("Q3_K_M", 4, 0.05), measured("Q2_K", 3, 0.02)))
    assert "against the published order" in ladder(turned).words[0]
