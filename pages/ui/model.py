"""The checkpoints that pages show: the demo model, and what this session uploaded."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

import quantlib as ql
from pages.ui import files
from quantlib.recipes import RECIPES

ROOT = Path(__file__).parents[2]
DEMO_MODEL = ROOT / "assets" / "demo_model"


@st.cache_resource(show_spinner=False)
def demo_checkpoint() -> ql.Checkpoint:
    return ql.open_checkpoint(DEMO_MODEL)


def current_checkpoint() -> ql.Checkpoint:
    """The checkpoint that this session's Learn pages look at."""
    return demo_checkpoint()


def tensor_picker(key: str, default: str, matrices_only: bool = True) -> ql.Tensor:
    """A select box over the checkpoint's tensors, kept in the address under `key`."""
    tensors = current_checkpoint().tensors
    names = [name for name, t in tensors.items() if len(t.shape) == 2 or not matrices_only]
    index = names.index(default) if default in names else 0
    name = st.selectbox("Tensor", names, index=index, key=key, bind="query-params")
    return tensors[name]


def uploaded_checkpoint(uploads: Sequence[files.Upload]) -> ql.Checkpoint:
    """What this session uploaded, stored once and opened once. Raises CheckpointError where it cannot be read."""
    key = tuple((u.name, u.size, u.file_id) for u in uploads)
    held = st.session_state.get("uploaded")
    if held is None or held[0] != key:
        held = (key, ql.open_checkpoint(files.store(uploads)))
        st.session_state["uploaded"] = held
    return held[1]


def plain_name(uploads: Sequence[files.Upload]) -> str:
    """A name for the result, from the checkpoint file's own."""
    names = [u.name for u in uploads if u.name.endswith(files.CHECKPOINT_SUFFIXES)]
    return Path(names[0]).stem if names else "model"


def plans(checkpoint: ql.Checkpoint) -> dict[str, ql.Plan]:
    """A plan by each recipe; headers only, so this is quick."""
    return {name: ql.plan(checkpoint, name) for name in RECIPES}


def shown_path(checkpoint: ql.Checkpoint) -> str:
    """How a snippet names this checkpoint: the demo model by its place in the project, others by their file name."""
    path = Path(checkpoint.source)
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
