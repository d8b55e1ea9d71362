"""Block formats against ggml's bytes, the gguf package, their own references, and what rounding allows."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gguf
import ml_dtypes
import numpy as np
import pytest
from families import FAMILIES, IMPORTANCE, draw, needed
from ggml_library import ggml_name
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from quantlib.errors import FormatError, ScaleError
from quantlib.formats import FORMATS
from quantlib.formats.blocks import search

BLOCKS = [form for form in FORMATS.values() if form.kind == "block"]
every_block = pytest.mark.parametrize("form", BLOCKS, ids=lambda form: form.name)
GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "ggml_blocks.npz")
ROWS = 2  # of each family: with all families, many more blocks than a kernel takes together
DECODED_BY_GGUF = {int(kind) for kind in gguf.quants._type_traits}


K_QUANTS = [form for form in BLOCKS if form.name.endswith("_K")]
every_k_quant = pytest.mark.parametrize("form", K_QUANTS, ids=lambda form: form.name)


def golden(form, important: bool) -> np.ndarray | None:
    key = ggml_name(form) + "+imatrix" * important
    return GOLDEN.get(key)


@every_block
@pytest.mark.parametrize("method", ["ggml_bytes", "ggml_bytes_reference"])
def test_golden_bytes(form, method):
    checked = 0
    for importance in (None, GOLDEN["imatrix"]):
        theirs = golden(form, importance is not None)
        if theirs is None:
            assert importance is None and form.requires_importance
            continue
        data = getattr(form, method)(GOLDEN["x"], importance)
        wrong = np.flatnonzero((data != theirs).any(axis=-1))
        families = [str(GOLDEN["families"][row % len(GOLDEN["families"])]) for row in wrong]
        assert not families, "with importance" if importance is not None else "without importance"
        checked += 1
    assert checked


# Importance of every kind where it has a say, and of one kind where it has none.
WEIGHED = [
    pytest.param(form, importance, id=f"{importance}-{form.name}")
    for form in BLOCKS
    for importance in (IMPORTANCE if form.uses_importance else ("none", "ordinary"))
]


@pytest.mark.parametrize(("form", "importance"), WEIGHED)
def test_kernel_equals_reference(form, importance):
    x = np.concatenate([draw(family, "none", (ROWS, 512), seed=5)[0] for family in FAMILIES])
    _, important = draw("normal", importance, (1, 512), seed=5)
    important = needed(form, important, 512)
    wrong = (form.ggml_bytes(x, important) != form.ggml_bytes_reference(x, important)).any(axis=-1)
    assert not wrong.any(), [f for f, rows in zip(FAMILIES, wrong.reshape(-1, ROWS), strict=True) if rows.any()]


def test_sub_codes_that_overflow_spill_as_in_ggml():
    """A negative scale wraps to a sub-code above 63, which six bits cannot hold."""
    form = FORMATS["Q4_K"]
    x, importance = draw("normal", "few", (200, 1024), seed=16)
    spread = np.tile(importance, 200).reshape(-1, 8, 32)
    groups = x.reshape(-1, 8, 32)
    with np.errstate(all="ignore"):
        found = search.scale_and_minimum(groups, spread, levels=15, first=-0.9, step=0.05, steps=36)
        _, codes = search.positive_scale(found.scale, search.total(spread), levels=63)
    assert codes.max() > 63
    assert np.array_equal(form.ggml_bytes(x, importance), form.ggml_bytes_reference(x, importance))


@every_block
@given(st.data())
@settings(max_examples=25, deadline=None)
def test_kernel_equals_reference_on_adversarial_numbers(form, data):
    few = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 1e-15, 3e38, -3e38, 1e-45, 1.1754944e-38, 1e-30, 65504.0])
    numbers = few | st.floats(width=32, allow_nan=False, allow_infinity=False)
    x = data.draw(arrays(np.float32, (2, form.values), elements=numbers, fill=few))
    sizes = st.floats(0, 2.0**100, width=32)
    importance = data.draw(st.none() | arrays(np.float32, form.values, elements=sizes, fill=sizes))
    importance = needed(form, importance, form.values)
    ours, readable = (encode(x, importance) for encode in (form.ggml_bytes, form.ggml_bytes_reference))
    if form.name.startswith(("IQ2", "IQ3")):
        # Where sums overflow, ggml finds no point of its grid and stops: such a block is refused, whatever it holds.
        refused = form.layout.overflowed(ours)
        assert np.array_equal(refused, form.layout.overflowed(readable))
        ours, readable = ours[~refused], readable[~refused]
    assert np.array_equal(ours, readable)


@every_block
@pytest.mark.parametrize("importance", ["none", "ordinary"])
def test_rows_whose_scale_half_precision_cannot_hold_are_refused(form, importance):
    """Exactly those; all others keep ggml's bytes."""
    x = np.concatenate([draw(family, "none", (2, 512), seed=5)[0] for family in FAMILIES])
    x = np.concatenate([x, 1e8 * x[:2]])
    important = needed(form, draw("normal", importance, (1, 512), seed=5)[1], 512)
    data = form.ggml_bytes(x, important)
    codes = form.unpack(data.reshape(len(x), -1, form.nbytes))
    halves = [codes[field.name] for field in form.layout.fields if field.dtype == "f2"]
    fits = np.logical_and.reduce([np.isfinite(half).all(axis=(1, 2)) for half in halves] + [np.ones(len(x), bool)])
    assert fits.all() == (not halves)
    assert np.array_equal(form.quantize(x[fits], important), data[fits])
    for row in np.flatnonzero(~fits):
        both = np.stack([x[0], x[row]])
        for quantize in (form.quantize, form.quantize_reference):
            with pytest.raises(ScaleError, match="in FP16, which ends at 65504, and row 1 needs one beyond: its larg"):
                quantize(both, important)
        with pytest.raises(ScaleError, match=r"and row \(0, 1\) needs"):
            form.quantize(both[None], important)


def valid_bytes(form) -> np.ndarray:
    """Random blocks whose half-precision scales are finite."""
    rng = np.random.default_rng(4)
    codes = form.unpack(rng.integers(0, 256, (4, 100, form.nbytes), np.uint8))
    for field in form.layout.fields:
        if field.dtype == "f2":
            wild = ~np.isfinite(codes[field.name])
            codes[field.name][wild] = rng.standard_normal(wild.sum()).astype(np.float16)
    return form.pack(codes).reshape(4, -1)


@every_block
def test_decode_kernel_equals_the_formula(form):
    data = valid_bytes(form)
    formula = form.decode(form.unpack(data.reshape(4, -1, form.nbytes)))
    assert np.array_equal(form.dequantize(data).view(np.uint32), formula.reshape(4, -1).view(np.uint32))


@pytest.mark.parametrize(
    "form", [form for form in BLOCKS if form.ggml_type in DECODED_BY_GGUF], ids=lambda form: form.name
)
def test_decoding_is_that_of_the_gguf_package(form):
    data = valid_bytes(form)
    theirs = gguf.quants.dequantize(data, gguf.GGMLQuantizationType(form.ggml_type))
    assert np.array_equal(form.dequantize(data).view(np.uint32), theirs.view(np.uint32))


def half_a_step(form, x: np.ndarray) -> np.ndarray:
    """How far rounding to a block's grid may move its weights x (blocks, 32): half a step, and what storing costs.

    A grid around zero has one level less above zero than below: what lies beyond is held to the last, a step at most.
    """
    codes = form.unpack(form.quantize(x.astype(np.float32)))
    width = form.layout.field("q").width
    top = (1 << width) - 1
    stored = codes["d"].astype(float)
    if "m" in codes:
        d = (x.max(axis=-1, keepdims=True) - x.min(axis=-1, keepdims=True)) / top
        return d / 2 + top * np.abs(stored - d) + np.abs(codes["m"].astype(float) - x.min(axis=-1, keepdims=True))
    reach = 127 if width == 8 else 1 << (width - 1)
    d = np.abs(x).max(axis=-1, keepdims=True) / reach
    beyond = (codes["q"] == top) if width < 8 else False
    return np.where(beyond, d, d / 2) + reach * np.abs(np.abs(stored) - d)


@pytest.mark.parametrize("family", ["normal", "heavy tail", "one outlier", "mixed scale", "halves", "grid"])
@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
def test_a_plain_grid_errs_by_half_a_step_at_most(name, family):
    form = FORMATS[name]
    x, _ = draw(family, "none", (20, 512), seed=6)
    blocks = x.reshape(-1, 32).astype(float)
    stored = form.unpack(form.quantize(x).reshape(-1, form.nbytes))
    error = np.abs(form.decode(stored) - blocks)
    assert (error <= half_a_step(form, blocks) * (1 + 1e-5) + 1e-6 * np.abs(blocks)).all()


@pytest.mark.parametrize("family", ["normal", "heavy tail", "positive", "negative"])
@every_k_quant
def test_final_codes_are_the_nearest_for_the_stored_scales(form, family):
    """Given the scales, no other code would bring a weight closer (up to float32 rounding)."""
    x, importance = draw(family, "ordinary", (8, 1024), seed=7)
    codes = form.unpack(form.quantize(x, importance).reshape(-1, form.nbytes))
    wide = x.reshape(-1, 256).astype(float)
    error = np.abs(form.decode(codes) - wide)
    width = form.layout.field("q").width
    for other in range(1 << width):
        rival = form.decode({**codes, "q": np.full_like(codes["q"], other)})
        assert (error <= np.abs(rival - wide) + 1e-5 * np.abs(wide).max(axis=-1, keepdims=True)).all()


@every_block
def test_error_is_near_what_so_many_bits_allow(form):
    """No code of R bits brings the error of normal weights below 4^-R of their power; ours come near.

    Formats for models trained to have three levels cannot, and store those exactly.
    """
    x, importance = draw("llm", "none", (16, 1024), seed=8)
    importance = needed(form, importance, 1024)
    relative = np.square(form.dequantize(form.quantize(x, importance)) - x).mean() / np.square(x).mean()
    assert relative > 4**-form.bpw
    levels, _ = draw("ternary", "none", (16, 1024), seed=8)
    exact = np.array_equal(form.dequantize(form.quantize(levels, importance)), levels)
    assert relative < 8 * 4**-form.bpw or (form.bpw < 2.5 and exact)


@pytest.mark.parametrize("form", [form for form in BLOCKS if form.uses_importance], ids=lambda form: form.name)
def test_importance_lowers_the_error_it_weights(form):
    x, importance = draw("llm", "ordinary", (64, 1024), seed=9)

    def loss(steering) -> float:
        return float((importance * np.square(form.dequantize(form.quantize(x, steering)) - x)).sum())

    assert loss(importance) < loss(needed(form, None, 1024))


@every_block
def test_rows_are_independent_and_any_leading_shape_works(form):
    x, importance = draw("normal", "ordinary", (6, 512), seed=10)
    data = form.quantize(x, importance)
    assert data.shape == (6, form.row_bytes(512))
    assert np.array_equal(form.quantize(x.reshape(2, 3, 512), importance), data.reshape(2, 3, -1))
    assert np.array_equal(form.quantize(x[4], importance), data[4])
    assert np.array_equal(form.quantize(np.asfortranarray(x), importance), data)
    assert form.dequantize(data.reshape(2, 3, -1), 512).shape == (2, 3, 512)
    assert form.quantize(x[:0], importance).shape == (0, form.row_bytes(512))
    assert form.dequantize(data[:0]).shape == (0, 512)


@every_block
def test_threads_give_the_same_bytes(form):
    x, importance = draw("normal", "ordinary", (64, 1024), seed=15)
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda rows: form.quantize(rows, importance), np.split(x, 16)))
        values = list(pool.map(form.dequantize, parts))
    assert np.array_equal(np.concatenate(parts), form.quantize(x, importance))
    assert np.array_equal(np.concatenate(values), form.dequantize(form.quantize(x, importance)))


@every_block
def test_other_float_types_read_only_and_unaligned_input(form):
    x, even = draw("normal", "none", (3, 512), seed=11)[0], needed(form, None, 512)
    for dtype in (np.float64, np.float16, ml_dtypes.bfloat16):
        narrow = x.astype(dtype)
        assert np.array_equal(form.quantize(narrow, even), form.quantize(narrow.astype(np.float32), even))
    unaligned = np.frombuffer(b"x" + x.tobytes(), np.float32, offset=1).reshape(x.shape)
    data = form.quantize(x, even)
    assert np.array_equal(form.quantize(unaligned, even), data)
    stored = np.frombuffer(data.tobytes(), np.uint8).reshape(data.shape)
    assert np.array_equal(form.dequantize(stored), form.dequantize(data))


@every_block
@pytest.mark.parametrize("importance", ["none", "ordinary"])
@pytest.mark.parametrize("family", ["normal", "one outlier", "mixed scale", "zeros", "constant", "positive"])
def test_trace_tells_what_happened(form, family, importance):
    x, important = draw(family, importance, (1, form.values), seed=12)
    important = needed(form, important, form.values)
    trace = form.trace(x[0], important)
    data = form.quantize(x, important)[0]
    assert np.array_equal(trace.data, data)
    for name, code in form.unpack(data).items():
        assert np.array_equal(trace.codes[name], code), name
    assert np.array_equal(trace.decoded, form.dequantize(data))
    assert trace.scales.shape == trace.minima.shape == trace.errors.shape
    assert trace.weights.shape == (trace.groups, form.values // trace.groups)
    power = (trace.weights * x.reshape(trace.groups, -1) ** 2).sum(axis=-1)  # near ties are decided in float32
    for group, (errors, winner) in enumerate(zip(trace.errors, trace.winner, strict=True)):
        usable = errors[~np.isnan(errors)]
        assert not len(usable) or errors[winner] <= usable.min() + 1e-6 * power[group]


@pytest.mark.parametrize("importance, candidates", [("none", 22), ("ordinary", 38)])
def test_trace_of_q4_k_has_every_candidate(importance, candidates):
    x, important = draw("normal", importance, (1, 256), seed=13)
    trace = FORMATS["Q4_K"].trace(x[0], important)
    assert trace.scales.shape == (8, candidates)
    assert len(set(trace.winner.tolist())) > 1
    groups = x.reshape(8, 32).astype(float)
    for group in range(8):
        scale, minimum = trace.scales[group, trace.winner[group]], trace.minima[group, trace.winner[group]]
        q = np.clip(np.rint((groups[group] + minimum) / scale), 0, 15)
        error = (trace.weights[group] * (scale * q - minimum - groups[group]) ** 2).sum()
        assert error <= trace.errors[group, trace.winner[group]] * (1 + 1e-4)  # rounding to the fitted line is no worse


@every_block
def test_the_formula_in_numbers_gives_the_decoded_value(form):
    x, _ = draw("llm", "none", (1, form.values), seed=14)
    trace = form.trace(x[0], needed(form, None, form.values))
    for weight in (0, 1, form.values // 2, form.values - 1):
        symbols, numbers, result = form.spell(trace.codes, weight)
        assert symbols != numbers and "{" not in symbols + numbers
        worked = eval(numbers.replace("·", "*").replace("−", "-"))
        assert worked == pytest.approx(float(trace.decoded[weight]), rel=1e-3, abs=1e-5)
        assert float(result.replace("−", "-")) == pytest.approx(float(trace.decoded[weight]), rel=1e-5)


@every_block
@pytest.mark.parametrize("bad, word", [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "-infinity")])
def test_what_no_block_can_hold_is_refused_with_its_place(form, bad, word):
    x = np.zeros((3, 512), np.float32)
    x[1, 300] = x[2, 5] = bad
    even = needed(form, None, 512)
    with pytest.raises(FormatError, match=rf"{form.name} cannot store {word}, found at index \(1, 300\)"):
        form.quantize(x, even)
    with pytest.raises(FormatError, match="at index 300:"):
        form.quantize(x[1], even)


@every_block
def test_wrong_rows_are_refused(form):
    n = form.values + 1
    with pytest.raises(FormatError, match=f"blocks of {form.values}, and a row of {n} is not a multiple"):
        form.quantize(np.zeros((2, n), np.float32))
    with pytest.raises(FormatError, match="not a multiple"):
        form.row_bytes(n)
    with pytest.raises(FormatError, match="not a whole number"):
        form.dequantize(np.zeros(form.nbytes + 1, np.uint8))
    with pytest.raises(FormatError, match=f"hold {form.values} weights each, not 7"):
        form.dequantize(np.zeros(form.nbytes, np.uint8), 7)
    with pytest.raises(FormatError, match="are uint8"):
        form.dequantize(np.zeros(form.nbytes, np.int8))
    with pytest.raises(FormatError, match="Only floating-point"):
        form.quantize(np.zeros(form.values, np.int32))
    with pytest.raises(FormatError, match="A single number"):
        form.quantize(np.float32(1))
    with pytest.raises(FormatError, match="follows one block"):
        form.trace(np.zeros(2 * form.values, np.float32), needed(form, None, 2 * form.values))


@every_block
@pytest.mark.parametrize(
    "importance, message",
    [
        (np.ones(511), "one number for each of the 512 columns"),
        (np.where(np.arange(512) == 9, -1, 1), "column 9 is -1"),
        (np.where(np.arange(512) == 8, np.nan, 1), "column 8 is NaN"),
        (np.where(np.arange(512) == 7, np.inf, 1), "column 7 is infinity"),
    ],
)
def test_wrong_importance_is_refused(form, importance, message):
    with pytest.raises(FormatError, match=message):
        form.quantize(np.zeros((2, 512), np.float32), importance)


@pytest.mark.parametrize("form", [form for form in BLOCKS if form.requires_importance], ids=lambda form: form.name)
def test_formats_that_need_importance_say_so(form):
    with pytest.raises(FormatError, match="needs an importance matrix"):
        form.quantize(np.zeros((2, form.values), np.float32))


@every_block
def test_importance_that_has_no_say_changes_nothing(form):
    x, importance = draw("llm", "ordinary", (16, 512), seed=16)
    same = np.array_equal(form.quantize(x, importance), form.quantize(x, needed(form, None, 512)))
    assert same == (not form.uses_importance)
