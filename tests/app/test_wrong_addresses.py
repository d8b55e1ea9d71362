"""An address that no page has: it says so, and leads to the page with the nearest name."""

import pytest
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.testclient import TestClient

from pages.server.first_paint import FirstPaint, nearest
from pages.ui import menu

TITLES = {entry.address: entry.title for entry in menu.ENTRIES}


async def page(scope, receive, send):
    """A server that answers as Streamlit does: any address gets the page, except files."""
    kept = {"content-disposition": "attachment"} if scope["path"].startswith("/media") else None
    answer = HTMLResponse("<body>the app</body>", headers=kept)
    if scope["path"].startswith("/_stcore"):
        answer = PlainTextResponse("ok")
    await answer(scope, receive, send)


@pytest.fixture
def client():
    return TestClient(FirstPaint(page, TITLES), headers={"accept": "text/html"})


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("what-a-float-store", "what-a-float-stores"),
        ("codebook", "codebooks"),
        ("Inside a super-block", "inside-a-super-block"),
        ("what_it_costs", "what-it-costs"),
        ("xyzzy", ""),
        ("9" * 5000, ""),
    ],
)
def test_the_nearest_page(asked, found):
    assert nearest(asked, TITLES) == found


@pytest.mark.parametrize("address", [*TITLES, "codebooks/"])
def test_pages_are_served(client, address):
    answer = client.get(f"/{address}")
    assert answer.status_code == 200 and "the app" in answer.text


@pytest.mark.parametrize("asked", ["codebook", "codebook/more", "codebooks<script>"])
def test_a_wrong_address_says_so(client, asked):
    answer = client.get(f"/{asked}")
    assert answer.status_code == 404
    assert "There is no such page here" in answer.text and "the app" not in answer.text
    assert 'href="/codebooks"' in answer.text and 'href="/"' in answer.text
    assert "<script>" not in answer.text


def test_what_is_no_page_is_left_alone(client):
    assert client.get("/_stcore/health").text == "ok"
    assert client.get("/media/report.html").text == "<body>the app</body>"
