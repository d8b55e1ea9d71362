"""Opening a checkpoint in a browser: every page looks at what is brought, and what is wrong gets a sentence."""

import json
import re
import shutil
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from conftest import settle
from safetensors.numpy import save_file

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")

pytestmark = pytest.mark.browser


FOLDER = ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json")
SCRIPT = "<img src=x onerror=document.title='hacked'>.weight"


def bring(page, server: str, *paths: Path | dict) -> None:
    """Go to the Open page and upload files there."""
    page.goto(f"{server}/open")
    page.get_by_text("Bring a checkpoint").wait_for()
    settle(page)
    page.locator(".uploader input[type=file]").first.set_input_files(list(paths))


def opened(page) -> None:
    page.get_by_role("button", name="Back to the demo model").wait_for()
    settle(page)


def test_what_is_brought_is_what_every_page_looks_at(server, page, shoot, demo_model):
    bring(page, server, *[demo_model / name for name in FOLDER])
    opened(page)
    shoot(page, "open")
    assert "opened=" in page.url
    for name in ("What a float stores", "Inside a super-block", "Quantize"):
        page.get_by_test_id("stSidebarNav").get_by_role("link", name=name).click()
        page.get_by_role("heading", name=name, level=1).wait_for()
        settle(page)
        assert not page.get_by_role("alert").filter(has_text=re.compile("did not expect")).count()
        playwright.expect(page.get_by_test_id("stSidebar").get_by_text("model.safetensors")).to_have_count(1)
    page.reload()
    opened(page)
    page.get_by_role("button", name="Back to the demo model").click()
    page.get_by_test_id("stSidebar").get_by_text("The demo model", exact=True).wait_for()
    page.wait_for_url(lambda url: "opened=" not in url)


def test_chapters_stand_other_names_and_shapes_and_quantized_tensors(server, page, tmp_path):
    import quantlib as ql

    rng = np.random.default_rng(5)
    arrays = {SCRIPT: (40, 96), "a.weight": (3, 7), "bias": (5,), "experts.weight": (2, 4, 64)}
    save_file(
        {name: rng.standard_normal(shape, np.float32) for name, shape in arrays.items()}, tmp_path / "odd.safetensors"
    )
    with ql.open_checkpoint(tmp_path / "odd.safetensors") as checkpoint:
        ql.run(ql.plan(checkpoint, "Q8_0"), tmp_path / "odd.gguf")
    for name in ("odd.safetensors", "odd.gguf"):
        bring(page, server, tmp_path / name)
        opened(page)
        for link in page.get_by_test_id("stSidebarNav").get_by_role("link").all():
            if link.inner_text().endswith("What it costs"):
                continue  # measures the demo model, whatever else is open
            link.click()
            page.wait_for_timeout(300)
            settle(page)
            assert not page.get_by_text("did not expect").count(), link.inner_text()
            assert not page.get_by_text("Traceback").count(), link.inner_text()
            assert page.title() != "hacked"
            assert page.locator("img[src=x]").count() == 0


BAD_FILES = [
    ("model.bin", b"\x80\x02}q\x00.", "pickle"),
    ("cut.safetensors", b"\xff\xff\xff\x00\x00\x00\x00\x00{}", "cut.safetensors|header"),
    ("lying.gguf", b"GGUF\x03\x00\x00\x00" + b"\xff" * 16, "lying.gguf|claims"),
    ("notes.pdf", b"%PDF", "not part of a checkpoint"),
    ("config.json", b"{}", "holds the weights"),
    ("empty.gguf", b"", "empty.gguf|too short"),
]


def test_bad_files_get_one_sentence(server, page):
    page.goto(f"{server}/open")
    for name, content, says in BAD_FILES:
        page.get_by_text("Bring a checkpoint").wait_for()
        settle(page)
        files = [{"name": name, "mimeType": "application/octet-stream", "buffer": content}]
        page.locator(".uploader input[type=file]").first.set_input_files(files)
        page.get_by_role("alert").filter(has_text=re.compile(says)).wait_for()
        assert "Traceback" not in page.locator("[data-testid=stMain]").inner_text()
        playwright.expect(page.get_by_test_id("stSidebar").get_by_text("The demo model", exact=True)).to_have_count(1)


def test_uploads_need_a_token_and_the_app_s_own_pages(server):
    def put(path: str, body: bytes, **headers) -> tuple[int, dict]:
        request = urllib.request.Request(server + path, body, headers, method="PUT")
        try:
            with urllib.request.urlopen(request) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    announced = json.dumps([["model.gguf", 3]]).encode()
    assert put("/upload/guessed", announced)[0] == 409
    assert put("/upload/guessed/0?offset=0", b"abc")[0] == 404
    assert put("/upload/guessed", b"no json")[0] == 400
    assert put("/upload/guessed", announced, Origin="http://elsewhere.example")[0] == 403
    assert put("/upload/guessed/0?offset=0", b"abc", **{"Sec-Fetch-Site": "cross-site"})[0] == 403
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(urllib.request.Request(f"{server}/_stcore/upload_file/a/b", b"x", method="PUT"))
    headers = urllib.request.urlopen(server).headers
    assert "frame-ancestors" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_a_folder_comes_with_its_name_and_its_inner_folders(server, page, demo_model, tmp_path):
    folder = tmp_path / "Tale Teller"
    for path, content in {
        "1_Pooling/config.json": b"{}",
        "README.md": b"# not sent",
        ".git/x.json": b"{}",
        "old/model.safetensors": b"other",
        "a/b/c/d.json": b"{}",
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    for name in FOLDER:
        shutil.copy(demo_model / name, folder / name)
    said = []
    page.on("request", lambda r: r.method == "PUT" and "?" not in r.url and said.append(json.loads(r.post_data)))
    page.goto(f"{server}/open")
    page.get_by_text("Bring a checkpoint").wait_for()
    settle(page)
    page.locator(".uploader input[webkitdirectory]").set_input_files(folder)
    opened(page)
    assert sorted(path for path, _ in said[0]) == sorted(f"Tale Teller/{p}" for p in (*FOLDER, "1_Pooling/config.json"))
    playwright.expect(page.get_by_test_id("stSidebar").get_by_text("Tale Teller", exact=True)).to_have_count(1)
