"""What the name says: a recipe's name letter by letter, and the model tensor by tensor."""

import streamlit as st

import quantlib as ql
from pages.ui import address, budget, captions, menu, model
from pages.ui.chapter import chapter
from pages.ui.guess import guess, verdict
from pages.ui.pointing import pointing
from quantlib import tables
from quantlib.figures import mixtures, treemap
from quantlib.fit import KNOWN
from quantlib.recipes import RECIPES, choose_formats

OPEN = "The open model"
ABOUT = "Llama-3-8B"
BITS = ("4.0", "4.5", "4.9", "6.6")
LETTERS = ("how precise the scales are", "which tensors get more bits", "how large the blocks are")
FAMILY = {name: family for family, names in mixtures.FAMILIES.items() for name in names}


def main() -> None:
    with chapter(menu.NAMES) as page:
        with page.step(printed=True):
            st.markdown(
                "A file called `Q4_K_M` does not hold four bits for each weight. The name is short for a **recipe**: "
                "a format that most tensors get, and rules for the others."
            )
            ask_bits()
        with page.step("The name, taken apart", printed=True):
            plan = choose_plan()
            show_name(plan)
        with page.step("S, M and L"):
            ask_letters(plan)
        with page.step("To the byte"):
            show_bytes(plan)
        with page.step("Spend the budget"):
            st.markdown(
                "The rules of a recipe are somebody's experience. Can you do better? Give each kind of tensor a "
                "format, stay below the size of the recipe, and let the model read with your weights. Every tensor of "
                "a kind gets the same; the recipe may favour layers, so it is not a fair fight."
            )
            budget.show()
        page.in_short(
            "The number is the bits of a code. Scales come on top, and the output matrix gets more in every recipe.",
            "K means super-blocks; 0 and 1 are the older blocks; IQ means codebooks.",
            "S, M and L are mixtures: which tensors get a format with more bits. Scales are the same in all three.",
        )


@st.fragment
def ask_bits() -> None:
    said = guess(
        f"How many bits for each weight does {ABOUT} take in Q4_K_M, everything counted?", BITS, key="bits-in-all"
    )
    if said is None:
        return
    plan = shape_plan(ABOUT, "Q4_K_M")
    answer = min(BITS, key=lambda bits: abs(float(bits) - plan.bpw))
    st.markdown(
        f"{verdict(said, answer)} The codes have 4 bits. With the scales of its blocks Q4_K takes 4.5. And the recipe "
        f"gives some tensors Q6_K, which makes **{plan.bpw:.4f}** bits per weight over the whole model, "
        f"{tables.size(plan.nbytes)}."
    )
    captions.receipt("exact", f"counted from the shapes of {ABOUT}'s tensors and the recipe's rules")


def choose_plan() -> ql.Plan:
    """A model, or the shape of one, and a recipe; the address names both."""
    left, right = st.columns([1.4, 1])
    with left:
        opened = model.current_checkpoint().source.name
        name = st.selectbox(
            "Model", [OPEN, *KNOWN], key="shape", bind="query-params",
            help=f"The open model is {opened}. Of the others only the shape is known here; that is all a plan needs.",
        )  # fmt: skip
    with right:
        offered = [r for r in RECIPES.values() if r.quantizes]
        at = [r.name for r in offered].index("Q4_K_M")
        recipe = st.selectbox("Recipe", [r.name for r in offered], index=at, key="called", bind="query-params")
    if name == OPEN:
        return model.plan_of(model.current_checkpoint(), recipe)
    return shape_plan(name, recipe)


@st.cache_resource(show_spinner=False, max_entries=512)
def shape_plan(name: str, recipe: str) -> ql.Plan:
    return ql.plan(KNOWN[name].checkpoint(), recipe)


def show_name(plan: ql.Plan) -> None:
    """The pieces of the name over the treemap; a pressed piece is in the address."""
    recipe, source = plan.recipe, plan.checkpoint.source
    token = recipe.name
    said = address.about(token, "piece")["piece"]
    found = treemap.pieces(recipe)
    pointing(
        drawn(str(source), recipe.name, plan),
        key="name",
        rest=f"{source.name.replace('_', ' ')} in {recipe.name}\n"
        f"{len(plan.tensors)} tensors, {plan.weights:,} weights · "
        f"{plan.bpw:.4g} bits per weight · {plan.nbytes:,} bytes\nPoint at a tensor to read why it gets its format.",
        name=recipe.name,
        ask="Press a part of the name: it says what it means, and the tensors that it decides stand out.",
        pieces=found,
        token=token,
        start=address.whole(said, 0, len(found) - 1, -1),
        on_change=lambda: piece_to_address(token),
    )
    captions.receipt("exact", "areas are bytes; formats and reasons are those of the plan that would be run")
    captions.data(lambda: tables.as_csv(tables.plan(plan)["tensors"]), f"{recipe.name}-tensors.csv")
    captions.show_python(snippet(plan), choose_formats, treemap.squarified)


@st.cache_data(show_spinner=False, max_entries=512)
def drawn(source: str, recipe: str, _plan: ql.Plan) -> str:
    return treemap.treemap_svg(_plan, f"The tensors of {source} by format, in {recipe}")


def piece_to_address(token: str) -> None:
    said = address.reported("name", "piece", token)
    if said and said["piece"] >= 0:
        st.query_params["piece"] = str(said["piece"])
    else:
        address.forget("piece")


@st.fragment
def ask_letters(plan: ql.Plan) -> None:
    st.markdown("Some recipes come in sizes: small, medium, large.")
    said = guess("What differs between S, M and L?", LETTERS, key="letters")
    if said is None:
        return
    names = list(mixtures.FAMILIES)
    at = names.index(FAMILY.get(plan.recipe.name, "Q3_K"))
    family = st.segmented_control("Family", names, default=names[at], key="family", bind="query-params", required=True)
    plans = [same_model(plan, name) for name in mixtures.FAMILIES[family]]
    st.markdown(
        f"{verdict(said, LETTERS[1])} Each column of cells is a layer. A dot marks a tensor that gets another format "
        "than in the panel before. The formats themselves, with their blocks and scales, are the same in all panels."
    )
    pointing(
        mixtures.mixtures_svg(plans) + mixtures.legend_html(plans),
        key="mixtures",
        rest="Point at a cell\nfor the tensor, its format, and the reason.",
        token=family,
    )
    st.dataframe(
        mixtures.comparison(plans),
        column_config={"bytes": st.column_config.NumberColumn(format="localized")},
        hide_index=True,
    )
    captions.receipt("exact", "plans of the same tensors; rules as in llama.cpp, checked against llama-quantize")


def same_model(plan: ql.Plan, recipe: str) -> ql.Plan:
    name = plan.checkpoint.source.name
    return shape_plan(name, recipe) if name in KNOWN else model.plan_of(plan.checkpoint, recipe)


def show_bytes(plan: ql.Plan) -> None:
    st.markdown(
        "Nothing is compressed, so the size needs no measuring: blocks times bytes of a block, and a header. Where a "
        "row does not divide into blocks, another format stands in, and the reasons above say so."
    )
    st.dataframe(
        mixtures.by_format(plan),
        placeholder="–",
        column_config={
            name: st.column_config.NumberColumn(format="localized") for name in ("weights", "blocks", "bytes")
        },
        hide_index=True,
    )
    only_shape = " A file of this model also carries its vocabulary." if plan.checkpoint.source.name in KNOWN else ""
    captions.receipt("exact", f"these add up to the file: **{plan.nbytes:,} bytes**.{only_shape}")


def snippet(plan: ql.Plan) -> str:
    """Runs as it stands, and prints what the picture shows."""
    name = plan.checkpoint.source.name
    opened = (
        f"from quantlib.fit import KNOWN\n\ncheckpoint = KNOWN[{name!r}].checkpoint()  # its shape, without weights\n"
        if name in KNOWN
        else f"\ncheckpoint = ql.open_checkpoint({model.shown_path(plan.checkpoint)!r})\n"
    )
    return (
        "import quantlib as ql\n"
        + opened
        + f"plan = ql.plan(checkpoint, {plan.recipe.name!r})\n"
        + "for t in plan.tensors:\n"
        + '    print(f"{t.name:28} {t.target:5} {t.nbytes:>12,}  {t.reason}")\n'
        + 'print(f"{plan.nbytes:,} bytes, {plan.bpw:.4f} bits per weight")'
    )


main()
