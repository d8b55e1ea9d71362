"""Which tensor gets which format: by a recipe, by a budget, like another file, and what a person wants otherwise."""

import re
import shlex
from dataclasses import dataclass

import streamlit as st

import quantlib as ql
from pages.server import visits
from pages.server.opened import Opened, shelf
from pages.ui import model
from quantlib.jobs.likeness import recipe_like
from quantlib.recipes import RECIPES, Overrides, TensorRule
from quantlib.recipes.choosing import NO_OVERRIDES, storable
from quantlib.recipes.user import recipe_text

BY_RECIPE, BY_BUDGET, BY_EXAMPLE, SEVERAL = "a recipe", "a budget", "like another file", "several recipes"
WAYS = (BY_RECIPE, BY_BUDGET, BY_EXAMPLE, SEVERAL)
OF_RECIPE = "as the recipe says"
UNITS = {"bits per weight": "bpw", "gigabytes": "GB"}


# A server tries no expression of a stranger's that could take long: without groups and repetitions, none can.
PATTERN = re.compile(r"(?:[A-Za-z0-9_-]|\\\.|\\d|\.|\^|\$|\||\[[A-Za-z0-9-]+\])+")
LONGEST, MOST_RULES = 200, 40


def rules_of(text: str) -> tuple[TensorRule, ...]:
    """Rules as lines of PATTERN=FORMAT. Raises RecipeError or FormatError, naming the line."""
    rules = []
    for line in _lines(text):
        pattern, found, form = line.rpartition("=")
        if not found or not pattern or not form.strip():
            raise ql.RecipeError(f"{line[:60]!r} is not of the form PATTERN=FORMAT, such as attn_v=Q6_K.")
        rules.append(TensorRule(form.strip(), checked(pattern)))
    return tuple(rules)


def patterns_of(text: str) -> tuple[str, ...]:
    """Patterns, one a line. Raises RecipeError, naming the line."""
    return tuple(checked(line) for line in _lines(text))


def checked(pattern: str) -> str:
    """A pattern that is tried on names here. Raises RecipeError where the page takes none such."""
    if len(pattern) > LONGEST or not PATTERN.fullmatch(pattern):
        raise ql.RecipeError(
            f"{pattern[:60]!r} is no pattern that this page takes: letters, digits, \\. \\d [01] ^ $ and |. "
            "The command line takes any regular expression."
        )
    return pattern


def _lines(text: str) -> list[str]:
    lines = [line for line in map(str.strip, text.splitlines()) if line]
    if len(lines) > MOST_RULES:
        raise ql.RecipeError(
            f"These are {len(lines)} lines; the page takes {MOST_RULES}, and the command line takes any number."
        )
    return lines


@dataclass(frozen=True)
class Wanted:
    """What was chosen. recipe: a name or a budget; label: what the file is named after; example: a file it is like."""

    recipe: str
    label: str
    overrides: Overrides = NO_OVERRIDES
    pure: bool = False
    example: str = ""

    @property
    def arguments(self) -> str:
        """What a snippet gives `ql.plan` beside the checkpoint."""
        own, said = self._own, f"recipe={self.example or self.recipe!r}"
        said += f", overrides={own!r}" if own != NO_OVERRIDES else ""
        return said + (", pure=True" if self.pure else "")

    @property
    def imports(self) -> str:
        """What a snippet imports for it."""
        if self._own == NO_OVERRIDES:
            return ""
        return f"from quantlib.recipes import Overrides{', TensorRule' if self._own.rules else ''}\n"

    @property
    def flags(self) -> str:
        """What the command gets."""
        own, said = self._own, f" --recipe {shlex.quote(self.example or self.recipe)}"
        said += f" --output-format {own.output}" if own.output else ""
        said += f" --embedding-format {own.embedding}" if own.embedding else ""
        said += "".join(f" --tensor-format {shlex.quote(f'{rule.pattern}={rule.format}')}" for rule in own.rules)
        return said + (" --pure" if self.pure else "")

    @property
    def _own(self) -> Overrides:
        """The wishes that are not the example's."""
        return NO_OVERRIDES if self.example else self.overrides


def choose(how: str, opened: Opened, names: tuple[str, ...]) -> Wanted | None:
    """The choice, by the control that `how` names; None where something is missing, which is said."""
    if how == BY_EXAMPLE:
        return choose_example(opened)
    recipe = choose_budget() if how == BY_BUDGET else choose_recipe(names)
    overrides, pure = choose_wishes(mixes=how == BY_BUDGET)
    return Wanted(recipe, recipe.replace(":", "-"), overrides, pure)


def choose_recipe(names: tuple[str, ...]) -> str:
    if st.session_state.get("recipe") not in (None, *names):
        del st.session_state["recipe"]  # chosen for a model of another kind
    name = st.selectbox("Recipe", names, index=names.index("Q4_K_M"), key="recipe", bind="query-params")
    st.caption(RECIPES[name].summary[0].upper() + RECIPES[name].summary[1:] + ".")
    return name


def choose_budget() -> str:
    """A budget in bits per weight or in gigabytes, as `quantize --recipe` takes it."""
    left, right = st.columns(2)
    unit = left.selectbox("Budget in", list(UNITS), key="quantize-unit", bind="query-params")
    if UNITS[unit] == "bpw":
        amount = right.number_input("Bits per weight", 1.5, 16.0, 4.5, 0.25, key="budget", bind="query-params")
    else:
        amount = right.number_input("Gigabytes of the whole file", 0.001, 2000.0, 4.0, 0.5, key="quantize-gigabytes")
    st.caption("Every format is tried on a sample of every tensor's rows; then the bits go where the error falls most.")
    return f"auto:{amount:g}{UNITS[unit]}"


def choose_example(opened: Opened) -> Wanted | None:
    """Another opened GGUF file, whose mixture of formats is taken over."""
    others = {o.token: o for o in shelf().of(visits.current()) if o is not opened and o.checkpoint.kind == "gguf"}
    if not others:
        st.info("Open the GGUF file whose mixture you want on the page Open, then this model again, and come back.")
        return None
    token = st.selectbox(
        "File", list(others), format_func=lambda t: model.plain(others[t].name), key="quantize-example"
    )
    example = others[token]
    try:
        found = recipe_like(example.checkpoint)
    except ql.QuantlibError as error:
        st.info(model.told(error), icon="🧩")
        return None
    st.caption(f"Its mixture: {RECIPES[found.base].name} with {len(found.overrides.rules)} rules, by matrix and layer.")
    st.download_button(
        "This recipe as a file (TOML)", recipe_text(found), f"like-{example.stem}.toml", on_click="ignore",
        key="quantize-toml",
    )  # fmt: skip
    return Wanted(found.base, f"like-{example.stem}", found.overrides, example=example.source)


def choose_wishes(mixes: bool) -> tuple[Overrides, bool]:
    """What a person wants otherwise than the recipe. mixes: whether the formats differ by tensor in any case."""
    with st.expander("What the recipe should decide differently (optional)"):
        formats = [OF_RECIPE, *storable()]
        left, right = st.columns(2)
        output = left.selectbox("Format of the output matrix", formats, key="quantize-output")
        embedding = right.selectbox("Format of the token embedding", formats, key="quantize-embedding")
        pure = not mixes and st.toggle(
            "One format for every matrix (--pure)", key="quantize-pure",
            help="The recipe's default everywhere, without the exceptions that it makes for sensitive matrices.",
        )  # fmt: skip
        text = st.text_area(
            "Formats by pattern, one a line", key="quantize-rules", max_chars=4000, height=90,
            placeholder="attn_v=Q6_K\nblk\\.[01]\\.ffn_down=Q8_0",
            help="A regular expression searched for in GGUF's names; the first that fits decides.",
        )  # fmt: skip
        try:
            rules: tuple[TensorRule, ...] = rules_of(text)
        except ql.QuantlibError as error:
            st.error(model.told(error), icon="⚠️")
            st.stop()
    chosen = (None if name == OF_RECIPE else name for name in (output, embedding))
    return Overrides(*chosen, rules), pure
