"""What is kept on disk is keyed by the code that measured it."""

from quantlib.lm import keeping


def test_code_that_measures_is_part_of_the_key_and_code_that_shows_is_not(tmp_path):
    for name in ("methods/awq.py", "figures/costs.py"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("x = 1\n")

    def digest() -> str:
        keeping.digest_of_code.cache_clear()
        return keeping.digest_of_code(tmp_path)

    before = digest()
    (tmp_path / "figures/costs.py").write_text("x = 2\n")
    assert digest() == before
    (tmp_path / "methods/awq.py").write_text("x = 2\n")
    changed = digest()
    assert changed != before
    (tmp_path / "methods/awq.py").rename(tmp_path / "methods/gptq.py")
    assert digest() not in (before, changed)


def test_every_key_holds_the_code(monkeypatch):
    before = keeping.digest_of("method", "model", 4)
    monkeypatch.setattr(keeping, "digest_of_code", lambda: "other code")
    assert keeping.digest_of("method", "model", 4) != before
