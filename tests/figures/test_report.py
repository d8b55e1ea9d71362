"""The HTML report: what files say is text in it, and nothing is fetched."""

from html.parser import HTMLParser

from quantlib.figures.report import html_report

ROWS = [{"name": "<img src=x onerror=alert(1)>", "shape": [2, 3], "error": 0.5}, {"name": "b", "shape": [], "error": 1}]


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen, self.texts = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)


def test_names_are_text_and_nothing_is_fetched():
    page = Tags()
    page.feed(html_report("A & B", [("source", "<b>")], ROWS, bar="error"))
    tags = [tag for tag, _ in page.seen]
    assert not {"img", "script", "link", "b"} & set(tags)
    assert not [attrs for _, attrs in page.seen if {"src", "href"} & set(attrs)]
    assert {ROWS[0]["name"], "2 × 3", "A & B", "<b>"} <= set(page.texts)
    assert [attrs["style"] for _, attrs in page.seen if "style" in attrs] == ["--share:50.0%", "--share:100.0%"]
    assert tags.count("tr") == 3


def test_no_rows_is_a_page_too():
    assert "<table>" in html_report("Nothing", [], [])
