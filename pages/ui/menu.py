"""Which pages there are, by section; the router builds the menu from it and pages link to each other through it."""

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from pages.server.routes import prefix

FOLDER = Path(__file__).parents[1]


@dataclass(frozen=True)
class Entry:
    """A page: its file in `pages/`, what the menu and the address call it.

    A chapter also has a promise, one sentence on what its reader will see, the minutes that reading takes, and what its
    reader is able to do afterwards.
    """

    file: str
    title: str
    icon: str
    address: str = ""
    promise: str = ""
    minutes: int = 0
    able: str = ""

    @property
    def path(self) -> str:
        return str(FOLDER / self.file)

    def page(self) -> st.Page:
        return st.Page(self.path, title=self.title, icon=self.icon, url_path=self.address, default=not self.address)

    def link(self, label: str | None = None) -> None:
        """A link to this page, by its title."""
        st.page_link(self.path, label=label or f"**{self.title}**", icon=self.icon)

    def in_text(self) -> str:
        """The same within Markdown, under the path where the app is served."""
        return f"[{self.title}]({prefix()}/{self.address})"


HOME = Entry(
    "home.py", "Start here", "🔬", "", "One model from fewer and fewer bits, until its sums turn wrong.", 3,
    "say what fewer bits buy, and where the price begins.",
)  # fmt: skip
FLOAT = Entry(
    "float.py", "What a float stores", "🎚️", "what-a-float-stores",
    "Drag a number, flip its bits, and see what each format keeps of it.", 8,
    "read a float bit by bit, and say which format keeps a number and which does not.",
)  # fmt: skip
LEVELS = Entry(
    "levels.py", "256 levels, then 16", "🪜", "256-levels-then-16",
    "Pull the scale, and see why eight bits are easy and four are not, in numbers and in a picture.", 9,
    "turn weights into whole numbers and back, and say what a bit less costs.",
)  # fmt: skip
OUTLIERS = Entry(
    "outliers.py", "One outlier ruins the row", "📌", "one-outlier-ruins-the-row",
    "Pull one weight, and watch its neighbours lose the levels that they need.", 10,
    "find the weight that spoils its row, and choose between smaller groups, clipping and keeping it apart.",
)  # fmt: skip
ACTIVATIONS = Entry(
    "activations.py", "Activations have it worse", "🌆", "activations-have-it-worse",
    "One channel towers over all others at every word; three ways to live with it.", 9,
    "say why 8-bit activations need more than rounding, and name three ways to do it.",
)  # fmt: skip
SUPER_BLOCK = Entry(
    "super_block.py", "Inside a super-block", "🧱", "inside-a-super-block",
    "What scales cost in bits and buy in exactness, bit by bit; then a race for the best one.", 10,
    "read a k-quant's bytes, and count the bits of a format with all its scales.",
)  # fmt: skip
CODEBOOKS = Entry(
    "codebooks.py", "Codebooks", "📖", "codebooks",
    "Put the levels where the weights are; then let eight weights share one code.", 9,
    "tell what uneven levels gain from what a better scale gains.",
)  # fmt: skip
NAMES = Entry(
    "names.py", "What the name says", "🏷️", "what-the-name-says",
    "Q4_K_M, letter by letter and tensor by tensor.", 8,
    "read a file's name, count its size before you load it, and say what the name leaves open.",
)  # fmt: skip
ROUNDING = Entry(
    "rounding.py", "Smarter rounding", "🧭", "smarter-rounding",
    "Let one weight make up for another: GPTQ, AWQ and importance matrices, with the same bits.", 10,
    "say what GPTQ, AWQ and an importance matrix each change, and what they cost.",
)  # fmt: skip
COST = Entry(
    "cost.py", "What it does to the model", "⚖️", "what-it-costs",
    "The model reads, and writes, with fewer bits: what changes, in numbers and in words.", 10,
    "judge a quantized model by more than an average.",
)  # fmt: skip
MACHINE = Entry(
    "machine.py", "What the machine does with them", "⚙️", "what-the-machine-does",
    "Why fewer bits are faster until they are not, one block in the processor's registers, and the cache.", 8,
    "say when fewer bits make a model faster, and when they do not.",
)  # fmt: skip
FIT = Entry(
    "fit.py", "Which one should I run?", "🎯", "which-one-should-i-run",
    "Your memory and a model's shape in; what fits, how fast and how well, out.", 7,
    "choose a file for a machine, and defend the choice.",
)  # fmt: skip
CLAIMS = Entry(
    "claims.py", "Claims, checked", "☑️", "claims-checked",
    "Things commonly said of quantization, each with a picture and a verdict.", 8,
    "check a claim on quantization by measuring it.",
)  # fmt: skip
OPEN = Entry("open.py", "Open", "📂", "open")
INSPECT = Entry("inspect.py", "Inspect", "🔍", "inspect")
EVALUATE = Entry("evaluate.py", "Evaluate", "📊", "evaluate")
QUANTIZE = Entry("quantize.py", "Quantize", "📦", "quantize")
WORDS = Entry("words.py", "All the words", "🔤", "words")
EXPORT = Entry("export.py", "Export", "🚚", "export")

# The chapters in reading order; their numbers and their previous and next links follow from it.
CHAPTERS = (
    HOME,
    FLOAT,
    LEVELS,
    OUTLIERS,
    ACTIVATIONS,
    SUPER_BLOCK,
    CODEBOOKS,
    NAMES,
    ROUNDING,
    COST,
    MACHINE,
    FIT,
    CLAIMS,
)
SECTIONS = {
    "Learn": list(CHAPTERS),
    "Use": [OPEN, INSPECT, QUANTIZE, EXPORT, EVALUATE],
    "Look up": [WORDS],
}
ENTRIES = [entry for entries in SECTIONS.values() for entry in entries]


def number(chapter: Entry) -> int:
    """A chapter's number, from 1."""
    return CHAPTERS.index(chapter) + 1


def around(chapter: Entry) -> tuple[Entry | None, Entry | None]:
    """The chapters before and after this one."""
    at = CHAPTERS.index(chapter)
    return (CHAPTERS[at - 1] if at else None), (CHAPTERS[at + 1] if at + 1 < len(CHAPTERS) else None)
