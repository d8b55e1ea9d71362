"""An importance matrix steers codes in every format that it can, and lowers the error that it weighs."""

import numpy as np
import pytest

from quantlib.errors import FormatError, MethodError
from quantlib.formats import FORMATS, BlockFormat
from quantlib.methods.importance import importance_change

STEERED = [f for f in FORMATS.values() if isinstance(f, BlockFormat) and f.uses_importance]


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return rng.standard_normal((8, 512)).astype(np.float32), np.exp(2 * rng.standard_normal(512)).astype(np.float32)


@pytest.mark.parametrize("form", STEERED, ids=lambda f: f.name)
def test_it_lowers_the_error_that_it_weighs(rows, form):
    x, importance = rows
    change = importance_change(x, form, importance)
    plain, steered = change.weighted_errors
    assert steered < plain
    differs = change.plain != change.important
    assert differs.any() and not (differs & ~change.code_changed & ~change.scale_changed).any()
    level, without, with_ = change.by_importance(4)
    assert (np.diff(level) > 0).all()
    assert with_[-1] < without[-1]


def test_even_importance_of_a_format_that_needs_one_changes_nothing(rows):
    form = FORMATS["IQ2_XXS"]
    change = importance_change(rows[0], form, np.ones(512, np.float32))
    assert not change.code_changed.any() and not change.scale_changed.any()
    assert change.weighted_errors[0] == change.weighted_errors[1] == pytest.approx(change.plain_errors[1])


def test_what_cannot_be_compared_is_said(rows):
    x, importance = rows
    with pytest.raises(MethodError, match="Importance has no say in Q8_0"):
        importance_change(x, FORMATS["Q8_0"], importance)
    with pytest.raises(MethodError, match="Importance has no say in NF4"):
        importance_change(x, FORMATS["NF4"], importance)
    with pytest.raises(FormatError, match="not negative"):
        importance_change(x, FORMATS["Q4_K"], -importance)
    with pytest.raises(MethodError, match="512 channels cannot be put into 600 bins"):
        importance_change(x, FORMATS["Q4_K"], importance).by_importance(600)
