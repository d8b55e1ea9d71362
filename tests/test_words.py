"""How the words read: short sentences, no turns that other languages lend to English, one name for one quantity."""

import re

import pytest
from prose import sentences

MOST_WORDS, MOST_ON_AVERAGE = 35, 22
SERVER = "pages/server/"  # its sentences are messages, which tests of the server hold
# A pattern, and what to write in its place.
TURNS = {
    r": (and|but)\b": "a comma, or a new sentence",
    r", for (it|they|he|she|there)\b": "because",
    r"\bholds?\b(?! down)": "contain, have",
    r"\b(lies?|lay)\b": "be",
    r"\bstands? (below|beside|there|in|at|on|as)\b": "be",
    r"\bg(o|oes|oing) on\b": "continue",
    r"\botherwise than\b": "differently from",
    r"\b(have|has|having) no say\b": "ignore",
    r"\blets? go of\b": "give up",
    r"\bgives? way to\b": "be replaced by",
    r"\bas \w+ as can be\b": "as … as possible",
    r"\bsome (hundred|thousand|dozen)\b": "a few hundred",
    r"\bis none that\b": "is not",
    r"\bwhat may be the\b": "possible",
}
# One name for one quantity: other names of the relative error.
NAMES = r"\btypical (weight|error)|\bRMS share\b|\bSQNR\b|\brelative RMS\b"


@pytest.fixture(scope="module")
def found():
    return [one for one in sentences() if not one.path.startswith(SERVER)]


def test_prose_is_found(found):
    assert len(found) > 500
    pages = {one.path for one in found}
    assert {"pages/home.py", "pages/cost.py", "pages/ui/menu.py", "quantlib/figures/evidence.py"} <= pages


def test_sentences_are_short(found):
    long = [str(one) for one in found if len(one.words) > MOST_WORDS]
    assert not long, "\n".join(long)
    for path in {one.path for one in found if one.path.startswith("pages/")}:
        lengths = [len(one.words) for one in found if one.path == path]
        assert sum(lengths) / len(lengths) < MOST_ON_AVERAGE, path


@pytest.mark.parametrize("turn", TURNS)
def test_no_turn_of_another_language(found, turn):
    said = [f"{one}  [write: {TURNS[turn]}]" for one in found if re.search(turn, one.text)]
    assert not said, "\n".join(said)


def test_one_name_for_the_relative_error(found):
    said = [str(one) for one in found if re.search(NAMES, one.text)]
    assert not said, "\n".join(said)
