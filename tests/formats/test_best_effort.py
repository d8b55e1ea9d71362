"""Better codes in the same blocks: no higher error than ggml's in any, a lower one in all, kernel equal reference."""

import numpy as np
import pytest
from families import FAMILIES, draw

import quantlib as ql
from quantlib.errors import FormatError
from quantlib.formats import FORMATS, get
from quantlib.formats.blocks.search import VALUES

SEARCHED = [form for form in FORMATS.values() if form.kind == "block" and form.better]
every_searched = pytest.mark.parametrize("form", SEARCHED, ids=lambda form: form.name)
OVERFLOWING = ("large", "huge", "end of range")  # scales beyond half precision


def error(form, data: np.ndarray, x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """Weighted squared error of each block."""
    weights = np.ones(x.shape[-1]) if importance is None else importance.astype(float)
    miss = weights * (form.dequantize(data).astype(float) - x) ** 2
    return miss.reshape(-1, form.values).sum(axis=-1)


def test_formats_with_scales_and_even_or_tabled_levels_are_searched():
    assert {form.name for form in SEARCHED} == {
        "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS",
    }  # fmt: skip


@every_searched
@pytest.mark.parametrize("importance", ["none", "ordinary", "sparse"])
def test_no_block_gets_worse_and_all_together_get_better(form, importance):
    families = [family for family in FAMILIES if family not in OVERFLOWING]
    x = np.concatenate([draw(family, "none", (2, 512), seed=21)[0] for family in families])
    _, important = draw("normal", importance, (1, 512), seed=21)
    standard, best = form.quantize(x, important), form.quantize(x, important, effort="best")
    before, after = (error(form, data, x, important) for data in (standard, best))
    assert best.shape == standard.shape
    assert (after <= before * (1 + 1e-5) + 1e-30).all()  # errors are compared in float32
    ordinary = slice(0, 8)  # the blocks of "normal" and "llm"
    assert after[ordinary].sum() < (1 if importance == "sparse" else 0.995) * before[ordinary].sum()


@every_searched
@pytest.mark.parametrize("importance", ["none", "ordinary"])
def test_blocks_are_not_too_small(form, importance):
    """The least error alone has Σ w · x · x̂ < Σ w · x², by the error itself. Stretched, half precision's 2⁻¹¹ is left,
    but for blocks where ggml's error is so low already that it leaves no room.
    """
    x, important = draw("normal", importance, (32, 512), seed=25)
    data = form.quantize(x, important, effort="best")
    best = form.dequantize(data).astype(float)
    weights = np.ones(512) if important is None else important.astype(float)
    squares, products = ((weights * x * y).reshape(-1, form.values).sum(axis=-1) for y in (x.astype(float), best))
    assert (np.abs(products / squares - 1) < 2**-10).mean() > 0.5
    assert abs(squares.sum() - products.sum()) < error(form, data, x, important).sum() / 2


@every_searched
@pytest.mark.parametrize("importance", ["none", "ordinary"])
def test_kernel_equals_reference(form, importance):
    x = np.concatenate([draw(f, "none", (1, 256), seed=22)[0] for f in FAMILIES if f not in OVERFLOWING])
    _, important = draw("normal", importance, (1, 256), seed=22)
    ours = form.quantize(x, important, effort="best")
    assert np.array_equal(ours, form.quantize_reference(x, important, effort="best"))


def levels_of(form) -> np.ndarray:
    """What the codes of a format without minima stand for."""
    return form.better.levels.of(np.arange(VALUES.size if form.better.levels.uneven else 2 * -form.better.levels.low))


@pytest.mark.parametrize("form", [get(name) for name in ("Q4_0", "Q5_0", "IQ4_NL")], ids=lambda form: form.name)
def test_one_scale_comes_close_to_the_optimum(form):
    """The nearest levels change at countably many scales, where x / d meets a midpoint: between any two neighbours the
    levels are fixed, and the best scale for them is in closed form. So the true optimum can be had by trying them all.
    """
    x = draw("llm", "none", (4, 256), seed=24)[0].reshape(-1, 32).astype(float)
    levels = levels_of(form).astype(float)
    middles = (levels[1:] + levels[:-1]) / 2
    optimum = []
    for block in x:
        edges = np.sort(np.concatenate([middles / v for v in block]))  # of 1 / d
        inverse = np.concatenate([edges[:1] * 2, (edges[1:] + edges[:-1]) / 2, edges[-1:] * 2])
        v = levels[np.searchsorted(middles, inverse[:, None] * block)]  # (scales, 32)
        optimum.append((block**2).sum() - ((v * block).sum(-1) ** 2 / (v * v).sum(-1).clip(1e-30)).max())
    data = form.quantize(x.reshape(4, 256).astype(np.float32), effort="best")
    found = ((form.dequantize(data).astype(float).reshape(-1, 32) - x) ** 2).sum(-1)
    assert (found > 0.999 * np.array(optimum)).all()
    assert found.sum() < 1.02 * sum(optimum)


def test_other_formats_keep_their_bytes_and_other_efforts_are_refused():
    x, _ = draw("llm", "none", (2, 256), seed=23)
    assert np.array_equal(ql.quantize(x, "Q8_0", effort="best"), ql.quantize(x, "Q8_0"))
    with pytest.raises(FormatError, match="An effort is standard or best, not 'more'"):
        ql.quantize(x, "Q4_K", effort="more")
