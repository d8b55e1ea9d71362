"""The file layouts against what their reference packers wrote, bit for bit.

The golden files hold inputs and outputs of GPTQModel 7.7, AutoAWQ, bitsandbytes 0.50 and compressed-tensors 0.20.
"""

from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantlib.errors import MethodError
from quantlib.exports import bitsandbytes, compressed
from quantlib.exports.awq import awq
from quantlib.exports.gptq import gptq
from quantlib.exports.schemes import PLAIN
from quantlib.exports.words import words
from quantlib.formats.codebooks import FP4_BNB, NF4, nest_scales, quantize_blockwise
from quantlib.methods.llm_int8 import int8_weight

GOLDEN = Path(__file__).parents[1] / "golden"
SCHEMES = {scheme.name: scheme for scheme in PLAIN}
FLOAT32 = np.dtype(np.float32)
EPSILON = 2**-23  # what compressed-tensors takes for the scale of a group of zeros; ours is 0, and both decode to 0


@pytest.fixture(scope="module")
def layouts():
    with np.load(GOLDEN / "exports" / "layouts.npz") as data:
        yield data


@pytest.fixture(scope="module")
def integers():
    with np.load(GOLDEN / "methods" / "compressed_tensors.npz") as data:
        yield data


@given(st.integers(2, 8), st.integers(1, 70), st.data())
def test_words_hold_codes_one_after_the_other(bits, n, data):
    codes = np.array(data.draw(st.lists(st.integers(0, 2**bits - 1), min_size=n, max_size=n)), np.uint8)
    packed = words(codes, bits)
    assert packed.dtype == np.int32 and packed.shape == (-(-n * bits // 32),)
    number = sum(int(word) << (32 * at) for at, word in enumerate(packed.view(np.uint32)))
    assert [number >> bits * at & (2**bits - 1) for at in range(n)] == codes.tolist()
    assert number >> bits * n == 0


@pytest.mark.parametrize("case", ["b4_g128_act1_sym1", "b4_g128_act0_sym0", "b3_g128_act1_sym0", "b3_g128_act0_sym1"])
def test_gptq(layouts, case):
    codes, scale, zero, g_idx = (layouts[f"{case}_{part}"] for part in ("codes", "scale", "zero", "gidx"))
    kept = gptq(codes, scale, zero, g_idx, bits=int(case[1]))
    for name, array in kept.tensors.items():
        np.testing.assert_array_equal(array, layouts[f"{case}_{name}"], err_msg=name)
        assert array.dtype == layouts[f"{case}_{name}"].dtype
    loaded = layouts[f"{case}_dequant"]  # FP16 (64 inputs, outputs)
    np.testing.assert_array_equal(kept.decoded[:, :64].T.astype(np.float16), loaded)


def test_awq():
    with np.load(GOLDEN / "methods" / "awq.npz") as data:
        kept = awq(data["pq_b4_g128_codes"], data["pq_b4_g128_scales"], data["pq_b4_g128_zeros"])
        np.testing.assert_array_equal(kept.tensors["qweight"], data["gemm_qweight"])
        np.testing.assert_array_equal(kept.tensors["qzeros"], data["gemm_qzeros"])
        np.testing.assert_array_equal(kept.tensors["scales"], data["gemm_scales_f16"])


@pytest.mark.parametrize("bits", [4, 8])
def test_packed_integers(integers, bits):
    kept = SCHEMES[f"w{bits}a16"].store(integers["W"], FLOAT32)
    golden = integers[f"w{bits}a16_sym_scale"]
    np.testing.assert_array_equal(kept.tensors["weight_packed"], integers[f"w{bits}a16_sym_packed"])
    np.testing.assert_array_equal(kept.tensors["weight_scale"], np.where(golden == EPSILON, 0, golden))
    assert kept.tensors["weight_shape"].tolist() == list(integers["W"].shape)
    loaded = integers[f"w{bits}a16_sym_decompressed"]  # the first rows
    np.testing.assert_array_equal(kept.decoded[: len(loaded)], loaded)


def test_fp8_errs_by_half_a_step_at_most(integers):
    weight = integers["W"]
    kept = SCHEMES["fp8"].store(weight, FLOAT32)
    assert kept.tensors["weight"].dtype == ml_dtypes.float8_e4m3fn
    half_step = np.maximum(np.abs(weight) * 2**-4, kept.tensors["weight_scale"] * 2**-10)
    assert (np.abs(kept.decoded - weight) <= half_step * (1 + 1e-6)).all()  # x / scale is rounded, too


@pytest.mark.parametrize("name", ["nvfp4", "mxfp4"])
def test_four_bit_floats(layouts, name):
    weight = layouts["fp4_W"]  # some rows, the one of the largest weight among them
    kept = SCHEMES[name].store(weight, FLOAT32)
    np.testing.assert_array_equal(kept.tensors["weight_packed"], layouts[f"{name}_weight_packed"])
    size = weight.shape[1] // layouts[f"{name}_weight_scale"].shape[1]
    zeros = (weight.reshape(len(weight), -1, size) == 0).all(-1)  # any scale will do
    ours, theirs = kept.tensors["weight_scale"].view(np.uint8), layouts[f"{name}_weight_scale"]
    np.testing.assert_array_equal(ours[~zeros], theirs[~zeros])
    if name == "nvfp4":
        np.testing.assert_array_equal(kept.tensors["weight_global_scale"], layouts["nvfp4_weight_global_scale"])


@pytest.mark.parametrize(("form", "name"), [(NF4, "nf4"), (FP4_BNB, "fp4")])
def test_bitsandbytes_four_bits(form, name):
    with np.load(GOLDEN / "methods" / "bitsandbytes.npz") as data:
        stored = quantize_blockwise(data["W"], form)
        stored = replace(stored, scales=nest_scales(data["b64_absmax"]))  # of all rows; the file has the first weights
        tensors = bitsandbytes.four_bits(stored, "float32").tensors
        np.testing.assert_array_equal(tensors["weight"].ravel(), data[f"{name}_b64_packed"].ravel())
        np.testing.assert_array_equal(tensors["weight.absmax"], data["b64_dq_absmax_u8_exact"])
        np.testing.assert_array_equal(tensors["weight.nested_absmax"], data["b64_dq_nested_absmax"])
        np.testing.assert_array_equal(tensors["weight.quant_map"], data[f"code_{name}"])
        np.testing.assert_array_equal(tensors["weight.nested_quant_map"], data["code_dynamic8"])


def test_bitsandbytes_eight_bits():
    with np.load(GOLDEN / "methods" / "llm_int8.npz") as data:
        kept = bitsandbytes.eight_bits(int8_weight(data["W_f16"]))
        np.testing.assert_array_equal(kept.tensors["weight"], data["CB"])
        np.testing.assert_array_equal(kept.tensors["SCB"], data["SCB"])
        np.testing.assert_allclose(kept.decoded, data["W_deq_f32"], rtol=1e-6)


@pytest.mark.parametrize("scheme", PLAIN, ids=lambda s: s.name)
def test_zeros_stay_zeros_and_shapes_fit(scheme):
    kept = scheme.store(np.zeros((8, 256), np.float32), FLOAT32)
    assert kept.decoded.shape == (8, 256)
    assert not kept.decoded.any()


@pytest.mark.parametrize("pack", [lambda c: gptq(c, c[:, :1], c[:, :1], np.zeros(12), 3), lambda c: awq(c, c, c)])
def test_what_does_not_fill_words_is_refused(pack):
    with pytest.raises(MethodError, match="scheme"):
        pack(np.zeros((12, 12), np.uint8))


@pytest.mark.parametrize("store", [compressed.nvfp4, compressed.mxfp4])
def test_widths_that_groups_do_not_divide(store):
    with pytest.raises(MethodError, match="do not divide"):
        store(np.zeros((4, 24), np.float32))
