"""One outlier ruins the row: pull it, contain it, clip it, find real ones, and see what methods do about them."""

import streamlit as st

from pages.ui import address, captions, menu, puzzle, running, terms, weight
from pages.ui.chapter import chapter
from pages.ui.charts import chart
from pages.ui.guess import answer, guess
from pages.ui.pull import pull
from quantlib import Tensor
from quantlib.figures import outliers, pulling, super_weights
from quantlib.lm import generate
from quantlib.methods.rtn import round_to_nearest

WIDE_ROWS = 256
PROMPT = "Once upon a time there was an old king who"
TARGET = 0.10  # relative error that the puzzle asks for
SHARED = {f"every {g}" if g else "the row": g for g in pulling.SHARING}


def main() -> None:
    with chapter(menu.OUTLIERS) as page:
        with page.step(printed=True):
            spot = show_pull()
        with page.step("What if every 16 had a scale of their own?"):
            show_guess(spot)
        with page.step("Or cut it off", printed=True):
            show_clipping(spot)
        found = running.running()
        with page.step("Outliers are real", printed=True):
            running.show_note(found)
            show_real(found)
        with page.step("Super weights"):
            show_super(found)
        with page.step("Puzzle: repair the row"):
            show_puzzle(spot)
        page.in_short(
            *concluded(spot.token, spot),
            question="These were weights, which stay as they are. The numbers that flow through a model change with "
            "every text. Do they have outliers, too?",
        )


def show_pull() -> weight.Spot:
    spot = weight.beside(
        "Weights that share a **scale** share its levels. These are real weights, true to scale, and the largest "
        "decides how far apart the levels are. **Pull it down**, and watch the others get their levels back."
    )
    show_stretch(spot)
    return spot


@st.fragment
def show_stretch(spot: weight.Spot) -> None:
    row = row_of(spot)
    found = pulling.stretch(row, spot.column)
    said = address.about(spot.token, "size", "shared")
    group = address.whole(said["shared"], 16, found.weights.size, found.weights.size)
    offered = (found.weights.size, *pulling.GROUPS)
    pull(
        key="pulled",
        message=pulling.message(
            found, spot.token, "outlier", address.whole(said["size"], 20, 1100, 1000),
            group if group in offered else found.weights.size,
        ),
        on_change=lambda: keep(spot.token),
    )  # fmt: skip
    captions.receipt(
        "measured",
        f"weights {found.start} to {found.start + found.weights.size - 1} of row {spot.row}, as trained until you "
        "pull. Rings are the weights, dots what is stored, lines the levels, red the errors. INT4 has 15 levels",
    )
    captions.show_python(
        spot.opening
        + "from quantlib.figures import pulling\n\n"
        + f"row = tensor.rows({spot.row}, {spot.row + 1}).reshape(-1)\n"
        + f"found = pulling.stretch(row, {spot.column})\n"
        + 'print("one scale:", found.beside(), "a scale for every 16:", found.beside(group=16))\n'
        + "for size in (1, 0.5, 0.2, 0.1):\n"
        + "    print(size, found.beside(size))",
        pulling.stretch,
        round_to_nearest,
    )


@st.fragment
def show_guess(spot: weight.Spot) -> None:
    right = pulling.eased(row_of(spot))
    if right is None:
        st.info("This row is too short for groups.", icon="📏")
        return
    said = guess("How much is then left of the row's error?", list(pulling.EASED),
                 key="eased")  # fmt: skip
    answer(said, right, concluded(spot.token, spot)[1])


def keep(token: str) -> None:
    address.keep("pulled", "pull", token, part="share", under="size")
    address.keep("pulled", "pull", token, part="group", under="shared")


def row_of(spot: weight.Spot):
    return spot.tensor.rows(spot.row, spot.row + 1).reshape(-1)


@st.cache_data(max_entries=256, show_spinner=False)
def concluded(token: str, _spot: weight.Spot) -> list[str]:
    return pulling.conclusions(row_of(_spot), _spot.column)


@st.fragment
def show_clipping(spot: weight.Spot) -> None:
    terms.say(
        "The grid need not reach the largest weight. What is beyond its end is **clipped** to the last level: one "
        "large error, and smaller steps for all others. **Pull the end of the grid down.**"
    )
    found = pulling.stretch(row_of(spot), spot.column)
    pull(key="clipped-stretch", message=pulling.message(found, spot.token, "clip", 1000, found.weights.size))
    bits = st.segmented_control("Bits", (8, 4, 3), default=4, key="clipped", bind="query-params", required=True)
    rows = clipped(spot.opened.identity, spot.tensor.name, bits, spot.tensor)
    st.dataframe(
        rows,
        column_config={
            "clipped": st.column_config.NumberColumn(format="percent"),
            "relative error": st.column_config.NumberColumn(format="percent"),
            "SQNR, dB": None,
        },
        hide_index=True,
    )
    captions.receipt(
        "measured",
        f"on the first {WIDE_ROWS} rows of the tensor, a scale for each row chosen in four ways; the last line tries "
        "41 ends for each row",
    )


@st.cache_data(show_spinner=False, max_entries=256)
def clipped(identity: str, name: str, bits: int, _tensor: Tensor) -> list[dict]:
    return outliers.clipping(_tensor.rows(0, min(WIDE_ROWS, _tensor.nrows)), bits)


@st.fragment
def show_puzzle(spot: weight.Spot) -> None:
    """Fewest bits for an error that is asked for; the score is against the best of all ways on offer."""
    row = row_of(spot)
    best = cheapest(spot.token, spot)
    if best is None:
        st.info(f"No way on offer brings this row below {TARGET:.0%}. Try another weight.", icon="🧩")
        return
    terms.say(
        f"Bring the relative error of this row of {row.size} weights to **{TARGET:.0%} or less**, with as few bits as "
        "you can. You may give groups a scale of their own, and you may keep the largest weights apart in 16 bits."
    )
    with st.container(horizontal=True):
        fits = [name for name, g in SHARED.items() if g is None or (row.size % g == 0 and g < row.size)]
        shared = st.segmented_control(
            "A scale for", fits, default=fits[0], key="repair-shared", bind="query-params", required=True
        )
        apart = st.segmented_control(
            "Kept apart", pulling.APART, default=0, key="repair-apart", bind="query-params", required=True
        )
    tried = pulling.repair(row, SHARED[shared], apart)
    puzzle.scored(error=tried.error, bits=tried.bpw, target=TARGET, best=best.bpw, free=4)
    captions.receipt(
        "measured",
        "4-bit codes, FP16 scales, and for each weight kept apart 16 bits and another 16 for its place. The score is "
        "100 for the fewest bits over 4 that any way on offer needs",
    )


@st.cache_data(show_spinner=False, max_entries=256)
def cheapest(token: str, _spot: weight.Spot) -> pulling.Repair | None:
    return pulling.cheapest(row_of(_spot), TARGET)


@st.fragment
def show_real(found: running.Running) -> None:
    rows = weight_map(found.identity, found)
    least, most = (pick(row["largest"] for row in rows) for pick in (min, max))
    terms.say(
        "The largest weight of each matrix of a language model, in units of the matrix's root mean square: "
        f"from **{least:.1f}** times in the most even matrix to **{most:.0f}** times."
    )
    chart("weight_map", outliers.weight_map_figure, rows, about=(found.identity,))
    captions.receipt("measured", "all matrices inside the layers, every weight")


@st.cache_data(show_spinner=False, max_entries=4)
def weight_map(identity: str, _found: running.Running) -> list[dict]:
    return outliers.weight_map(_found.model)


@st.fragment
def show_super(found: running.Running) -> None:
    st.markdown(
        "Some outliers must not be lost. In a model of billions of weights a **single** weight can carry so much that "
        "without it the model writes nonsense (Yu et al., 2024). It is in an early down projection, the matrix called "
        "ffn_down. Does this model have one? Take out the weights with the largest products, one by one."
    )
    if not st.toggle("Take them out (some seconds)", key="super", bind="query-params"):
        return
    base, typical, rows = worst(found.identity, found)
    st.dataframe(
        [vars(row) for row in rows],
        column_config={
            "value": st.column_config.NumberColumn(format="%.4f"),
            "product": st.column_config.NumberColumn("largest product", format="%.1f"),
            "perplexity": st.column_config.NumberColumn("perplexity without", format="%.3f"),
        },
        column_order=("matrix", "perplexity", "product", "value", "row", "column"),
        hide_index=True,
    )
    top = rows[0]
    st.markdown(
        f"With all weights the perplexity is {base:.3f}. One weight of {found.weights:,} taken out raises it by "
        f"**{top.perplexity - base:.3f}**; an ordinary weight changes it by {typical - base:+.4f}."
    )
    left, right = st.columns(2)
    for column, title, text in (
        (left, "With all weights", written(found.identity, None, found)),
        (
            right,
            f"Without {top.matrix} [{top.row}, {top.column}]",
            written(found.identity, (top.matrix, top.row, top.column), found),
        ),
    ):
        with column, st.container(border=True):
            st.markdown(f"**{title}**")
            st.text(PROMPT + text)
    captions.receipt("measured", "perplexity on 512 tokens; the likeliest token each time")


@st.cache_resource(show_spinner="Taking out weights, one by one …", max_entries=2)
def worst(identity: str, _found: running.Running):
    tokens = _found.tokenizer.encode(running.calibration_text())[:512]
    return super_weights.super_weights(_found.model, tokens, _found.tokenizer.bos, count=5)


@st.cache_data(show_spinner=False, max_entries=8)
def written(identity: str, taken: tuple[str, int, int] | None, _found: running.Running) -> str:
    """What the model goes on with, all weights in place or without one."""
    changed = _found.model if taken is None else super_weights.without(_found.model, *taken)
    tokens = list(generate(changed, _found.tokenizer.encode(PROMPT), 40))
    return _found.tokenizer.decode(tokens)


main()
