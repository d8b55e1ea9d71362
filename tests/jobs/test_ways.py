"""Three ways to choose codes: what each can be expected to lose and to take, before anything is run."""

import json
from dataclasses import replace

import pytest

import quantlib as ql
from quantlib.checkpoints import MetadataValue
from quantlib.cli import main
from quantlib.jobs.ways import TOKENS, WAYS, expected, matters, tokens_of, why_not_on_a_text, with_effort
from quantlib.methods.grid_descent import GRIDS
from quantlib.methods.shares import SHARES
from quantlib.methods.storing import STORED_BY_WEIGHT


@pytest.fixture(scope="module")
def plan(demo_model):
    with ql.open_checkpoint(demo_model) as checkpoint:
        yield ql.plan(checkpoint, "Q4_K_M")


def test_every_format_that_can_be_chosen_was_measured():
    assert set(SHARES) == {*STORED_BY_WEIGHT, *GRIDS}
    for name, shares in SHARES.items():
        assert 0 < shares.fitted < shares.weighed_best <= shares.weighed <= 1, name
        assert shares.weighed_best <= shares.best + 0.01 and 0 < shares.plain_ns < shares.fitted_ns, name


def test_each_way_loses_less_and_takes_longer(plan):
    found = expected(plan, cores=2)
    assert tuple(each.way for each in found) == WAYS
    assert found[0].loss == 1 > found[1].loss > found[2].loss > 0
    assert found[0].seconds < found[1].seconds < found[2].seconds
    alone = expected(plan, cores=1)
    assert [one.seconds for one in alone] == pytest.approx([2 * two.seconds for two in found])


def test_the_loss_of_one_format_is_what_was_measured(demo_model):
    with ql.open_checkpoint(demo_model) as checkpoint:
        found = expected(ql.plan(checkpoint, "Q4_0", pure=True))
    shares = SHARES["Q4_0"]
    assert [each.loss for each in found] == pytest.approx([1, shares.best, shares.fitted])


def test_a_longer_text_takes_longer_up_to_what_is_read(plan):
    times = [expected(plan, tokens_of(characters))[2].seconds for characters in (10_000, 100_000, 10**7, 10**9)]
    assert times[0] < times[1] < times[2] == times[3]
    assert tokens_of(10**9) == TOKENS


def test_what_makes_no_difference_and_what_cannot_be_is_said(plan, demo_model):
    assert matters(plan) and not why_not_on_a_text(plan)
    with ql.open_checkpoint(demo_model) as checkpoint:
        assert not matters(ql.plan(checkpoint, "BF16"))
    for name, says in (("mamba2", "is not run here"), ("gemma4", "read more than"), ("none such", "is not run here")):
        other = replace(plan, metadata={"general.architecture": MetadataValue("string", name)})
        assert says in expected(other)[2].unable and expected(other)[2].seconds == 0


def test_a_plan_of_another_effort_is_the_one_that_is_planned_so(plan, demo_model):
    with ql.open_checkpoint(demo_model) as checkpoint:
        best = ql.plan(checkpoint, "Q4_K_M", effort="best")
    changed = with_effort(plan, "best")
    assert (changed.effort, changed.tensors) == (best.effort, best.tensors)


def test_a_dry_run_tells_of_all_three(demo_model, tmp_path, capsys):
    assert main(["quantize", str(demo_model), str(tmp_path / "o.gguf"), "--dry-run"]) == 0
    said = capsys.readouterr().out
    for way in WAYS:
        assert f"--method {way.name}" in said and way.title in said
    assert main(["quantize", str(demo_model), str(tmp_path / "o.gguf"), "--dry-run", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["ways"]
    assert [row["method"] for row in rows] == [way.name for way in WAYS]
    assert main(["quantize", str(demo_model), str(tmp_path / "o.gguf"), "--dry-run", "--recipe", "F16"]) == 0
    assert "--method" not in capsys.readouterr().out
