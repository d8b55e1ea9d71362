"""Every page in a real browser, each first visited by its deep link on a fresh server."""

import re

import pytest

pytestmark = pytest.mark.browser


def settle(page) -> None:
    """Wait until the script of the page has run."""
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    assert page.locator("[data-testid=stException]").count() == 0
    assert not page.get_by_text("Page not found").count()


def test_home(server, page, shoot):
    page.goto(server)
    page.locator("svg.levels").wait_for()
    settle(page)
    assert page.locator("svg.levels circle.now").count() == 128
    assert page.locator("svg.levels path.level").count() >= 4
    shoot(page, "home")
    page.get_by_role("radio", name=re.compile("256 levels")).click()
    page.locator("svg.levels path.band").first.wait_for()
    assert "stored=256" in page.url


def test_home_by_deep_link(server, page):
    page.goto(f"{server}/?stored=256+levels")
    page.locator("svg.levels path.band").first.wait_for()
    settle(page)
    assert page.locator("svg.levels path.level").count() == 0


def test_quantize_the_demo_model(server, page, shoot, tmp_path):
    page.goto(f"{server}/quantize?recipe=Q8_0")
    page.get_by_role("button", name="Quantize", exact=True).wait_for()
    settle(page)
    assert page.get_by_role("radio", name="Q8_0").is_checked()
    shoot(page, "quantize-plan")
    page.get_by_role("button", name="Quantize", exact=True).click()
    link = page.get_by_role("link", name="Download the GGUF file")
    link.wait_for(timeout=60_000)
    settle(page)
    shoot(page, "quantize-done")
    response = page.request.get(link.evaluate("a => a.href"))
    out = tmp_path / "out.gguf"
    out.write_bytes(response.body())
    assert 'filename="demo-model-Q8_0.gguf"' in response.headers["content-disposition"]

    import quantlib as ql

    with ql.open_checkpoint(out) as written:
        assert written.tensors["blk.0.ffn_down.weight"].format == "Q8_0"
    page.reload()
    page.get_by_role("link", name="Download the GGUF file").wait_for()
    assert page.request.get(f"{server}/files/not-a-token").status == 404


def upload(page, files: list[dict]) -> None:
    page.locator("input[type=file]").set_input_files(files)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("model.bin", b"\x80\x02}q\x00.", "pickle"),
        ("cut.safetensors", b"\xff\xff\xff\x00\x00\x00\x00\x00{}", "cut.safetensors|header"),
        ("lying.gguf", b"GGUF\x03\x00\x00\x00" + b"\xff" * 16, "lying.gguf|claims"),
    ],
)
def test_bad_uploads_get_one_sentence(server, page, name, content, says):
    page.goto(f"{server}/quantize?source=A+file+of+mine")
    page.locator("input[type=file]").wait_for(state="attached")
    settle(page)
    upload(page, [{"name": name, "mimeType": "application/octet-stream", "buffer": content}])
    alert = page.get_by_role("alert").filter(has_text=re.compile(says))
    alert.wait_for()
    assert "Traceback" not in page.locator("[data-testid=stMain]").inner_text()


def test_quantize_an_upload(server, page, demo_model):
    page.goto(f"{server}/quantize?source=A+file+of+mine&recipe=Q4_K_M")
    page.locator("input[type=file]").wait_for(state="attached")
    settle(page)
    names = ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json")
    page.locator("input[type=file]").set_input_files([demo_model / name for name in names])
    page.get_by_role("button", name="Quantize", exact=True).wait_for()
    settle(page)
    page.get_by_role("button", name="Quantize", exact=True).click()
    page.get_by_role("link", name="Download the GGUF file").wait_for(timeout=60_000)
