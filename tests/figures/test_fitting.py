"""Pictures of what fits: bars to scale, a bar for each layer, points where the published figures put them."""

import re

import pytest

from quantlib import fit, tables
from quantlib.figures import fitting
from quantlib.figures.fit_frontier import frontier_svg
from quantlib.fit.published import LLAMA_3_8B, LOADERS


@pytest.fixture(scope="module")
def found():
    subject = fit.subject("Gemma-3-4B")
    recipes = ("BF16", "Q8_0", "Q4_K_M", "Q2_K")
    return subject, fit.needs(fit.weigh(subject.checkpoint, subject.view, recipes), subject.view, 8192)


def test_bars_are_to_scale_and_say_what_fits(found):
    _, needs = found
    memory = needs[2].total + 1
    html = fitting.memory_html(needs, memory, "Q4_K_M")
    widths = [float(w) for w in re.findall(r"width:([\d.]+)%", html)]
    assert sum(widths[:3]) / sum(widths[6:9]) == pytest.approx(needs[0].total / needs[2].total, rel=1e-3)
    assert html.count("row over") == 2
    assert html.count("row chosen") == 1


def test_every_layer_has_its_bar_and_windows_are_marked(found):
    subject, _ = found
    layers = fit.attention_of(subject.view)
    svg = fitting.cache_svg(layers, 8192, "FP16")
    assert svg.count('class="bar full"') == sum(not layer.window for layer in layers) == 5
    assert svg.count('class="bar window"') == 29
    assert "1,024 tokens kept" in svg


def test_the_frontier_shows_published_and_measured(found):
    _, needs = found
    svg = frontier_svg(needs, int(5e9), "Q4_K_M", {"Q4_K_M": 0.02, "Q2_K": 0.5})
    need = next(n for n in needs if n.recipe == "Q4_K_M")
    published = next(q.kl for q in LLAMA_3_8B if q.recipe == "Q4_K_M" and not q.imatrix)
    fits = "fits" if need.fits(int(5e9)) else "does not fit"
    assert f"<title>Q4_K_M: {tables.size(need.total)}, {fits}; KL {published:.4g}, Llama-3-8B, published" in svg
    assert svg.count("the demo model, measured</title>") == 2
    assert svg.count('r="11"') == 1  # the ring


def test_the_speed_is_spelled_out(found):
    _, needs = found
    symbols, numbers, result = fitting.speed_lines(needs[2], 1e11)
    assert "÷" in symbols and "100 GB/s" in numbers
    assert float(result.strip("= ")) == pytest.approx(1e11 / (needs[2].weighed.read + needs[2].cache), rel=0.01)


def test_every_loader_names_its_source():
    assert len(fitting.loaders()) == len(LOADERS)
    assert all(row["source"] and row["takes"] for row in fitting.loaders())
