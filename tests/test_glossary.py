"""The glossary explains in order, and the document says what the code says."""

from pathlib import Path

import pytest

from quantlib.glossary import TERMS, markdown

PAGE = Path(__file__).parents[1] / "docs" / "glossary.md"
NAMES = [term.name for term in TERMS]
# Everyday words that are terms too, where a meaning uses them in their everyday sense.
EVERYDAY = {"row", "level", "bit", "weight", "type", "code"}


def test_the_page_is_made_from_the_terms():
    assert PAGE.read_text(encoding="utf-8") == markdown()


def test_no_word_is_explained_twice():
    words = [word.lower() for term in TERMS for word in (term.name, *term.also)]
    assert len(words) == len(set(words))


@pytest.mark.parametrize("at", range(len(TERMS)), ids=NAMES)
def test_a_meaning_uses_no_word_that_is_explained_later(at):
    later = [name for name in NAMES[at + 1 :] if name not in EVERYDAY]
    words = f" {TERMS[at].meaning} ".replace(".", " ").replace(",", " ").replace(":", " ")
    assert not [name for name in later if f" {name} " in words or f" {name}s " in words]


@pytest.mark.parametrize("term", TERMS, ids=NAMES)
def test_a_meaning_is_short(term):
    sentences = term.meaning.split(". ")
    assert len(sentences) <= 2 and all(len(sentence.split()) <= 25 for sentence in sentences)
