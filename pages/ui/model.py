"""The checkpoints that pages show: the demo model, and what this session uploaded."""

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

import quantlib as ql
from pages.ui import files
from quantlib import tables
from quantlib.checkpoints import ImportanceMatrix, read_imatrix
from quantlib.lm import Model, Perplexity, Tokenizer, generate, load, perplexity
from quantlib.recipes import RECIPES

ROOT = Path(__file__).parents[2]
DEMO_MODEL = ROOT / "assets" / "demo_model"
EVALUATION = ("assets/evaluation/story.txt", "assets/evaluation/explanation.txt")
# The recipes that sizes are compared on: one for each step down.
LADDER = ("F32", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")
MOST_PLANS = 64
TEMPERATURE, SEED = 0.7, 3  # of the texts that the demo model writes


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


def uploaded_imatrix(upload: files.Upload) -> ImportanceMatrix:
    """An uploaded importance matrix, read once. Raises CheckpointError where it is none."""
    held = st.session_state.get("uploaded_imatrix")
    if held is None or held[0] != upload.file_id:
        held = (upload.file_id, read_imatrix(files.store_one(upload, "imatrix")))
        st.session_state["uploaded_imatrix"] = held
    return held[1]


def plain_name(uploads: Sequence[files.Upload]) -> str:
    """A name for the result, from the checkpoint file's own."""
    names = [u.name for u in uploads if u.name.endswith(files.CHECKPOINT_SUFFIXES)]
    return Path(names[0]).stem if names else "model"


def plan_of(checkpoint: ql.Checkpoint, recipe: str, imatrix: ImportanceMatrix | None = None) -> ql.Plan:
    """The plan, made once a session: a large vocabulary takes tenths of a second to write into a header."""
    held = st.session_state.setdefault("plans", {})
    key = (id(checkpoint), recipe, id(imatrix))  # the entry holds both, so that no other object gets their ids
    if key not in held:
        if len(held) >= MOST_PLANS:
            held.clear()
        held[key] = (ql.plan(checkpoint, recipe, imatrix), imatrix)
    return held[key][0]


def plans(checkpoint: ql.Checkpoint, names: Collection[str] = LADDER) -> list[ql.Plan]:
    """Plans by these recipes, the largest file first."""
    return sorted((plan_of(checkpoint, name) for name in names if name in RECIPES), key=lambda p: -p.nbytes)


@dataclass(frozen=True)
class Measured:
    """A recipe's model and what was measured on it."""

    model: Model
    tokenizer: Tokenizer
    perplexity: Perplexity
    size: str


@st.cache_resource(show_spinner=False, max_entries=6)
def measured(recipe: str, context: int) -> Measured:
    """The demo model as this recipe's file holds it, and its perplexity on the evaluation text."""
    path = files.new_folder() / "model.gguf"
    result = ql.run(ql.plan(demo_checkpoint(), recipe), path)
    with ql.open_checkpoint(path) as checkpoint:
        loaded, tokenizer = load(checkpoint), Tokenizer.of(checkpoint)
    shutil.rmtree(path.parent)
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in EVALUATION)
    found = perplexity(loaded, tokenizer.encode(text), context, tokenizer.bos)
    return Measured(loaded, tokenizer, found, tables.size(result.nbytes))


@st.cache_data(show_spinner=False, max_entries=200)
def continued(recipe: str, prompt: str, tokens: int = 48, context: int = 256) -> str:
    """What that model writes after the prompt, drawn with the same random numbers whatever the recipe."""
    found = measured(recipe, context)
    ids = found.tokenizer.encode(prompt)
    return found.tokenizer.decode(list(generate(found.model, ids, tokens, TEMPERATURE, SEED, found.tokenizer.eos)))


def shown_path(checkpoint: ql.Checkpoint) -> str:
    """How a snippet names this checkpoint: the demo model by its place in the project, others by their file name."""
    path = Path(checkpoint.source)
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
