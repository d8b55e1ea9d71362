"""What the name says: a recipe's name letter by letter, and the model tensor by tensor."""

import shlex

import streamlit as st

import quantlib as ql
from pages.server.opened import identity
from pages.ui import address, budget, captions, drawing, menu, model, terms
from pages.ui.chapter import chapter
from pages.ui.guess import answer, guess
from pages.ui.pointing import pointing
from quantlib import tables
from quantlib.figures import mixtures, treemap
from quantlib.figures.label import label_html
from quantlib.fit import KNOWN
from quantlib.recipes import RECIPES, choose_formats
from quantlib.recipes.labels import LONGEST, read_label

OPEN = "The open model"
ABOUT = "Llama-3-8B"
MET = {  # names that people meet
    "UD-Q4_K_XL": "https://huggingface.co/unsloth/Qwen3-30B-A3B-GGUF/blob/main/Qwen3-30B-A3B-UD-Q4_K_XL.gguf",
    "Q4_K_L": "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF:Q4_K_L",
    "i1-": "Mistral-Nemo-12B.i1-IQ3_XXS.gguf",
    "MXFP4_MOE": "gpt-oss-20b-MXFP4_MOE.gguf",
    "Q4_0_4_4": "Phi-3-mini-4k-instruct-Q4_0_4_4.gguf",
    "fp8 scaled": "flux1-dev-fp8_e4m3fn_scaled.safetensors",
    "w4a16": "RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16",
    "GPTQ-Int4": "Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4",
    "AWQ": "TheBloke/Llama-2-7B-Chat-AWQ",
    "bnb-4bit": "unsloth/Llama-3.2-1B-Instruct-unsloth-bnb-4bit",
    "EXL3": "Llama-3.1-70B-Instruct-exl3-2.5bpw-h6",
    "Ollama": "llama3.1:8b-instruct-q4_K_M",
}
FIRST = "UD-Q4_K_XL"
BITS = ("4.0", "4.5", "4.9", "6.6")
LETTERS = ("how precise the scales are", "which tensors get more bits", "how large the blocks are")
FAMILY = {name: family for family, names in mixtures.FAMILIES.items() for name in names}


def main() -> None:
    with chapter(menu.NAMES) as page:
        with page.step(printed=True):
            terms.say(
                "A file called `Q4_K_M` stores more than four bits for each weight. The name stands for a "
                "**recipe**: a format for most tensors, and rules for the others. Each box below is a tensor, as large "
                "as its bytes. **Press a part of the name** and see which tensors it decides."
            )
            picture = st.container()
            plan = choose_plan()
            with picture:
                show_name(plan)
            show_sources(plan)
        with page.step("How many bits is that?", printed=True):
            ask_bits(plan)
        with page.step("Names that you meet", printed=True):
            show_met()
        with page.step("S, M and L"):
            ask_letters(plan)
        with page.step("To the byte"):
            show_bytes(plan)
        with page.step("Puzzle: spend the budget"):
            terms.say(
                "A recipe's rules are experience. Can you do better? Give each kind of tensor a format and stay below "
                "the recipe's size. The model then reads with your weights. Yours is one format for each kind, while "
                "the recipe may favour layers: it has more freedom than you."
            )
            budget.show()
        page.in_short(
            *mixtures.lessons(),
            question="A recipe says how many bits a tensor gets. Can the same bits be spent better?",
        )


@st.fragment
def ask_bits(plan: ql.Plan) -> None:
    """The bill of bits; the reader's guess covers the sum under it."""
    terms.say(
        "The number in a name counts the bits of a **code**, the small integer stored for a weight. Two things come on "
        "top: the scales that turn codes back into weights, and the tensors that get a larger format."
    )
    drawing.draw(mixtures.bill_html(plan), key="bill")
    said = guess(
        f"How many bits for each weight does {ABOUT} take in Q4_K_M, everything counted?", BITS, key="bits-in-all"
    )
    found = shape_plan(ABOUT, "Q4_K_M")
    answer(said, mixtures.nearest(found.bpw, BITS), mixtures.bill(found).words)
    captions.receipt("exact", f"counted from the shapes of {ABOUT}'s tensors and the recipe's rules")


@st.fragment
def show_met() -> None:
    """Any name that the reader pastes, taken apart."""
    terms.say(
        "People who publish models add marks of their own. **Paste a file's name or a model page's address.** It is "
        "taken apart here; nothing is fetched."
    )
    st.session_state.setdefault("pasted", MET[FIRST])
    text = st.text_input("A name", key="pasted", bind="query-params", max_chars=LONGEST)
    st.pills("Or one of these", list(MET), key="met", on_change=take_met)
    drawing.draw(label_html(read_label(text)), key="label")
    captions.receipt(
        "published",
        "what marks mean is as their makers document it: llama.cpp, Unsloth, Hugging Face, vLLM, ExLlama, MLX",
    )
    captions.show_python(
        "from quantlib.recipes.labels import read_label\n\n"
        f"label = read_label({text!r})\n"
        "for part in label.parts:\n"
        '    print(f"{part.text:20} {part.title}")\n'
        "for one in label.unknown:\n"
        '    print("not known:", one.what)',
        read_label,
        shell=f"python -m quantlib name {shlex.quote(text)}",
    )


def take_met() -> None:
    if st.session_state["met"]:
        st.session_state["pasted"] = MET[st.session_state["met"]]


def choose_plan() -> ql.Plan:
    """A model, or the shape of one, and a recipe; the address names both."""
    opened = model.current()
    models, offered = [OPEN, *KNOWN], [r.name for r in RECIPES.values() if r.quantizes]
    first = models.index(ABOUT if opened is model.demo() else OPEN)
    with st.popover("Another recipe or model", icon="🏷️"):
        recipe = st.selectbox("Recipe", offered, offered.index("Q4_K_M"), key="called", bind="query-params")
        name = st.selectbox(
            "Model", models, first, key="shape", bind="query-params",
            help=f"The open model is {model.plain(opened.checkpoint.source.name)}. Of the others only the shape is "
            "known here; that is all a plan needs.",
        )  # fmt: skip
    if name == OPEN:
        return model.plan_of(model.current_checkpoint(), recipe)
    return shape_plan(name, recipe)


@st.cache_resource(show_spinner=False, max_entries=512)
def shape_plan(name: str, recipe: str) -> ql.Plan:
    return KNOWN[name].planned(recipe)


def show_name(plan: ql.Plan) -> None:
    """The pieces of the name over the treemap; a pressed piece is in the address."""
    recipe, source = plan.recipe, plan.checkpoint.source
    token = recipe.name
    said = address.about(token, "piece")["piece"]
    found = treemap.pieces(recipe)
    pointing(
        drawn(identity(plan.checkpoint), recipe.name, plan),
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


def show_sources(plan: ql.Plan) -> None:
    """Where the picture's numbers come from, its data and its Python."""
    captions.receipt("exact", "areas are bytes; formats and reasons are those of the plan that would be run")
    captions.data(lambda: tables.as_csv(tables.plan(plan)["tensors"]), f"{plan.recipe.name}-tensors.csv")
    captions.show_python(snippet(plan), choose_formats, treemap.squarified)


@st.cache_data(show_spinner=False, max_entries=512)
def drawn(identity: str, recipe: str, _plan: ql.Plan) -> str:
    return treemap.treemap_svg(_plan, f"The tensors of {_plan.checkpoint.source.name} by format, in {recipe}")


def piece_to_address(token: str) -> None:
    said = address.reported("name", "piece", token)
    if said and said["piece"] >= 0:
        st.query_params["piece"] = str(said["piece"])
    else:
        address.forget("piece")


@st.fragment
def ask_letters(plan: ql.Plan) -> None:
    terms.say(
        "Some recipes come in sizes: small, medium, large. Each column of cells is a layer. A dot marks a tensor that "
        "gets another format than in the panel before."
    )
    names = list(mixtures.FAMILIES)
    at = names.index(FAMILY.get(plan.recipe.name, "Q3_K"))
    family = st.segmented_control("Family", names, default=names[at], key="family", bind="query-params", required=True)
    plans = [same_model(plan, name) for name in mixtures.FAMILIES[family]]
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
    said = guess("What differs between S, M and L?", LETTERS, key="letters")
    answer(said, LETTERS[1], "The formats themselves, with their blocks and scales, are the same in all panels.")


def same_model(plan: ql.Plan, recipe: str) -> ql.Plan:
    name = plan.checkpoint.source.name
    return shape_plan(name, recipe) if name in KNOWN else model.plan_of(plan.checkpoint, recipe)


def show_bytes(plan: ql.Plan) -> None:
    terms.say(
        "The size of a file can be counted before it is made: blocks times bytes of a block, and a header. Where a row "
        "does not divide into blocks, another format takes its place, and the reasons above say so."
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
        f"from quantlib.fit import KNOWN\n\nplan = KNOWN[{name!r}].planned({plan.recipe.name!r})  # from its shape\n"
        if name in KNOWN
        else "import quantlib as ql\n\n"
        f"checkpoint = ql.open_checkpoint({model.shown_path(plan.checkpoint)!r})\n"
        f"plan = ql.plan(checkpoint, {plan.recipe.name!r})\n"
    )
    return (
        opened
        + "for t in plan.tensors:\n"
        + '    print(f"{t.name:28} {t.target:5} {t.nbytes:>12,}  {t.reason}")\n'
        + 'print(f"{plan.nbytes:,} bytes, {plan.bpw:.4f} bits per weight")'
    )


main()
