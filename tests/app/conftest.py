"""One server for all browser tests, and a browser with a window of a chosen size and theme."""

import asyncio
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOTS = ROOT / "screenshots"
QUIET = [  # no sandbox as root; nothing that calls out
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
START_SECONDS = 60
PATIENCE = 120_000  # milliseconds: a first visit may compile kernels, on a machine that does other things too
SETTLED = "[data-testid=stApp][data-test-script-state=notRunning]"


def settle(page) -> None:
    """Wait until the page's script has run to its end; it may not have failed."""
    page.locator(SETTLED).wait_for(timeout=2 * PATIENCE)
    assert page.locator("[data-testid=stException]").count() == 0
    assert not page.get_by_text("Page not found").count()


def settle_chapter(page) -> None:
    """The same for a chapter, whose last element then is there."""
    settle(page)
    page.locator(".ql.presenter .bar").wait_for(timeout=2 * PATIENCE)


def drawn(page) -> None:
    """Wait until what a control changed is drawn: pictures draw in the next frame, the one after it shows that."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def start_server(port: int, folder: Path, **settings: str) -> subprocess.Popen:
    """A server process whose temporary files lie in `folder`; `settings` go into its environment."""
    command = [sys.executable, "-m", "streamlit", "run", "app.py"]
    command += ["--server.port", str(port), "--server.address", "127.0.0.1"]
    environment = {**os.environ, "TMPDIR": str(folder), **settings}
    with open(folder / "server.log", "w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=environment)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1)
            return process
        except OSError:
            time.sleep(0.2)
    process.kill()
    raise RuntimeError((folder / "server.log").read_text())


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def running(folder: Path, **settings: str) -> Iterator[str]:
    """The address of a server that nobody has visited yet, for as long as the block lasts."""
    port = free_port()
    process = start_server(port, folder, **settings)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[str]:
    """One server for all modules: visitors of a site share it too."""
    with running(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture
def fresh_server(tmp_path) -> Iterator[str]:
    """A server of one test's own, which nobody has visited yet."""
    with running(tmp_path) as address:
        yield address


@pytest.fixture(scope="module")
def browser(chromium):
    """A browser for a whole module. Its loop runs in this thread meanwhile, where no other can then be run."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE // 4)
    with sync_playwright() as playwright:
        instance = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        yield instance
        instance.close()


@pytest.fixture
def page(browser):
    """A page at desk size in the light theme; its script errors fail the test."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    context.set_default_timeout(PATIENCE)
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    context.close()
    assert not errors, errors


@pytest.fixture
def shoot(request):
    """shoot(page, "name"): leave screenshots at both sizes and in both themes in a folder that git ignores."""

    def take(page, name: str) -> None:
        SHOTS.mkdir(exist_ok=True)
        stem = re.sub(r"\W+", "-", name)
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            for width, height in ((1440, 900), (390, 844)):
                page.set_viewport_size({"width": width, "height": height})
                page.wait_for_timeout(700)
                page.screenshot(path=SHOTS / f"{stem}-{theme}-{width}.png")
                assert no_sideways_scroll(page), f"{name} scrolls sideways at {width} pixels"
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": 1440, "height": 900})

    return take


def finished(work):
    """What a coroutine returns, run in a thread of its own: the browser's loop runs in this one."""
    with ThreadPoolExecutor(1) as one:
        return one.submit(asyncio.run, work).result()


def no_sideways_scroll(page) -> bool:
    return page.evaluate(
        "() => { const m = document.querySelector('[data-testid=stMain]') ?? document.documentElement;"
        " return m.scrollWidth <= m.clientWidth + 1; }"
    )


@pytest.fixture
def run_snippet(tmp_path):
    """run_snippet(page, number): run the Python that a page shows, as it stands; returns what it prints."""

    def run(page, number: int = 0) -> str:
        page.get_by_text("Show the Python").nth(number).click()
        snippet = page.locator("[data-testid=stExpander]:has(summary:has-text('Show the Python'))").nth(number)
        code = snippet.locator("[data-testid=stCode] code").first
        code.wait_for()
        if not (tmp_path / "assets").exists():  # as in the project's folder, but nothing is written there
            (tmp_path / "assets").symlink_to(ROOT / "assets")
        done = subprocess.run(
            [sys.executable, "-c", code.inner_text()],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()
        return done.stdout

    return run
