"""Pictures of a whole checkpoint: shares that add up, a cell for each matrix, shapes that count every weight."""

import re
from html import escape

import numpy as np
import pytest
from safetensors.numpy import save_file

import quantlib as ql
from quantlib.figures import anatomy
from quantlib.inspection import MEASURES, all_statistics, describe


@pytest.fixture(scope="module")
def demo(demo_model):
    with ql.open_checkpoint(demo_model) as checkpoint:
        yield checkpoint


@pytest.fixture(scope="module")
def rows(demo):
    return list(all_statistics(demo))


def test_the_roles_share_out_every_byte(demo):
    bar = anatomy.roles_html(demo)
    widths = [float(width) for width in re.findall(r"width:([\d.]+)%", bar)]
    assert sum(widths) == pytest.approx(100, abs=0.05)
    assert {"attention", "feed-forward", "embedding", "norm"} <= set(re.findall(r'title="([^:]+):', bar))


@pytest.mark.parametrize("measure", MEASURES.values(), ids=lambda m: m.name)
def test_a_map_has_a_cell_for_each_matrix_that_opens_it(demo, rows, measure):
    matrices = {t.name for t in demo if len(t.shape) > 1}
    picture = anatomy.measure_map(anatomy.placed(demo, rows), measure)
    assert set(re.findall(r'data-pick="([^"]+)"', picture)) == matrices
    depths = [float(depth) for depth in re.findall(r"--depth:([\d.]+)", picture)]
    assert len(depths) == len(matrices) and all(0 <= depth <= 1 for depth in depths)


def test_names_without_layers_have_no_map(tmp_path):
    save_file({"a": np.ones((4, 4), np.float32), "b.weight": np.ones((4, 4), np.float32)}, tmp_path / "m.safetensors")
    with ql.open_checkpoint(tmp_path / "m.safetensors") as checkpoint:
        assert anatomy.placed(checkpoint, all_statistics(checkpoint)) == []
        assert anatomy.kinds_with_layers(checkpoint) == {}


def test_a_ridge_counts_every_weight_it_saw(demo):
    kinds = anatomy.kinds_with_layers(demo)
    assert next(iter(kinds)) in ("ffn_down", "ffn_gate", "ffn_up"), "the kind of most bytes comes first"
    found = anatomy.ridges(kinds["ffn_down"])
    assert [one.layer for one in found] == list(range(8))
    for one in found:
        assert one.counts.sum() + one.beyond == one.seen <= anatomy.RIDGE_WEIGHTS
    assert anatomy.ridges_svg(found).count("data-pick") == 8


def test_a_far_weight_is_counted_beyond(tmp_path):
    x = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    x[0, :3] = 1e4, np.nan, -1e4
    save_file({"model.layers.0.mlp.up_proj.weight": x}, tmp_path / "m.safetensors")
    with ql.open_checkpoint(tmp_path / "m.safetensors") as checkpoint:
        (one,) = anatomy.ridges(anatomy.kinds_with_layers(checkpoint)["ffn_up"])
    assert (one.beyond, one.seen) == (2, 64 * 64 - 1)


def test_what_a_file_says_is_text(tmp_path):
    script = "<script>alert(1)</script>\n\x07"
    name = f"blk.0.{script}.weight"
    save_file({name: np.ones((4, 64), np.float32)}, tmp_path / "m.safetensors")
    with ql.open_checkpoint(tmp_path / "m.safetensors") as checkpoint:
        found = list(all_statistics(checkpoint))
        pictures = [anatomy.facts_html(describe(checkpoint)), anatomy.roles_html(checkpoint)]
        pictures += [anatomy.measure_map(anatomy.placed(checkpoint, found), MEASURES["largest / RMS"])]
        kinds = anatomy.kinds_with_layers(checkpoint)
        pictures += [anatomy.ridges_svg(anatomy.ridges(tensors)) for tensors in kinds.values()]
    assert all("<script>" not in picture for picture in pictures)
    assert any(escape("<script>") in picture for picture in pictures)
