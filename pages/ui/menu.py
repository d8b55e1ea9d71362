"""Which pages there are, by section; the router builds the menu from it and pages link to each other through it."""

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

FOLDER = Path(__file__).parents[1]


@dataclass(frozen=True)
class Entry:
    """A page: its file in `pages/`, what the menu and the address call it."""

    file: str
    title: str
    icon: str
    address: str = ""

    @property
    def path(self) -> str:
        return str(FOLDER / self.file)

    def page(self) -> st.Page:
        return st.Page(self.path, title=self.title, icon=self.icon, url_path=self.address, default=not self.address)

    def link(self) -> None:
        """A link to this page, by its title."""
        st.page_link(self.path, label=f"**{self.title}**", icon=self.icon)


HOME = Entry("home.py", "Start", "🔬")
FLOAT = Entry("float.py", "What a float stores", "🎚️", "what-a-float-stores")
SUPER_BLOCK = Entry("super_block.py", "Inside a super-block", "🧱", "inside-a-super-block")
QUANTIZE = Entry("quantize.py", "Quantize", "📦", "quantize")
COST = Entry("cost.py", "What it costs", "⚖️", "what-it-costs")

SECTIONS = {"": [HOME], "Learn": [FLOAT, SUPER_BLOCK, COST], "Use": [QUANTIZE]}
