"""The Python that pages show: it opens the model that the page shows, runs, and comes to the page's own numbers.

Each page is drawn twice, once with the demo model and once with another open. What a snippet computes of a model must
be on the page that shows it and not on the page of the other model: a snippet that opens the wrong one is found out.
"""

import base64
import contextlib
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
import tiny_models
from streamlit.testing.v1 import AppTest

import quantlib as ql
from pages.server.opened import Opened, identity
from pages.ui import captions, guess, model

ROOT = Path(__file__).parents[2]
# Pages with numbers that the server makes, each with the snippets whose numbers the browser makes.
COMPARED = {
    "float": (), "inspect": (), "cost": (), "super_block": (), "levels": (3,), "codebooks": (0,), "activations": (),
    "fit": (),
}  # fmt: skip
OPENING = ("names", "outliers")  # whose numbers the browser makes; what it makes has tests of its own
OURS = (model.demo().source, model.calculator().source)  # chapters follow the calculator where nothing else is open
LEAST, MOST = 3, 6  # digits of numbers that are compared
FEW = 4096  # values of an array that are compared
NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?")


@dataclass
class Numbers:
    """Numbers with the digits that they are written with."""

    found: set[tuple[float, int]] = field(default_factory=set)

    def read(self, text: str) -> None:
        for written in NUMBER.findall(text):
            digits = len(re.split("[eE]", written)[0].replace(",", "").replace(".", "").lstrip("0"))
            self.add(float(written.replace(",", "")), digits)

    def add(self, value: float, digits: int = MOST) -> None:
        if digits >= LEAST and np.isfinite(value) and value:
            self.found.add((abs(value), min(digits, MOST)))

    def of(self, values: Iterable[object]) -> None:
        """The numbers in a program's variables."""
        for value in values:
            if isinstance(value, float | np.floating):
                self.add(float(value))
            elif isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size <= FEW:
                for each in value.reshape(-1).tolist():
                    self.add(each)

    @cached_property
    def rounded(self) -> set[str]:
        """Each as it reads in its own digits and in fewer, also in percent."""
        forms = ((v * times, digits) for v, digits in self.found for times in (1, 100, 0.01))
        return {f"{v:.{digits - fewer}g}" for v, digits in forms for fewer in range(digits - LEAST + 1)}

    @cached_property
    def exact(self) -> set[str]:
        """Each as it reads in all of its digits, also in percent."""
        return {f"{v * times:.{digits}g}" for v, digits in self.found for times in (1, 100, 0.01)}

    def shared(self, others: "Numbers") -> set[float]:
        """Those that the others hold too, as exactly as the less exact of the two is written."""
        return {
            v
            for v, digits in self.found
            if f"{v:.{digits}g}" in others.rounded or any(f"{v:.{k}g}" in others.exact for k in range(LEAST, digits))
        }


@dataclass(frozen=True)
class Drawn:
    """A page: its snippets, and the numbers on it."""

    snippets: tuple[str, ...]
    numbers: Numbers


def elements(block: object) -> Iterator[object]:
    for child in getattr(block, "children", {}).values():
        yield child
        yield from elements(child)


def read_element(element: object, numbers: Numbers) -> None:
    """The numbers of one element: of its words and attributes, of its table, of the arrays that a component gets."""
    if getattr(element, "type", "") == "arrow_data_frame":
        numbers.of(element.value[name].to_numpy() for name in element.value)
        numbers.read(element.value.to_csv())
        return
    text = str(getattr(element, "proto", "")).replace("\\n", "\n").replace('\\"', '"').replace("\\\\", "\\")
    text = re.sub(r"\\u[0-9a-f]{4}", " ", text)  # in JSON a minus sign is one, and would hide its number
    numbers.read(re.sub(r"<[^<>]*>", " ", text))
    numbers.read(" ".join(re.findall(r'(?:data-words|title|aria-label)=\\?"([^"]*)', text)))
    for packed in re.findall(r'"([A-Za-z0-9+/]{16,}={0,2})"', text):
        with contextlib.suppress(ValueError):
            numbers.of([np.frombuffer(base64.b64decode(packed, validate=True), np.float32)[:FEW]])


def opened(folder: Path) -> Opened:
    checkpoint = ql.open_checkpoint(folder)
    return Opened("token", checkpoint, "other", str(folder), identity(checkpoint), "directory")


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> tuple[Opened, Opened]:
    return model.demo(), opened(tiny_models.write("llama_bpe", tmp_path_factory.mktemp("models") / "other"))


@pytest.fixture
def draw(monkeypatch):
    """draw(page, opened): a page while this checkpoint is open, every guess made."""

    def of(page: str, shown: Opened) -> Drawn:
        snippets: list[str] = []
        numbers = Numbers()

        def data(csv, *_, **__) -> None:
            numbers.read(csv if isinstance(csv, str) else csv())

        monkeypatch.setattr(model, "current", lambda: shown)
        monkeypatch.setattr(captions, "show_python", lambda snippet, *_, **__: snippets.append(snippet))
        monkeypatch.setattr(captions, "data", data)
        monkeypatch.setattr(guess, "guess", lambda _, options, **__: next(iter(options)))
        monkeypatch.setattr(st, "page_link", lambda *_, **__: None)
        running = AppTest.from_file(str(ROOT / "pages" / f"{page}.py"), default_timeout=300)
        running.query_params["told"] = "true"
        running.run()
        assert not running.exception, running.exception
        for element in elements(running._tree):
            read_element(element, numbers)
        return Drawn(tuple(dict.fromkeys(snippets)), numbers)

    return of


def ran(snippet: str) -> tuple[str, Numbers]:
    """What a snippet prints, and the numbers that it prints and ends with."""
    printed, names, numbers = io.StringIO(), {"__name__": "__main__"}, Numbers()
    with contextlib.redirect_stdout(printed):
        exec(compile(snippet, "the shown Python", "exec"), names)
    numbers.read(printed.getvalue())
    numbers.of(names.values())
    return printed.getvalue(), numbers


@pytest.fixture
def in_a_folder(tmp_path, monkeypatch):
    """As in the project's folder, but nothing is written there."""
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("page", COMPARED)
def test_snippets_come_to_the_numbers_of_the_model_that_is_shown(page, draw, models, in_a_folder):
    drawn = [draw(page, shown) for shown in models]
    said = [[ran(snippet) for snippet in each.snippets] for each in drawn]
    assert said[0] and len(said[0]) == len(said[1])
    for which, shown in enumerate(models):
        other = 1 - which
        for number, snippet in enumerate(drawn[which].snippets):
            (printed, numbers), (printed_other, _) = said[which][number], said[other][number]
            assert printed.strip(), snippet
            own = numbers.shared(drawn[which].numbers)
            assert own or number in COMPARED[page], f"{snippet}\n\n{printed}"
            if printed == printed_other:
                continue  # about no model
            (source,) = re.findall(r"open_checkpoint\('(.*?)'\)", snippet)
            assert source in ((shown.source,) if which else OURS), snippet
            if number not in COMPARED[page]:
                assert own - numbers.shared(drawn[other].numbers), f"{snippet}\n\n{printed}"


@pytest.mark.parametrize("page", OPENING)
def test_snippets_open_what_the_page_shows_and_run(page, draw, models, in_a_folder):
    for snippet in draw(page, models[1]).snippets:
        if "open_checkpoint" in snippet:  # else it is about a name, not about a model
            assert re.findall(r"open_checkpoint\('(.*?)'\)", snippet)[:1] == [models[1].source], snippet
        ran(snippet)


def test_numbers_are_compared_as_exactly_as_they_are_written():
    page, program = Numbers(), Numbers()
    page.read("It is 12.3 %, 4,567 bytes, -0.001250 and 8.")
    program.read("0.12345 4567 0.00125 8 12.4 1.23")
    assert program.shared(page) == {0.12345, 4567, 0.00125}
