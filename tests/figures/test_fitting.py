"""Pictures of what fits: bars to scale, a bar for each layer, marks where the costs put them."""

import re
from dataclasses import replace

import pytest

from quantlib import fit
from quantlib.figures import fitting
from quantlib.figures.fit_frontier import frontier_svg
from quantlib.figures.plane import Axis
from quantlib.fit.amounts import gb
from quantlib.fit.published import LOADERS


@pytest.fixture(scope="module")
def answer():
    return fit.ask("Gemma-3-4B", "GeForce RTX 4060, 8 GB", 8192)


def test_one_bar_shows_all_of_the_machines_memory(answer):
    html = fitting.machine_html(answer)
    widths = {name: float(w) for name, w in re.findall(r'<i class="(\w+)" style="width:([\d.]+)%', html)}
    assert sum(widths.values()) == pytest.approx(100, abs=0.01)
    placed = answer.option.placed
    assert widths["weights"] / widths["cache"] == pytest.approx(placed.fast / placed.cache, rel=1e-3)
    assert widths["kept"] == pytest.approx(100 * answer.machine.kept / answer.machine.total, abs=0.01)
    assert gb(answer.option.headroom) in html


def test_bars_of_recipes_are_to_scale_and_say_what_fits(answer):
    html = fitting.memory_html(answer, answer.options)
    widths = [float(w) for w in re.findall(r"width:([\d.]+)%", html)]
    first, third = answer.options[0], answer.options[2]
    assert sum(widths[:3]) / sum(widths[6:9]) == pytest.approx(first.total / third.total, rel=1e-3)
    assert html.count("row over") == sum(not option.fits for option in answer.options)
    assert html.count("row chosen") == 1


def test_every_layer_has_its_bar_and_windows_are_marked(answer):
    svg = fitting.cache_svg(answer.layers, 8192, "FP16")
    assert svg.count('class="bar full"') == sum(not layer.window for layer in answer.layers) == 5
    assert svg.count('class="bar window"') == 29
    assert "room for 1,536 tokens" in svg
    states = fit.cache_of(fit.KNOWN["Qwen3.5-27B"].checkpoint())
    assert fitting.cache_svg(states, 8192, "FP16").count("A state of") == 48


def test_the_frontier_draws_both_kinds_and_their_range(answer):
    svg = frontier_svg(answer, {"Q4_K_M": 0.02, "Q2_K": 0.5})
    assert svg.count("<title>Q4_K_M: ") == 3, "with an importance matrix, without, and the demo model's"
    assert "made with an importance matrix, estimated" in svg and "made without, estimated" in svg
    assert svg.count('class="range"') == sum(o.cost.low < o.cost.high for o in answer.options)
    assert svg.count('r="11"') == 1  # the ring


@pytest.mark.parametrize(("low", "high"), [(9, 52), (0.041, 0.047), (1, 1.2), (30, 800)])
def test_memory_has_ticks_at_any_size(low, high):
    axis = Axis([low, high], 0, 100)
    ticks = axis.sizes()
    assert 3 <= len(ticks) <= 12 and ticks == sorted(ticks) and all(axis.inside(t) for t in ticks)


def test_the_speed_is_spelled_out(answer):
    option = answer.option
    symbols, numbers, result = fitting.speed_lines(option, answer.machine)
    assert "÷" in symbols and "272 GB/s" in numbers
    assert f"{option.speed.about:.3g} tokens a second" in result


def test_every_loader_names_its_source():
    assert len(fitting.loaders()) == len(LOADERS)
    assert all(row["source"] and row["takes"] for row in fitting.loaders())


def test_the_first_picture_has_one_bar_a_step_and_the_advice(answer):
    shown = fitting.steps(answer)
    assert answer.shown in shown and len({option.recipe for option in shown}) == len(shown) <= len(fitting.STEPS) + 1
    assert [answer.options.index(option) for option in shown] == sorted(map(answer.options.index, shown))
    assert "&lt;b&gt;" in fitting.title_html(replace(answer, subject=replace(answer.subject, name="<b>x")))
