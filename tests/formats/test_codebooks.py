"""Codebook formats against bitsandbytes, bit for bit, and what must hold for any codebook.

The golden file holds inputs and outputs of bitsandbytes 0.50.2 on a processor; `q_exact` are the codes nearest by exact
comparison, which its 8-bit lookup table misses now and then.
"""

from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from drawn import weights
from hypothesis import given, settings
from hypothesis import strategies as st

from quantlib.errors import FormatError
from quantlib.formats import FORMATS, CodebookFormat, NestedScales, quantize_blockwise
from quantlib.formats.codebooks import nest_scales

CODEBOOKS = [form for form in FORMATS.values() if form.kind == "codebook"]
every_codebook = pytest.mark.parametrize("form", CODEBOOKS, ids=lambda form: form.name)
FOUR_BITS = {"nf4": "NF4", "fp4": "FP4_BNB"}


@pytest.fixture(scope="module")
def golden():
    with np.load(Path(__file__).parents[1] / "golden" / "methods" / "bitsandbytes.npz") as data:
        return dict(data)


@pytest.mark.parametrize(("name", "table"), [("NF4", "nf4"), ("FP4_BNB", "fp4"), ("DYNAMIC8", "dynamic8")])
def test_tables_are_those_of_bitsandbytes(golden, name, table):
    assert np.array_equal(FORMATS[name].entries, golden[f"code_{table}"])


@pytest.mark.parametrize("block", [64, 128])
@pytest.mark.parametrize("kind", FOUR_BITS)
def test_four_bit_codes_and_scales(golden, kind, block):
    form = replace(FORMATS[FOUR_BITS[kind]], block=block)
    stored = quantize_blockwise(golden["W"], form)
    assert np.array_equal(stored.packed, golden[f"{kind}_b{block}_packed"])
    assert np.array_equal(stored.scales, golden[f"b{block}_absmax"][: len(stored.scales)])
    assert stored.nbytes == stored.packed.nbytes + stored.scales.nbytes
    assert stored.bpw == 4 + 32 / block


@pytest.mark.parametrize(("kind", "dtype"), [("f16", np.float16), ("bf16", ml_dtypes.bfloat16)])
def test_half_precision_in_and_out(golden, kind, dtype):
    stored = quantize_blockwise(golden["W"].astype(dtype), FORMATS["NF4"])
    assert np.array_equal(stored.packed, golden[f"nf4_b64_{kind}in_packed"])
    assert np.array_equal(stored.scales, golden[f"nf4_b64_{kind}in_absmax"])
    assert np.array_equal(stored.decode().astype(dtype).view(np.uint16), golden[f"nf4_b64_{kind}in_dequant_bits"])


@pytest.mark.parametrize("block", [64, 128])
def test_double_quantization(golden, block):
    absmax = golden[f"b{block}_absmax"]
    nested = nest_scales(absmax)
    theirs = golden[f"b{block}_dq_offset"][()]
    assert abs(int(nested.offset.view(np.int32)) - int(theirs.view(np.int32))) <= 2  # the order of their sum is unknown
    assert np.array_equal(nested.codes, golden[f"b{block}_dq_absmax_u8_exact"])
    assert np.allclose(nested.absmax, golden[f"b{block}_dq_nested_absmax"], rtol=1e-6, atol=0)
    # Their lookup table gives another code now and then; decoding theirs gives theirs.
    looked_up = golden[f"b{block}_dq_absmax_u8"]
    assert (looked_up != nested.codes).mean() < 0.01
    assert np.array_equal(
        NestedScales(looked_up, golden[f"b{block}_dq_nested_absmax"], theirs).decode(),
        golden[f"b{block}_dq_absmax_deq"],
    )


def test_double_quantization_of_a_tensor_costs_what_it_says(golden):
    stored = quantize_blockwise(golden["W"], FORMATS["NF4"], double=True)
    weights = golden["W"].size
    assert stored.bpw == pytest.approx(4 + 8 / 64 + 32 / (64 * 256) + 32 / weights)
    plain = quantize_blockwise(golden["W"], FORMATS["NF4"])
    assert np.array_equal(stored.codes, plain.codes)
    loss = [float(np.square(golden["W"] - s.decode()).sum()) for s in (plain, stored)]
    assert loss[0] < loss[1] < 1.02 * loss[0]


@pytest.mark.parametrize("block", [256, 4096])
def test_eight_bit_codes_and_scales_with_a_short_last_block(golden, block):
    form = replace(FORMATS["DYNAMIC8"], block=block)
    stored = quantize_blockwise(golden["A"], form)
    assert golden["A"].size % block
    assert np.array_equal(stored.scales, golden[f"b{block}_A_absmax"])
    assert np.array_equal(stored.codes, golden[f"b{block}_q_exact"])
    assert np.array_equal(stored.packed, stored.codes)
    looked_up = golden[f"b{block}_q"]
    assert 0 < (looked_up != stored.codes).mean() < 0.005
    theirs = replace(stored, codes=looked_up).decode()
    assert np.array_equal(theirs[-1500:], golden[f"b{block}_A_deq"])
    assert np.abs(golden["A"] - stored.decode()).sum() < np.abs(golden["A"] - theirs).sum()


@every_codebook
def test_nearest_is_nearest(form):
    x = np.concatenate([np.random.default_rng(0).uniform(-1, 1, 5000), np.linspace(-1, 1, 2001), form.entries])
    x = x.astype(np.float32)
    distance = np.abs(x[:, None].astype(float) - form.entries)  # (numbers, entries)
    chosen = distance[np.arange(len(x)), form.nearest(x)]
    assert (chosen <= distance.min(axis=1) + 2.0**-24).all()  # halves are computed in float32


@every_codebook
def test_every_entry_is_kept(form):
    ordered = form.entries[form.order]
    assert (np.diff(ordered) >= 0).all() and ordered[-1] == 1 and 0 in ordered
    assert np.array_equal(form.entries[form.nearest(form.entries)], form.entries)
    blocks = np.full((len(form.table), form.block), np.float32(3))
    blocks[:, 0] = 3 * form.entries
    decoded = form.dequantize(form.quantize(blocks))
    assert np.allclose(decoded[:, 0], blocks[:, 0], rtol=1e-6, atol=0)


@every_codebook
def test_rows_hold_what_the_layout_says(form):
    x = np.random.default_rng(1).standard_normal((3, 5, 4 * form.block)).astype(np.float32)
    data = form.quantize(x)
    assert data.shape == (3, 5, form.row_bytes(4 * form.block)) == (3, 5, 4 * form.nbytes)
    blocks = data.reshape(3, 5, 4, form.nbytes)
    codes, absmax = form.encode(x.reshape(3, 5, 4, form.block))
    assert np.array_equal(form.pack({"d": absmax, "q": codes}), blocks)
    unpacked = form.unpack(blocks)
    assert np.array_equal(unpacked["q"], codes) and np.array_equal(unpacked["d"], absmax)
    assert np.array_equal(form.dequantize(data), form.decode(unpacked).reshape(x.shape))
    whole = quantize_blockwise(x, form)
    assert np.array_equal(whole.codes, codes.reshape(-1)) and np.array_equal(whole.decode(), form.dequantize(data))
    assert form.bpw == form.bits + 32 / form.block == 8 * form.nbytes / form.values


@every_codebook
def test_addresses_tile_the_block(form):
    addresses = np.concatenate([field.bits.ravel() for field in form.layout.fields])
    assert sorted(addresses) == list(range(8 * form.nbytes))


@every_codebook
@settings(max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), power=st.integers(-30, 30))
def test_error_is_at_most_half_the_widest_gap(form, seed, power):
    x = weights(seed, (form.block,)) * np.float32(10.0**power)
    gap = np.diff(form.entries[form.order]).max()
    reach = 1 + form.entries.min()  # DYNAMIC8 has no −1: the lowest entry may be farther away than half a gap
    bound = np.abs(x).max() * (max(float(gap) / 2, float(reach)) + 2.0**-23)
    assert (np.abs(form.dequantize(form.quantize(x)).astype(float) - x) <= bound).all()


@every_codebook
def test_zeros_and_the_smallest_numbers(form):
    zeros = np.zeros(form.block, np.float32)
    assert not form.dequantize(form.quantize(zeros)).any()
    tiny = zeros.copy()
    tiny[:2] = 1e-45, -1e-45
    assert np.array_equal(form.dequantize(form.quantize(tiny))[2:], zeros[2:])
    assert np.isfinite(form.dequantize(form.quantize(tiny))).all()


def test_signs_of_four_bit_floats_near_zero():
    form = FORMATS["FP4_BNB"]
    assert form.nearest(np.float32([0, 1e-9, -1e-9])).tolist() == [0, 8, 0]  # as bitsandbytes decides


def test_an_odd_number_of_four_bit_codes():
    stored = quantize_blockwise(np.float32([1, -1, 0.5]), FORMATS["NF4"])
    assert stored.packed.tolist() == [0xF0, int(stored.codes[2]) << 4]
    assert stored.nbytes == 2 + 4 and stored.shape == (3,)


def test_what_cannot_be_stored_is_refused():
    form = FORMATS["NF4"]
    with pytest.raises(FormatError, match="NF4 stores weights in blocks of 64, and a row of 65"):
        form.quantize(np.zeros(65, np.float32))
    with pytest.raises(FormatError, match="NF4 cannot store NaN, found at index 3"):
        form.quantize(np.where(np.arange(64) == 3, np.float32(np.nan), np.float32(0)))
    with pytest.raises(FormatError, match=r"NF4 cannot store -infinity, found at index \(0, 1\)"):
        quantize_blockwise(np.float32([[0, -np.inf]]), form)
    with pytest.raises(FormatError, match="no weights"):
        quantize_blockwise(np.zeros((0, 3), np.float32), form)
    with pytest.raises(FormatError, match="16 or 256 entries, not 3"):
        CodebookFormat("T", "Too few.", (-1.0, 0.0, 1.0), 64)
    with pytest.raises(FormatError, match="even number of weights, not 63"):
        replace(form, block=63)
