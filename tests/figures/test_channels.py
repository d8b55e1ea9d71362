"""Channels of a layer: a study keeps its promises, its messages fit the component, and what is stored says what the
chapter says."""

import json

import numpy as np
import pytest

from quantlib.errors import CheckpointError
from quantlib.figures import channels, skyline
from quantlib.figures.layer import Layer


@pytest.fixture(scope="module")
def made():
    """A layer whose channel 5 is 30 times the others, and one without such a channel."""
    rng = np.random.default_rng(3)
    weight, x = rng.standard_normal((40, 144)).astype(np.float32), rng.standard_normal((64, 144)).astype(np.float32)
    spiky = x * np.where(np.arange(144) == 5, 30, 1).astype(np.float32)
    words = [f"word{i}" for i in range(64)]
    return tuple(
        channels.study("made", Layer(name, weight, rows), words)
        for name, rows in (("blk.0.attn_q.weight", spiky), ("blk.0.ffn_down.weight", x))
    )


def test_a_study_finds_the_channel_and_what_each_way_leaves(made):
    spiky, even = made
    assert spiky.largest_channel == 5 and spiky.times > 10 and spiky.energy > 0.8
    assert spiky.steady > 30 and even.steady < 5
    for bits in channels.BITS:
        ways = spiky.best(bits)
        assert max(ways, key=ways.get) == channels.PLAIN
        assert ("kept apart: LLM.int8()" in ways) == (bits == 8)
    assert spiky.kept(6.0).tolist() and not spiky.kept(0.0).size


def test_studies_come_back_from_their_file(made, tmp_path):
    seen = channels.reaches("attn_q", [Layer("blk.0.attn_q.weight", np.zeros((1, 1)), np.eye(8) + 1)], 4)
    channels.Studies(made, (seen,)).write(tmp_path / "c.npz")
    found = channels.Studies.read(tmp_path / "c.npz")
    assert found.of("blk.0.attn_q.weight").words == made[0].words
    assert found.matrices[0].best(4) == pytest.approx(made[0].best(4))
    assert np.allclose(found.matrices[1].reach, made[1].reach, rtol=1e-3)
    assert found.layers[0].kind == "attn_q"
    (tmp_path / "c.npz").write_bytes(b"PK broken")
    with pytest.raises(CheckpointError, match="cannot be read"):
        channels.Studies.read(tmp_path / "c.npz")


@pytest.mark.parametrize("message", [skyline.keeping, skyline.moving, skyline.turning])
def test_messages_have_a_height_for_every_bar(made, message):
    sent = message(made[0])
    check(sent)
    assert all(len(readout["values"]) == len(sent["stops"]) for readout in sent["readouts"])


def test_reading_has_a_sentence_for_every_token(made):
    sent = skyline.reading(*made)
    check(sent)
    assert len(sent["says"]) == len(sent["words"]) == len(sent["stops"]) == channels.SHOWN


def check(sent):
    bars = sum(p["channels"] * (len(sent["stops"]) if p["moves"] else 1) for p in sent["panels"])
    heights = np.frombuffer(sent["heights"], "<u4")
    assert heights.size == bars and heights.max() == max(p["top"] for p in sent["panels"])
    assert 0 <= sent["start"] < len(sent["stops"])
    json.dumps({name: value for name, value in sent.items() if name != "heights"}, allow_nan=False)


def test_words_follow_the_figures(made):
    spiky, even = made
    eight = spiky.best(8)
    best = min(eight, key=eight.get)
    assert f"**{best}**" in skyline.ways_in_words(spiky)
    assert "one channel is the largest as often" in skyline.in_short(even, even)[0]
    assert f"at {spiky.steady} of 40" in skyline.in_short(spiky, even)[0]
    flat = channels.Reaches("attn_q", np.ones((2, 4)), np.array([2.0, 2.0]), np.array([1.0, 2.0]))
    assert skyline.first_in_words([flat]).startswith("No layer")


def test_the_stored_model_shows_what_the_chapter_says():
    """The chapter's text speaks of one channel that towers at nearly every token, and of three ways that help."""
    found = channels.Studies.read()
    spiky, even = found.of("blk.13.attn_q.weight"), found.of("blk.13.ffn_down.weight")
    assert spiky.steady >= 36 and spiky.times > 15 and even.steady < 10
    eight = spiky.best(8)
    assert all(error < eight[channels.PLAIN] / 2 for name, error in eight.items() if name != channels.PLAIN)
    assert "massive activations" in skyline.first_in_words(found.layers)
    assert channels.STORED.stat().st_size < 1_000_000
