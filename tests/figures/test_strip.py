"""The file in byte order: pieces tile it, rows hold all bytes, names stay text."""

from itertools import pairwise

import numpy as np
import pytest
from safetensors.numpy import save_file

import quantlib as ql
from quantlib import tables
from quantlib.checkpoints import gguf_view
from quantlib.figures import strip, tensor
from quantlib.figures.weights import Sample


@pytest.fixture(scope="module")
def demo(demo_model):
    return ql.open_checkpoint(demo_model)


def test_pieces_tile_the_file(demo):
    found = strip.pieces(demo, "component")
    assert found[0].start == 0
    assert found[0].kind == strip.HEADER
    for before, after in pairwise(found):
        assert before.start + before.nbytes == after.start
    assert found[-1].start + found[-1].nbytes == demo.files[0].size


@pytest.mark.parametrize("by", ["component", "bits"])
def test_what_is_drawn_has_the_width_of_its_bytes(demo, by):
    found = strip.pieces(demo, by)
    total = found[-1].start + found[-1].nbytes
    drawn = list(strip._drawn(found, total, 3))
    assert sum(width for _, _, width, _, _ in drawn) == pytest.approx(3 * strip.WIDTH)
    assert all(x >= -1e-6 and x + width <= strip.WIDTH + 1e-6 for _, x, width, _, _ in drawn)
    assert {kind for *_, kind, _ in drawn} <= set(strip.kinds(by))


def test_thousands_of_tensors_make_a_small_picture(tmp_path):
    save_file({f"<b>{i}": np.zeros(8, np.float32) for i in range(5000)}, tmp_path / "x.safetensors")
    with ql.open_checkpoint(tmp_path / "x.safetensors") as checkpoint:
        svg = strip.strip_svg(checkpoint)
    assert svg.count("<rect") < 12_000
    assert "<b>" not in svg


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("model.layers.3.self_attn.q_proj.weight", "attention"),
        ("blk.3.attn_norm.weight", "norm"),
        ("blk.3.ffn_gate_exps.weight", "experts"),
        ("blk.3.ffn_down.weight", "feed-forward"),
        ("token_embd.weight", "embedding"),
        ("rope_freqs.weight", "other"),
    ],
)
def test_components(name, kind):
    assert strip.component_of(name) == kind


def test_outliers_and_what_is_not_finite_are_counted():
    x = np.random.default_rng(0).standard_normal(10_000).astype(np.float32)
    x[:3] = [np.nan, np.inf, 40.0]
    found = tensor.distribution(Sample(x, x.size))
    assert found.not_finite == 2
    assert found.outliers.tolist() == [40.0]
    assert found.counts.sum() == x.size - 2
    assert len(tensor.distribution_figure(found, "light").data) == 2


def test_channels_keep_their_extremes():
    x = np.random.default_rng(0).standard_normal((3000, 16)).astype(np.float32)
    found = tensor.channels(x, "row")
    assert found.every == 4
    assert (found.high.max(), found.low.min()) == (x.max(), x.min())
    assert tensor.channels(x, "column").high.tolist() == x.max(0).tolist()


def test_metadata_and_vocabulary_are_plain_text(demo):
    assert all(isinstance(row["value"], str) for row in tables.metadata(demo))
    view = gguf_view(demo)
    rows = tables.vocabulary(view, 10, 5)
    assert [row["id"] for row in rows] == [10, 11, 12, 13, 14]
    assert all("the" in row["token"] for row in tables.vocabulary(view, contains="the"))
    assert tables.vocabulary(demo) == []
