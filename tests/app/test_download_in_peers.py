"""A checkpoint brought to the page, quantized and downloaded: llama.cpp runs the file."""

import pytest
from conftest import settle
from test_quantize import quantize_upload

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")

pytestmark = [pytest.mark.browser, pytest.mark.peer]


@pytest.fixture
def llama_cpp(peer):
    """Asked for before the server and the browser, so that a skip costs nothing."""
    return peer("llama_cpp")


def test_llama_cpp_runs_the_download(llama_cpp, server, page, demo_model, tmp_path):
    link = quantize_upload(page, server, demo_model)
    settle(page)
    with page.expect_download() as download:
        link.click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    assert path.suffix == ".gguf"
    llama = llama_cpp.Llama(str(path), n_ctx=64, n_threads=2, verbose=False)
    said = llama.create_completion("The old king looked out of the window and", max_tokens=8, temperature=0)
    assert said["choices"][0]["text"].strip()
