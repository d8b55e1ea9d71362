"""Pictures of plans and runs show every matrix once, and take names from files as text."""

import re
from dataclasses import replace

import pytest

import quantlib as ql
from quantlib.figures import runs
from quantlib.metrics import Loss
from quantlib.recipes import quantizable


@pytest.fixture(scope="module")
def plans(demo_model):
    checkpoint = ql.open_checkpoint(demo_model)
    return [ql.plan(checkpoint, name) for name in ("F32", "Q8_0", "Q4_K_M")]


def test_bars_are_to_scale(plans):
    html = runs.size_bars(plans, "Q8_0")
    widths = [float(w) for w in re.findall(r"width:([\d.]+)%", html)]
    assert widths == pytest.approx([100 * p.nbytes / plans[0].nbytes for p in plans], abs=0.01)
    assert html.count("chosen") == 1


def test_every_matrix_is_on_the_map_with_its_format_and_reason(plans):
    plan = plans[-1]
    svg = runs.format_map(plan)
    matrices = [t for t in plan.tensors if quantizable(t.name, t.shape)]
    assert svg.count("<rect") == len(matrices)
    for t in matrices:
        assert f"<title>{t.name}: {t.source} → {t.target}," in svg
    assert svg.count("every third layer") == sum("every third layer" in t.reason for t in matrices) > 0


def results(plan, name=None):
    return [
        ql.TensorResult(name or t.name, t.shape, t.source, t.target, t.nbytes, Loss(9, 4.0, i * 1e-4, 0.1, 1.0), 0)
        for i, t in enumerate(plan.tensors)
    ]


def test_the_worst_matrix_is_the_deepest(plans):
    svg = runs.error_map(results(plans[-1]))
    depths = [float(d) for d in re.findall(r"--depth:([\d.]+)", svg)]
    assert max(depths) == 1


def test_nothing_lost_can_be_drawn(plans):
    lossless = [replace(r, loss=Loss(9, 4.0)) for r in results(plans[0])]
    assert "0%" in runs.error_map(lossless)


def test_names_are_text(plans):
    hostile = "blk.0.<script>alert(1)</script>.weight"
    svg = runs.error_map(results(plans[-1], hostile)[3:4])
    assert "<script" not in svg
    assert "&lt;script&gt;" in svg
