"""The prose of pages and figures: strings that a person reads, found in the source, as sentences."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("pages", "quantlib/figures")
FEWEST = 5  # words that make a text
VALUE = "7"  # stands for what a page fills in
NO_PROSE = re.compile(  # code, markup, style
    r"import |print\(|</|<svg|<div|<path|^\s*[<{]|--[a-z]|\w\(\w*\)\.|=\w+\(|\bvar\(|^\W*$|svg|px;|viewBox"
)
MARKUP = re.compile(r"[*`]|:small\[|:gray\[|:\w+-badge\[|\]\([^)]*\)|\[(?=\w)")
SENTENCE = re.compile(r"(?<=[.!?])[\"”)]?\s+(?=[\"“(]?[A-Z0-9])|\n+")


@dataclass(frozen=True)
class Sentence:
    """A sentence and where it stands."""

    path: str
    line: int
    text: str

    @property
    def words(self) -> list[str]:
        return re.findall(r"[^\s]*[A-Za-z0-9][^\s]*", self.text)

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


def sentences(folders: tuple[str, ...] = FOLDERS) -> list[Sentence]:
    """Every sentence of every page and figure."""
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return [found for path in paths for found in _of_file(path)]


def _of_file(path: Path) -> Iterator[Sentence]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)
             if part is not node}  # fmt: skip
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False)
    }
    for node in ast.walk(tree):
        if id(node) in inner or id(node) in documents:
            continue
        text = _text(node)
        if text is None or len(text.split()) < FEWEST or NO_PROSE.search(text):
            continue
        for sentence in SENTENCE.split(MARKUP.sub("", text)):
            if len(sentence.split()) >= FEWEST:
                yield Sentence(str(path.relative_to(ROOT)), node.lineno, sentence.strip())


def _text(node: ast.AST) -> str | None:
    """A string as it reads, values as VALUE; None for what is no string."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else VALUE for part in node.values)
    return None
