"""How fast pages answer, in the browser: `python tests/bench/interactions.py [--repeat 15]`, on a quiet machine.

Cold start: from the first request of a fresh server (kernels compiled before) to a page whose script has run.
Redraw: from a settled interaction (a click whose answer Python gives) to the change on the page.
Drag: the time from frame to frame while the pointer pulls at a component for a second and a half.
Weight: what a browser that knows nothing yet receives for a chapter, in bytes as they come, with the largest part.
Wanted on two cores: cold start under 3 s; redraws 150 ms in the median, 300 ms at the 95th percentile; frames 17 ms.
"""

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "app")]

from conftest import QUIET, SETTLED, start_server  # noqa: E402

from pages.ui import menu  # noqa: E402

PORT = 8799


WATCH = """(what) => {
  const text = () => document.querySelector(what)?.textContent ?? "";
  const before = text(), begin = () => { window.__began = performance.now(); };
  window.addEventListener("pointerdown", begin, { once: true, capture: true });
  window.__done = new Promise((resolve) => {
    const look = () => (text() !== before ? resolve(performance.now()) : requestAnimationFrame(look));
    look();
  });
}"""


def changed(page: Page, act, what: str) -> float:
    """Milliseconds from the press in `act` until the text of `what` is another one; both are taken in the page."""
    page.evaluate(WATCH, what)
    act()
    return page.evaluate("async () => (await window.__done) - window.__began")


def radio(page: Page, names: list[str]):
    """Presses one of a row of buttons after the other, round and round."""
    state = {"at": -1}

    def act() -> None:
        state["at"] = (state["at"] + 1) % len(names)
        page.get_by_role("radio", name=names[state["at"]], exact=True).click()

    return act


CASES = {  # page, buttons that are pressed in turn, and what changes by it
    "first page, levels": ("", ["256 levels", "16 levels"], "[data-testid=stMetricValue]"),
    "levels, who shares a scale": ("256-levels-then-16", ["8", "4"], "table.measured"),
    "super-block, block of the race": (
        "inside-a-super-block",
        ["1", "2", "3", "0"],
        ".st-key-race-story",
    ),
    "codebooks, grid": ("codebooks", ["IQ2_S", "IQ2_XXS"], ".st-key-signs"),
    "what it does, text": ("what-it-costs", ["a letter", "a road", "a tale"], "[class*=st-key-step-5]"),
    "what the machine does": (
        "what-the-machine-does",
        ["512 tokens at once", "one token at a time"],
        ".st-key-step-1-printed",
    ),
}

DRAGS = {  # page, and what is pulled at
    "staircase": ("256-levels-then-16", ".stairs svg.errors"),
    "number line": ("what-a-float-stores", ".line svg"),
    "rulers": ("codebooks", ".rulers svg"),
    "scale race": ("inside-a-super-block", ".race svg"),
    "replay of GPTQ": ("smarter-rounding", ".scrubber svg"),
    "zooms": ("256-levels-then-16", ".zooms .pane svg"),
}
FRAMES = """() => {
  const frames = window.__frames = [];
  const look = (at) => { frames.push(at); if (window.__frames === frames) requestAnimationFrame(look); };
  requestAnimationFrame(look);
}"""


def frames(page: Page, what: str, moves: int = 90) -> list[float]:
    """Milliseconds between frames while the pointer pulls from a quarter to three quarters of a drawing and back."""
    drawing = page.locator(what).first
    drawing.scroll_into_view_if_needed()
    box = drawing.bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 4, y)
    page.mouse.down()
    page.evaluate(FRAMES)
    for i in range(moves):
        share = 0.25 + 0.5 * (1 - abs(1 - 2 * i / moves))
        page.mouse.move(box["x"] + share * box["width"], y)
    found = page.evaluate("() => { const found = window.__frames; window.__frames = null; return found; }")
    page.mouse.up()
    return [b - a for a, b in itertools.pairwise(found)]


def drags(page: Page) -> None:
    for name, (address, what) in DRAGS.items():
        page.goto(f"http://127.0.0.1:{PORT}/{address}")
        page.locator(what).first.wait_for(timeout=120_000)
        page.locator(SETTLED).wait_for(timeout=120_000)
        taken = frames(page, what)
        late = sum(t > 25 for t in taken) / len(taken)
        print(f"drag, {name}: {len(taken)} frames, median {statistics.median(taken):.1f} ms, {late:.0%} late")


def weights(browser: Browser) -> None:
    """Prints what each chapter sends to a browser that has nothing of it yet: files, and messages of the socket."""
    for entry in menu.SECTIONS["Learn"]:
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page, urls, files, messages = context.new_page(), {}, {}, []
        session = context.new_cdp_session(page)
        session.send("Network.enable")
        session.on("Network.responseReceived", lambda m, to=urls: to.update({m["requestId"]: m["response"]["url"]}))
        session.on("Network.loadingFinished", lambda m, to=files: to.update({m["requestId"]: m["encodedDataLength"]}))
        session.on("Network.webSocketFrameReceived", lambda m, to=messages: to.append(frame_bytes(m["response"])))
        page.goto(f"http://127.0.0.1:{PORT}/{entry.address}")
        page.locator(SETTLED).wait_for(timeout=120_000)
        page.wait_for_load_state("networkidle")
        largest = max(files, key=lambda one: files[one])
        sent, spoken = sum(files.values()) / 1e6, sum(messages) / 1e6
        part = f"{urls.get(largest, '').rpartition('/')[2].partition('.')[0]} {files[largest] / 1e6:.2f}"
        print(f"weight, {entry.title}: files {sent:.2f} MB ({part}), messages {spoken:.2f} MB")
        context.close()


def frame_bytes(frame: dict) -> int:
    """The bytes of a message of the socket: binary ones (opcode 2) come as base64."""
    length = len(frame["payloadData"])
    return 3 * length // 4 if frame["opcode"] == 2 else length


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=15)
    repeat = parser.parse_args().repeat
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = start_server(PORT, Path(folder))
        try:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=QUIET)
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            began = time.monotonic()
            page.goto(f"http://127.0.0.1:{PORT}/what-a-float-stores")
            page.locator(".ql .bit").first.wait_for()
            page.locator(SETTLED).wait_for(timeout=120_000)
            print(f"cold start to interactive: {time.monotonic() - began:.2f} s")
            everything = []
            for name, (address, buttons, what) in CASES.items():
                page.goto(f"http://127.0.0.1:{PORT}/{address}")
                page.locator(what).first.wait_for(timeout=120_000)
                page.locator(SETTLED).wait_for(timeout=120_000)
                act = radio(page, buttons)
                for _ in buttons:  # every state once, so that caches are warm
                    changed(page, act, what)
                    page.locator(SETTLED).wait_for()
                times = []
                for _ in range(repeat):
                    times.append(changed(page, act, what))
                    page.locator(SETTLED).wait_for()
                everything += times
                print(f"{name}: median {statistics.median(times):.0f} ms, slowest {max(times):.0f} ms")
            cut = statistics.quantiles(everything, n=20)
            print(f"all: median {statistics.median(everything):.0f} ms, 95th percentile {cut[-1]:.0f} ms")
            drags(page)
            weights(browser)
            browser.close()
        finally:
            server.terminate()
            server.wait(10)


if __name__ == "__main__":
    main()
