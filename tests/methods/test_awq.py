"""AWQ: scales, losses and clipping of llm-awq and AutoAWQ, and what the method promises by construction."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantlib.errors import FormatError, MethodError
from quantlib.methods.awq import (
    AffineGroups,
    awq,
    clamp,
    fold,
    layer_error,
    module_error,
    search_clip,
    search_scales,
)
from quantlib.methods.hessian import Gram

BITS_GROUPS = [(4, 128), (3, 128)]


def feed_forward(x, gate, up):
    g = x @ gate.T
    return g / (1 + np.exp(-g)) * (x @ up.T)


@pytest.fixture(scope="module")
def golden():
    """A SwiGLU block of 256 and 512 channels, 1,024 tokens of its input, and what the reference codes made of it."""
    with np.load(Path(__file__).parents[1] / "golden" / "methods" / "awq.npz") as data:
        arrays = dict(data)
    x = arrays["X_f16"].astype(np.float32)
    middle = feed_forward(x, arrays["Wg"], arrays["Wu"])
    assert np.allclose(middle[:4], arrays["hmid_check"], atol=2e-5)
    return arrays | {"x": x, "middle": middle, "gram": Gram.of(x), "middle_gram": Gram.of(middle)}


@pytest.fixture(scope="module", params=["gateup_mlp", "single"])
def searched(request, golden):
    """case, the matrices that share an input, the statistics of that input, the error that is minimized."""
    if request.param == "single":
        return request.param, [golden["Wd"]], golden["middle_gram"], layer_error([golden["Wd"]], golden["middle_gram"])
    pair = [golden["Wg"], golden["Wu"]]
    block = module_error(pair, lambda ws: feed_forward(golden["x"], *ws) @ golden["Wd"].T)
    return request.param, pair, golden["gram"], block


@pytest.mark.parametrize("variant", ["llmawq", "autoawq"])
@pytest.mark.parametrize(("bits", "group"), BITS_GROUPS)
def test_scales_and_losses_are_the_references(golden, searched, variant, bits, group):
    case, weights, gram, error = searched
    assert np.allclose(gram.mean_magnitudes, golden[f"{case}_xmean"], rtol=1e-5)
    found = search_scales(weights, gram.mean_magnitudes, AffineGroups(bits, group), error, variant == "autoawq")
    name = f"{variant}_b{bits}_g{group}_{case}"
    assert np.allclose(found.losses, golden[f"{name}_loss"], rtol=1e-3)  # sums of float32 in another order
    assert np.allclose(found.scales, golden[f"{name}_scales"], rtol=1e-5)
    if variant == "llmawq":
        assert found.losses[0] == pytest.approx(float(golden[f"{case}_b{bits}_g{group}_rtn_loss"]), rel=1e-3)


@pytest.mark.parametrize("matrix", ["gate", "down"])
@pytest.mark.parametrize(("bits", "group"), BITS_GROUPS)
def test_clipping_is_the_references(golden, matrix, bits, group):
    weight, x = (golden["Wg"], golden["x"]) if matrix == "gate" else (golden["Wd"], golden["middle"])
    parts = x[::2].reshape(512, -1, group).transpose(1, 2, 0)  # the references take 512 tokens
    found = search_clip(weight, parts @ parts.transpose(0, 2, 1) / np.float32(512), AffineGroups(bits, group))
    for variant in ("llmawq", "autoawq"):
        theirs = golden[f"{variant}_clip_b{bits}_g{group}_{matrix}"][..., 0]
        assert np.mean(~np.isclose(found.limits, theirs, rtol=1e-5)) <= 0.002  # ties of float32 sums
    assert np.abs(clamp(weight, found.limits)).max() <= found.limits.max()


def test_codes_are_the_references(golden):
    stored = AffineGroups(4, 128).round(golden["Wg"])
    assert np.array_equal(stored.codes, golden["pq_b4_g128_codes"])
    assert np.array_equal(stored.scales, golden["pq_b4_g128_scales"])
    assert np.array_equal(stored.zeros, golden["pq_b4_g128_zeros"])


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), bits=st.integers(2, 8), group=st.sampled_from([16, 64]), clip=st.booleans())
def test_it_is_round_to_nearest_at_alpha_0_and_better_at_the_best(seed, bits, group, clip):
    rng = np.random.default_rng(seed)
    weights = [rng.standard_t(4, (n, 64)).astype(np.float32) for n in (8, 24)]
    gram = Gram.of((rng.standard_normal((100, 64)) * np.exp(rng.standard_normal(64))).astype(np.float32))
    grid, error = AffineGroups(bits, group), layer_error(weights, gram)
    unscaled = awq(weights, gram, grid, clip=False, alphas=(0.0,))
    nearest = [grid.round(w).decode() for w in weights]
    for ours, plain in zip(unscaled.dequantized(), nearest, strict=True):
        assert np.array_equal(ours, plain)
    best = awq(weights, gram, grid, clip=clip)
    assert best.search.losses[0] == pytest.approx(error(nearest), rel=1e-6, abs=1e-12)
    assert best.search.losses.min() <= best.search.losses[0]
    if not clip:
        assert error(best.dequantized()) == pytest.approx(best.search.losses.min(), rel=1e-4, abs=1e-9)
    for found in filter(None, best.clips):
        assert (found.errors.min(0) <= found.errors[0]).all()
        assert found.winners.shape == found.limits.shape


def test_layer_error_is_that_of_the_outputs(golden):
    weights, grid = [golden["Wg"], golden["Wu"]], AffineGroups()
    decoded = [grid.round(w).decode() for w in weights]
    outputs = module_error(weights, lambda ws: np.concatenate([golden["x"] @ w.T for w in ws], axis=1))
    assert layer_error(weights, golden["gram"])(decoded) == pytest.approx(outputs(decoded), rel=1e-3)


def test_folding_changes_nothing_before_rounding(golden):
    """Norm gain and up-projection take the scales, and the block computes the same."""
    x, scales = golden["x"][:32], np.exp(np.random.default_rng(0).standard_normal(512)).astype(np.float32)
    plain = feed_forward(x, golden["Wg"], golden["Wu"]) @ golden["Wd"].T
    folded = feed_forward(x, golden["Wg"], fold(golden["Wu"], scales)) @ (golden["Wd"] * scales).T
    assert np.allclose(plain, folded, atol=1e-4 * np.abs(plain).max())
    gain = golden["ln"]
    assert np.allclose(fold(gain, scales[:256]) * scales[:256], gain)
    with pytest.raises(MethodError, match="has 128 outputs, so their scales cannot be folded"):
        fold(gain[:128], scales[:256])


def test_what_cannot_be_done_is_said():
    weight, gram = np.ones((4, 64), np.float32), Gram.of(np.ones((3, 64), np.float32))
    with pytest.raises(MethodError, match="Groups of 48 do not divide a layer of 64 inputs"):
        awq([weight], gram, AffineGroups(4, 48))
    with pytest.raises(MethodError, match="does not read 32 calibrated channels"):
        awq([weight], Gram(32), AffineGroups(4, 32))
    with pytest.raises(FormatError, match="NaN"):
        awq([weight * np.nan], gram, AffineGroups(4, 32))
    with pytest.raises(MethodError, match="2 to 8 bits, not 9"):
        AffineGroups(9)
