"""The checkpoint that pages show: the demo model, or what this visit opened; and what is measured on it."""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path

import streamlit as st

import quantlib as ql
from pages.server import files
from pages.server.opened import Opened, identity, shelf
from quantlib.checkpoints import ImportanceMatrix
from quantlib.recipes import RECIPES, Overrides
from quantlib.recipes.choosing import NO_OVERRIDES

ROOT = Path(__file__).parents[2]
DEMO_MODEL = ROOT / "assets" / "demo_model"
CALCULATOR = ROOT / "assets" / "calculator"
EVALUATION = ("assets/evaluation/story.txt", "assets/evaluation/explanation.txt")
# The recipes that sizes are compared on: one for each step down.
LADDER = ("F32", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")
MOST_PLANS = 64
# What Hugging Face, GGUF and image models call the same matrix.
SAME_WORK = (
    (
        "down_proj",
        "ffn_down",
        "_mlp.2.w",
        ".ffn.2.w",
        ".ff.net.2.w",
        ".feed_forward.w2.",
        ".mlp.fc2.",
        ".mlp.layer2.",
        "0.output.dense.",
    ),
    ("up_proj", "ffn_up", "_mlp.0.w", ".ffn.0.w", ".ff.net.0.", ".feed_forward.w1.", ".mlp.fc1.", ".mlp.layer1."),
    ("q_proj", "attn_q", "attn.qkv.", "attention.qkv.", "attn.q.", ".to_q."),
    ("embed_tokens", "token_embd"),
)


@cache
def demo() -> Opened:
    """The demo model, which every visit looks at first."""
    checkpoint = ql.open_checkpoint(DEMO_MODEL)
    source = str(DEMO_MODEL.relative_to(ROOT))
    return Opened("", checkpoint, "The demo model", source, identity(checkpoint), "demo")


@cache
def calculator() -> Opened:
    """The model that adds and multiplies, whose weights the chapters follow to an answer."""
    checkpoint = ql.open_checkpoint(CALCULATOR)
    source = str(CALCULATOR.relative_to(ROOT))
    return Opened("", checkpoint, "The calculator", source, identity(checkpoint), "demo")


def lesson() -> Opened:
    """Whose weights the chapters show: the calculator's, or what this visit opened."""
    found = current()
    return calculator() if found is demo() else found


def demo_checkpoint() -> ql.Checkpoint:
    return demo().checkpoint


def current() -> Opened:
    """What this visit looks at: the demo model, or what it opened. The token in the address decides."""
    return shelf().get(st.session_state.get("opened")) or demo()


def current_checkpoint() -> ql.Checkpoint:
    """The checkpoint that every page of this visit looks at."""
    return current().checkpoint


def readable(checkpoint: ql.Checkpoint, matrices_only: bool = True) -> list[str]:
    """Names of the tensors whose values can be read; ends the page's run, with a sentence, where there are none."""
    tensors = checkpoint.tensors.items()
    names = [n for n, t in tensors if t.decodable and t.size and (len(t.shape) == 2 or not matrices_only)]
    if not names:
        st.info("This checkpoint has no matrix whose values can be read here; open another one.", icon="📏")
        st.stop()
    return names


def alike(names: Sequence[str], default: str, tensors: Mapping[str, ql.Tensor]) -> int:
    """Where the first tensor stands that does what `default` does, under any naming; else the first of whole blocks."""
    wanted = [pair for pair in SAME_WORK if any(word in default for word in pair)]
    same = (i for i, name in enumerate(names) for pair in wanted if any(word in name for word in pair))
    whole = (i for i, name in enumerate(names) if tensors[name].n % 256 == 0)
    return next(same, next(whole, 0))


KINDS = {
    "huggingface": "Hugging Face folder", "gguf": "GGUF file", "safetensors": "safetensors file",
    "pytorch": "file of PyTorch", "numpy": "file of NumPy", "onnx": "model in ONNX",
}  # fmt: skip


def kind_in_words(facts: dict) -> str:
    """What a checkpoint is, and for which architecture: `facts` as `tables.checkpoint` gives them."""
    return f"{KINDS[facts['kind']]}, architecture: {plain(str(facts['architecture'] or 'not stated'))}"


def plain(name: str) -> str:
    """An untrusted name for a label: one printable line that no label takes for markup."""
    return "".join(c if c.isprintable() else "�" for c in name)


def told(error: Exception) -> str:
    """An error for a page: a plain line that names nothing of the server."""
    return plain(files.told(error))


def plan_of(
    checkpoint: ql.Checkpoint,
    recipe: str,
    imatrix: ImportanceMatrix | None = None,
    pure: bool = False,
    overrides: Overrides = NO_OVERRIDES,
) -> ql.Plan:
    """The plan, made once for everybody: a large vocabulary takes tenths of a second to write into a header."""
    owner = demo() if checkpoint is demo_checkpoint() else shelf().holder(checkpoint)
    held = {} if owner is None else owner.plans  # plans hold their checkpoint, so they go when it goes
    key = (recipe, id(imatrix), pure, overrides)  # the entry holds the imatrix, so that no other object gets its id
    if key not in held:
        if len(held) >= MOST_PLANS:
            held.clear()
        held[key] = (ql.plan(checkpoint, recipe, imatrix, pure, overrides), imatrix)
    return held[key][0]


def plans(checkpoint: ql.Checkpoint, names: Collection[str] = LADDER) -> list[ql.Plan]:
    """Plans by these recipes, the largest file first."""
    return sorted((plan_of(checkpoint, name) for name in names if name in RECIPES), key=lambda p: -p.nbytes)


def shown_path(checkpoint: ql.Checkpoint) -> str:
    """How a snippet names this checkpoint: the demo model by its place in the project, others as they were named."""
    known = (current(), demo(), calculator())
    return next((o.source for o in known if o.checkpoint is checkpoint), Path(checkpoint.source).name)
