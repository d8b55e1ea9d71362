"""Our weight's stations say what the formats and methods make of it, and none of them fails a page."""

import numpy as np
import pytest

import quantlib as ql
from pages.ui.weight import OURS
from quantlib.figures import answer, journey
from quantlib.formats import FORMATS
from quantlib.formats.granularity import PerChannel
from quantlib.formats.integers import IntegerFormat
from quantlib.lm.answering import CALCULATOR
from quantlib.methods.rtn import round_to_nearest


@pytest.fixture(scope="module")
def ours() -> journey.Place:
    return journey.Place(ql.open_checkpoint(CALCULATOR), *OURS)


@pytest.fixture(scope="module")
def told(ours) -> dict[str, journey.Station]:
    return {station.chapter: station for station in journey.stations(ours, 6)}


def test_the_weight_is_one_that_an_outlier_presses_to_zero(ours, told):
    row = ours.weights
    assert np.abs(row).max() > 10 * np.sqrt(np.mean(row**2))
    codes = round_to_nearest(row[None], IntegerFormat(4), PerChannel()).codes[0]
    assert codes[ours.column] == 0 and told["outliers"].stored == 0
    assert told["levels"].stored != 0, "with its neighbours alone it keeps a code"


@pytest.mark.parametrize(("chapter", "name"), [("super_block", "Q4_K"), ("codebooks", "NF4"), ("names", "Q6_K")])
def test_a_station_reads_back_what_the_format_stores(ours, told, chapter, name):
    fmt = FORMATS[name]
    stored = fmt.dequantize(fmt.quantize(ours.weights[None]), ours.weights.size).reshape(-1)
    assert told[chapter].stored == pytest.approx(float(stored[ours.column]), rel=1e-6)
    assert f"{told[chapter].stored:.3g}".replace("-", "−") in told[chapter].words


def test_at_work_it_is_multiplied_and_the_answer_is_wrong(ours):
    working = answer.at_work(ours.checkpoint, ours.tensor)
    moved, answered, output = (make(ours, working) for make in journey.AT_WORK)
    assert output.shown.split(" of ")[0] == f"{ours.weight * working.inputs[ours.column]:.3g}".replace("-", "−")
    assert working.result == "2,491" and answered.shown.endswith("✓" if working.right else "✗")
    assert f"= {working.answer}." in answered.words
    assert moved.stored is not None


def test_every_weight_of_another_model_has_its_stations(demo_model, tmp_path):
    checkpoint = ql.open_checkpoint(demo_model)
    for name in ("model.layers.0.self_attn.q_proj.weight", "model.embed_tokens.weight"):
        place = journey.Place(checkpoint, name, *journey.strongest(checkpoint.tensors[name]))
        found = journey.stations(place)
        assert [station.chapter for station in found] == list(journey.CHAPTERS)
        assert all(station.words.endswith(".") for station in found)
        assert journey.message(place, found, "levels", "t")["here"] == 1


def test_rows_that_no_block_fits_get_a_reason_instead(tmp_path):
    from safetensors.numpy import save_file

    save_file({"odd.weight": np.linspace(-1, 1, 300, dtype=np.float32).reshape(3, 100)}, tmp_path / "odd.safetensors")
    checkpoint = ql.open_checkpoint(tmp_path / "odd.safetensors")
    found = journey.stations(journey.Place(checkpoint, "odd.weight", 2, 99))
    assert found[3].shown == "–" and found[3].words.endswith(".")
    zero = journey.bits(journey.Place(ql.open_checkpoint(tmp_path / "odd.safetensors"), "odd.weight", 0, 0))
    assert zero.stored == -1


def test_the_strongest_place_is_outside_the_outliers_neighbours(ours):
    row, column = journey.strongest(ours.checkpoint.tensors[ours.tensor])
    assert row == ours.row
    outlier = int(np.abs(ours.weights).argmax())
    assert column // journey.NEIGHBOURS != outlier // journey.NEIGHBOURS
