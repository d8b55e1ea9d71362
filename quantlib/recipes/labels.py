"""What the name of a published model says: a file's name, a page's address or a tag, taken apart.

`read_label` scans a name from left to right. At each place the sign that matches most letters is taken; what no sign
knows is the model's own name. Nothing is fetched: only the letters are read.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from quantlib import formats
from quantlib.recipes.catalogue import RECIPES
from quantlib.recipes.known_signs import SIGNS
from quantlib.recipes.naming import Part, parts
from quantlib.recipes.signs import WHOLE, Hit

LONGEST = 300  # letters of a name that are read
BETWEEN = "-_. :/@+()[],"  # what stands between two signs
WORD = re.compile(rf"[^{re.escape(BETWEEN)}]+")
MODEL = "model"
SITES = re.compile(
    r"(?:https?://)?(?:www\.)?(huggingface\.co|hf\.co|modelscope\.cn|ollama\.com|github\.com)/(.*)", re.I
)
PLUMBING = re.compile(r"^(?:models|library)/|/(?:blob|resolve|tree|raw)/[^/]+(?=/|$)")
SCHEME = re.compile(r"^[a-z]+://")
LOCAL = re.compile(r"[/~.]|[A-Za-z]:/")  # how a path on somebody's own disk begins


@dataclass(frozen=True)
class Unknown:
    """Something that a name cannot say, and where it can be found."""

    what: str
    where: str


@dataclass(frozen=True)
class Label:
    """A name, read. parts spell it from left to right; recipe: llama.cpp's, where the name has one of them.

    weights: how many the model has by its name. bits: for each, at least, by its format. unknown: what the name leaves
    open.
    """

    text: str
    parts: tuple[Part, ...]
    unknown: tuple[Unknown, ...] = ()
    recipe: str | None = None
    weights: int | None = None
    bits: float | None = None

    @property
    def nbytes(self) -> int | None:
        """What the weights take at least: weights · bits ÷ 8; None where the name lacks one of them."""
        return int(self.weights * self.bits / 8) if self.weights and self.bits else None

    @property
    def stored(self) -> bool:
        """Whether any part says how numbers are stored."""
        return any(part.kind not in (MODEL, "place", "size", "tuning", "file") for part in self.parts)


def read_label(text: str) -> Label:
    """Take a file's name, a model page's address or an Ollama tag apart. Any text may be given."""
    text = "".join(c for c in text.strip() if c.isprintable())[:LONGEST]
    places, names = _segments(text)
    found: list[_Piece] = []
    last = names[-1] if names else ""
    for name in names:
        pieces = list(_scanned(name))
        if name is not last:  # a page's name is repeated by its file: only what it adds
            pieces = [p for p in pieces if p.text.lower() not in last.lower()]
        found += pieces
    hits = [piece.hit for piece in found if piece.hit]
    recipe = next((piece.recipe for piece in found if piece.recipe), None)
    return Label(
        text,
        (*places, *(part for piece in found for part in piece.parts)),
        _unknown(hits, recipe),
        recipe,
        next((hit.weights for hit in hits if hit.weights), None),
        _bits(hits, recipe),
    )


def _segments(text: str) -> tuple[list[Part], list[str]]:
    """The places of an address as parts, and the names behind them: a page's, a file's."""
    text = re.split(r"[?#]", text, maxsplit=1)[0].replace("\\", "/")
    site = SITES.fullmatch(text)
    rest = PLUMBING.sub("", site[2] if site else SCHEME.sub("", text))
    pieces = [piece for piece in rest.split("/") if piece.strip(BETWEEN)]
    if len(pieces) < 2 or LOCAL.match(text):
        return [], pieces[-1:]
    owner = Part(pieces[0], "place", "whose page it is", "Who uploaded it: often not who made the model.")
    return [owner], [pieces[1], *pieces[2:][-1:]]


@dataclass(frozen=True)
class _Piece:
    """A stretch of a name: what matched, if anything did."""

    text: str
    parts: tuple[Part, ...]
    hit: Hit | None = None
    recipe: str | None = None


def _scanned(name: str) -> Iterator[_Piece]:
    """The pieces of one name in order; neighbours that no sign knows are one."""
    spans = list(_spans(name))
    for known, group in groupby(spans, key=lambda span: span[2] is not None):
        members = list(group)
        if known:
            yield from (_piece(name[start:stop], hit) for start, stop, hit in members if hit is not None)
        else:
            text = name[members[0][0] : members[-1][1]]
            meaning = "What its makers call it. Numbers here are versions."
            yield _Piece(text, (Part(text, MODEL, "the model", meaning),))


def _spans(name: str) -> Iterator[tuple[int, int, Hit | None]]:
    at = 0
    while at < len(name):
        if name[at] in BETWEEN:
            at += 1
            continue
        matches = [
            (found, sign) for sign in SIGNS if (found := sign.pattern.match(name, at)) and _ends(name, found.end())
        ]
        if matches:
            found, sign = max(matches, key=lambda pair: pair[0].end())
            yield at, found.end(), sign.read(found)
            at = found.end()
        else:
            word = WORD.match(name, at)
            stop = word.end() if word else at + 1
            yield at, stop, None
            at = stop


def _ends(name: str, at: int) -> bool:
    return at == len(name) or name[at] in BETWEEN


def _piece(text: str, hit: Hit) -> _Piece:
    """What matched as parts: a recipe's letters one by one."""
    recipe = RECIPES.get(hit.recipe) if hit.recipe else None
    if recipe is None:
        return _Piece(text, (Part(text, hit.kind, hit.title, hit.meaning),), hit)
    spelled = parts(recipe)
    shown = tuple(spelled[: hit.letters] if hit.letters else spelled)
    if hit.title:
        shown = (*shown, Part(text[hit.own :], hit.kind, hit.title, hit.meaning))
    return _Piece(text, shown, hit, recipe.name)


def _bits(hits: list[Hit], recipe: str | None) -> float | None:
    if any("mixture" in hit.asks for hit in hits):  # whoever mixed it may have gone below what the name says
        return None
    if recipe:
        return formats.get(RECIPES[recipe].default).bpw
    return next((hit.bits for hit in hits if hit.bits), None)


def _unknown(hits: list[Hit], recipe: str | None) -> tuple[Unknown, ...]:
    """What the signs leave open, each once, in the order of the name; what another sign answers is left out."""
    answered = {answer for hit in hits for answer in hit.answers}
    asked = [question for hit in hits for question in hit.asks]
    if recipe:
        needs = RECIPES[recipe].needs_imatrix
        used = needs or "imatrix" in answered
        asked += ["imatrix text" if used else "imatrix"]
    if any(hit.kind not in ("size", "file", "tuning") for hit in hits):
        asked.append("quality")
    questions = [q for q in dict.fromkeys(asked) if q not in answered]
    return tuple(Unknown(*WHOLE[q]) for q in questions)
