"""Terms in running text: found where they are used, explained once a page, and never inside code or links."""

import pytest

from pages.ui.terms import marked
from quantlib.glossary import TERMS, found_in, slug


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Two scales for a super-block", ["scale", "super-block"]),
        ("`scale` and [block](http://a.b/row) and $d$ stay", []),
        ("The **outliers** of a Row", ["outlier", "row"]),
        (":small[Each weight] has its code", ["weight", "code"]),
        ("bits per weight, not bit", ["bits per weight", "bit"]),
        ("rowing, blockade, re-code", []),
        ("LLM.int8() keeps channels", ["LLM.int8()", "channel"]),
    ],
)
def test_terms_are_found_as_people_write_them(text, names):
    assert [term.name for _, _, term in found_in(text)] == names


def test_a_term_is_explained_where_a_page_uses_it_first():
    seen: dict[str, str] = {}
    first = marked("One scale. The scale again: 3.", seen)
    assert first.count('class="term"') == 1 and "aria-description" in first
    assert "term" not in marked("Another scale.", seen)
    assert marked("One scale. The scale again: 4.", seen).count("term") == first.count("term"), "a fragment runs again"


def test_a_meaning_cannot_break_its_element():
    for term in TERMS:
        shown = marked(f"a {term.name} b", {})
        assert shown.count("<") == 2 * shown.count("</span>") and 'data-meaning="' in shown


def test_every_term_has_a_place_of_its_own():
    assert len({slug(term) for term in TERMS}) == len(TERMS)
