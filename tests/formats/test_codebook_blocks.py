"""What the formats with tables rest on: grids and their neighbours, signs, uneven values, small floats, base three."""

from itertools import product

import ml_dtypes
import numpy as np
import pytest
from families import draw

from quantlib.formats import FORMATS
from quantlib.formats.blocks import iquants, iquants_ternary, microscaling, search, ternary
from quantlib.formats.blocks.grids import grid
from quantlib.formats.blocks.iquants_search import nearest_on_grid
from quantlib.formats.blocks.iquants_signs import expand_signs, split_signs

GRIDS = {"IQ1_S": (2048, 3), "IQ2_XXS": (256, 2), "IQ2_XS": (512, 2), "IQ2_S": (1024, 1), "IQ3_XXS": (256, 2)}
GRIDS |= {"IQ3_S": (512, 3)}
every_grid = pytest.mark.parametrize("name", GRIDS)


@every_grid
def test_grid_points_are_distinct_and_found_at_their_place(name):
    size, shells = GRIDS[name]
    points = grid(name, shells)
    assert points.levels.shape == points.values.shape == (size, points.dim)
    assert np.array_equal(points.number[points.levels.astype(int) @ points.places], np.arange(size))
    assert (points.number >= 0).sum() == size


@every_grid
def test_neighbours_are_all_points_within_so_many_distances(name):
    points = grid(name, GRIDS[name][1])
    rng = np.random.default_rng(0)
    for place in rng.choice(np.flatnonzero(points.number < 0), 50, replace=False):
        levels = place // points.places % points.base
        distance = ((points.levels.astype(int) - levels) ** 2).sum(axis=1)
        reach = np.unique(distance)[: GRIDS[name][1]][-1]
        near = points.near[points.first[place] : points.first[place + 1]]
        assert sorted(near) == np.flatnonzero(distance <= reach).tolist()
        keys = list(zip(distance[near], near, strict=True))
        assert keys == sorted(keys)
    on_grid = np.flatnonzero(points.number >= 0)
    assert (points.first[on_grid] == points.first[on_grid + 1]).all()


@every_grid
def test_the_neighbour_chosen_errs_least(name):
    points = grid(name, GRIDS[name][1])
    rng = np.random.default_rng(1)
    place = rng.choice(np.flatnonzero(points.number < 0), 40)
    x, weights = rng.random((2, 40, points.dim)).astype(np.float32)
    table = 2 * np.arange(points.base, dtype=np.float32) + 1
    chosen = nearest_on_grid(place, x, weights, np.full(40, 0.1, np.float32), table, points)
    for row, at in enumerate(place):
        near = points.near[points.first[at] : points.first[at + 1]]
        errors = (weights[row] * (0.1 * table[points.levels[near]].astype(float) - x[row]) ** 2).sum(axis=1)
        mine = errors[np.flatnonzero(near == chosen[row])[0]]
        assert mine <= errors.min() * (1 + 1e-4)


@pytest.mark.parametrize("even", [False, True])
def test_signs_and_magnitudes_give_the_weights_back(even):
    x, weights = draw("normal", "ordinary", (50, 64), seed=1)
    weights = np.broadcast_to(weights, x.shape)
    magnitude, signs = split_signs(x, weights, even)
    assert np.array_equal(magnitude * expand_signs(signs, even), x)
    wrong = (magnitude < 0).reshape(50, 8, 8)
    if not even:
        assert not wrong.any()
        return
    assert signs.max() < 128
    odd = (x < 0).reshape(50, 8, 8).sum(axis=-1) % 2
    assert np.array_equal(wrong.sum(axis=-1), odd)
    cost = (weights * x * x).reshape(50, 8, 8)
    assert np.array_equal(cost[wrong], cost.min(axis=-1)[odd == 1])


@pytest.mark.parametrize("signs", [0, 1, 3, 126, 127])
def test_seven_bit_signs_hold_an_even_number_of_minuses(signs):
    minuses = (expand_signs(np.array([signs], np.uint8), even=True) < 0).sum()
    assert minuses % 2 == 0


def test_uneven_values_are_rounded_to_the_nearest():
    edges = np.concatenate([np.nextafter(search.MIDPOINTS, np.float32(at)) for at in (-1e9, 1e9)])
    v = np.concatenate([np.linspace(-200, 200, 4001, dtype=np.float32), search.MIDPOINTS, edges])
    values = search.VALUES.astype(float)
    distance = np.abs(v.astype(float)[:, None] - values)
    highest_of_nearest = 15 - distance[:, ::-1].argmin(axis=1)
    assert np.array_equal(search.nearest_value(v), highest_of_nearest)


def test_scales_of_the_microscaling_formats_are_those_of_the_types():
    every = np.arange(256, dtype=np.uint8)
    e8m0 = every[:255].view(ml_dtypes.float8_e8m0fnu).astype(np.float32)
    assert np.array_equal(2 * microscaling.power_of_two(every[:255]), e8m0)
    positive = every[:127].view(ml_dtypes.float8_e4m3fn).astype(np.float32)
    assert np.array_equal(2 * microscaling.small_float(every[:127]), positive)
    fp4 = np.arange(16, dtype=np.uint8).view(ml_dtypes.float4_e2m1fn).astype(np.float32)
    assert np.array_equal(microscaling.VALUES / 2, fp4)


def test_small_floats_are_rounded_to_the_nearest_below_the_top():
    x = np.concatenate([np.random.default_rng(2).random(5000) * 247, np.logspace(-5, 2, 5000)]).astype(np.float32)
    x = x[(x < 7.5 / 512) | (x >= 8 / 512)]  # between those ggml rounds down
    every = 2 * microscaling.small_float(np.arange(127, dtype=np.uint8)).astype(float)
    found = every[microscaling.to_small_float(x)]
    assert np.array_equal(np.abs(found - x), np.abs(every - x[:, None].astype(float)).min(axis=1))
    assert (microscaling.to_small_float(np.float32([248, 300, 1e30])) == 126).all()


@pytest.mark.parametrize("name, group", [("MXFP4", 32), ("NVFP4", 16)])
def test_four_bit_floats_are_the_nearest_for_their_scale(name, group):
    form = FORMATS[name]
    x, _ = draw("heavy tail", "none", (10, 512), seed=3)
    codes = form.unpack(form.quantize(x).reshape(-1, form.nbytes))
    error = np.abs(form.decode(codes) - x.reshape(-1, form.values))
    for other in range(16):
        rival = form.decode({**codes, "q": np.full_like(codes["q"], other)})
        assert (error <= np.abs(rival - x.reshape(-1, form.values)) * (1 + 1e-6)).all()


def test_every_five_digits_survive_the_byte():
    digits = np.array(list(product(range(3), repeat=5)))
    levels = np.ones((len(digits), 256), np.uint8)
    levels[:, ternary.BYTE == 7] = digits
    packed = ternary.pack_digits(levels)
    assert len(np.unique(packed[:, 7])) == 243
    back = ternary.digit_of(packed[:, 7, None], np.arange(5))
    assert np.array_equal(back, digits)


def test_both_ternary_formats_store_the_same_weights():
    x, _ = draw("normal", "none", (8, 512), seed=4)
    one, two = FORMATS["TQ1_0"], FORMATS["TQ2_0"]
    assert np.array_equal(one.dequantize(one.quantize(x)), two.dequantize(two.quantize(x)))
    levels, _ = draw("ternary", "none", (8, 512), seed=4)
    assert np.array_equal(one.dequantize(one.quantize(levels)), levels)


@pytest.mark.parametrize("scores, n, shifts", [("split_scores_s", 7, 2), ("split_scores_m", 10, 4)])
def test_no_assignment_of_levels_beats_the_best_split(scores, n, shifts):
    """Cutting the sorted weights in three is an exact search: tried against all 3ⁿ assignments of levels."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((1, 1, n)).astype(np.float32)
    weights = rng.random((1, 1, n)).astype(np.float32)
    order = np.argsort(x, axis=-1, kind="stable")
    tops, squares = getattr(iquants_ternary, scores)(x, weights, order)
    removed = (tops.astype(float) ** 2 / squares).max()
    levels = np.array(list(product((-1, 0, 1), repeat=n)))
    best = 0.0
    for shift in product((0.125, -0.125), repeat=shifts // 2):
        halves = np.where(np.arange(n) < 8, shift[0], shift[-1])
        q = levels + halves
        top, square = (weights[0, 0] * x[0, 0] * q).sum(axis=1), (weights[0, 0] * q * q).sum(axis=1)
        best = max(best, (top**2 / square).max())
    assert removed == pytest.approx(best, rel=1e-5)


def test_a_group_of_zeros_moves_codes_up_in_iq3_s_as_in_ggml():
    x, _ = draw("normal", "none", (1, 256), seed=6)
    x[0, 64:96] = 0
    codes = FORMATS["IQ3_S"].unpack(FORMATS["IQ3_S"].quantize(x))
    kept = iquants.IQ3_S.choose_reference(np.where(x == 0, np.float32(1e-3), x))
    assert np.array_equal(codes["sign"][0, 8:28], kept["sign"][0, 12:])
    assert np.array_equal(codes["q"][0, 16:56] & 255, kept["q"][0, 24:] & 255)
    assert not codes["sign"][0, 28:].any()


@pytest.mark.parametrize("name, dim", [("IQ2_XXS", 8), ("IQ2_XS", 8), ("IQ2_S", 8), ("IQ3_XXS", 4), ("IQ3_S", 4)])
def test_trace_holds_the_grid_points_of_every_candidate(name, dim):
    form = FORMATS[name]
    x, importance = draw("normal", "ordinary", (1, 256), seed=7)
    trace = form.trace(x[0], importance)
    groups, candidates = trace.scales.shape
    assert trace.tried["q"].shape == (groups, candidates, 256 // groups // dim)
    points = grid(name, GRIDS[name][1])
    q = 2 * points.levels[trace.tried["q"]].reshape(groups, candidates, -1).astype(float) + 1
    signs = expand_signs(trace.codes["sign"], even=form.layout.field("sign").width == 7)
    magnitude = (x[0] * signs).reshape(groups, 1, -1)
    error = (trace.weights[:, None] * (magnitude - trace.scales[..., None] * q) ** 2).sum(axis=-1)
    assert np.allclose(error, trace.errors, rtol=1e-4)


def test_which_formats_need_an_importance_matrix():
    needing = [form.name for form in FORMATS.values() if getattr(form, "requires_importance", False)]
    assert needing == ["IQ1_S", "IQ2_XXS", "IQ2_XS"]
