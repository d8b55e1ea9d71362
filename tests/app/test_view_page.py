"""What `quantlib view` shows in a browser: the file at once, its hashes, and with two how they differ, unasked."""

import hashlib
import json

import numpy as np
import pytest
from conftest import running, settle
from playwright.sync_api import expect
from safetensors.numpy import save_file

import quantlib as ql
from pages.server.viewing import VARIABLE

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")

pytestmark = pytest.mark.browser
TOKEN = "another-secret-that-nobody-guesses"


def test_two_files_are_compared_unasked_and_hashed_where_asked(page, shoot, tmp_path):
    x = np.random.default_rng(3).standard_normal((64, 256), np.float32)
    save_file({"model.layers.0.mlp.up_proj.weight": x}, tmp_path / "one.safetensors")
    with ql.open_checkpoint(tmp_path / "one.safetensors") as checkpoint:
        ql.run(ql.plan(checkpoint, "Q8_0"), tmp_path / "other.gguf")
    sources = [str(tmp_path / name) for name in ("one.safetensors", "other.gguf")]
    said = json.dumps({"token": TOKEN, "sources": sources, "browser": False})
    with running(tmp_path, **{VARIABLE: said}) as address:
        page.goto(f"{address}/inspect?key={TOKEN}&view=Compare")
        expect(page.get_by_text("Relative error, all weights")).to_be_visible()
        expect(page.get_by_text("This is one model, stored in two ways")).to_be_visible()
        assert "key=" not in page.url
        settle(page)
        shoot(page, "view-two")
        page.get_by_text("SHA-256 and structure").click()
        page.get_by_role("button", name="Hash the files").click()
        digest = hashlib.sha256((tmp_path / "one.safetensors").read_bytes()).hexdigest()
        expect(page.get_by_text(digest)).to_be_visible()
