"""Codebooks: levels where the weights are, what levels and scales each do, grids whose points weights share."""

import streamlit as st

from pages.ui import address, captions, component, drawing, importance, menu, model, terms, weight
from pages.ui.chapter import Chapter, chapter
from pages.ui.guess import answer, guess
from pages.ui.weight import Spot
from quantlib import Tensor
from quantlib.figures import weights
from quantlib.figures.codebooks import effects, grids, marks, pictures, rulers, words
from quantlib.formats import FORMATS
from quantlib.formats.codebooks import CodebookFormat

SUPER = 256
MANY, SOME = 1 << 19, 1 << 16  # weights of a tensor that are looked at, and that are stored in several ways


def main() -> None:
    with chapter(menu.CODEBOOKS) as page:
        show(page)


def show(page: Chapter) -> None:
    with page.step(printed=True):
        head = st.container()
        spot = weight.another()
        tensor = spot.tensor
        if tensor.n % SUPER:
            head.info(f"These formats need rows of a multiple of {SUPER} weights; these have {tensor.n}.", icon="📏")
            return
        with head:
            show_marks(spot, 16)
    with page.step("Levels and scales, each on its own", printed=True):
        found = show_effects(spot)
    with page.step("Codebooks that are in use"):
        show_rulers(spot)
    with page.step("Eight weights, one code", printed=True):
        show_grid(spot)
    with page.step("Puzzle: four marks"):
        show_marks(spot, 4)
    page.in_short(
        words.CODE,
        words.summary(found),
        words.SHARING,
        question="You know what a block stores. What, then, do the letters and numbers in a name like Q4_K_M say?",
    )


@st.fragment
def show_marks(spot: Spot, count: int) -> None:
    key = f"marks{count}"
    if count == 16:
        terms.say(
            "Four bits name sixteen levels, and nothing says that they must be evenly spaced. Each weight goes to the "
            "nearest mark. **Crowd the marks where the weights are**, and see the error fall. (The largest weight of "
            "each block is at −1 or 1.) **NF4** is a format whose 16 levels were computed for bell-shaped weights. Can "
            "you beat it?"
        )
        rivals = {"even marks": marks.even(count), "NF4": marks.nf4()}
    else:
        terms.say(
            "Two bits leave four marks. Even marks score 0. The best four were found by moving each mark to the middle "
            "of its weights, again and again, until none moved: they score 100. How close do you get by eye?"
        )
        rivals = {"even marks": marks.even(count), "the best four": the_best(*spot.about, count, spot.tensor)}
    token = f"{spot.tensor.name}/{count}"
    said = marks.parse(address.about(token, key)[key], count)
    component.marks(
        key=f"marks{count}",
        marks=pictures.marks_message(
            the_crowd(*spot.about, spot.tensor),
            rivals,
            token,
            marks.even(count) if said is None else said,
            count == 16,
        ),
        on_change=lambda: address.keep(key, "marks", token, under=key),
    )
    captions.receipt(
        "measured",
        f"the relative error of {min(MANY, spot.tensor.n * spot.tensor.nrows):,} weights, each block of "
        f"{marks.BLOCK} divided by its largest weight. All three rulers use the same scales",
    )
    if count == 16:
        captions.show_python(
            f"{opening(spot)}from quantlib.figures import weights\nfrom quantlib.figures.codebooks import marks\n\n"
            f"x = weights.sample(tensor, {MANY}).values.reshape(-1, tensor.n)\n"
            "crowd = marks.crowd(x)\n"
            'for name, ruler in {"even": marks.even(16), "NF4": marks.nf4(), "best": marks.best(crowd, 16)}.items():\n'
            '    print(f"{name:5} {marks.relative(crowd, ruler):.2%}")',
            marks.crowd,
            marks.relative,
            marks.best,
        )


@st.cache_resource(max_entries=64, show_spinner=False)
def the_crowd(source: str, name: str, _tensor: Tensor) -> marks.Crowd:
    return marks.crowd(some_rows(_tensor, MANY))


@st.cache_data(max_entries=256, show_spinner=False)
def the_best(source: str, name: str, count: int, _tensor: Tensor):
    return marks.best(the_crowd(source, name, _tensor), count)


def some_rows(tensor: Tensor, most: int):
    """Evenly spaced rows, about `most` weights: float32 (rows, n)"""
    return weights.sample(tensor, most).values.reshape(-1, tensor.n)


@st.cache_resource(max_entries=64, show_spinner="Storing the weights in six ways …")
def the_effects(source: str, name: str, _tensor: Tensor) -> tuple[dict, str]:
    x = some_rows(_tensor, SOME)
    found = effects.effects(x)
    return found, pictures.effects_svg(x, found, effects.typical(x, found))


def show_effects(spot: Spot) -> dict:
    terms.say(
        "Two formats differ in their levels, and also in how they find the scale. To see what each does, change one at "
        "a time. **Plain** puts the largest weight of a block on the outermost level. **Searched** tries other scales "
        "and keeps the one with the least error. All else is equal."
    )
    found, svg = the_effects(*spot.about, spot.tensor)
    drawing.draw(svg, key="effects")
    said = guess("Which of the two gains more here?", words.GAINS, key="gains")
    answer(said, words.gains(found), f"{words.two_by_two(found)} {words.of_nf4(found)}")
    captions.receipt(
        "measured",
        f"the relative error of {min(SOME, spot.tensor.n * spot.tensor.nrows):,} weights in blocks of 32 with FP16 "
        "scales; drawn is the most typical block. The search tries the same shares for all, with both signs",
    )
    captions.show_python(
        f"{opening(spot)}from quantlib.figures import weights\nfrom quantlib.figures.codebooks import effects\n\n"
        f"x = weights.sample(tensor, {SOME}).values.reshape(-1, tensor.n)\n"
        "for (levels, searched), stored in effects.effects(x).items():\n"
        "    print(f\"{levels:7} {'searched' if searched else 'plain':9} {stored.relative:.2%}\")",
        effects.store,
    )
    return found


@st.fragment
def show_rulers(spot: Spot) -> None:
    terms.say(
        "Five rulers that files are written with. **Drag the weight** and see where each of them stores it. The table "
        "has what each format loses as it is, with its own blocks and its own scales: these are no longer equal."
    )
    token = spot.tensor.name
    start = address.whole(address.about(token, "share")["share"], -1000, 1000, 310)
    component.rulers(
        key="rulers",
        rulers=pictures.rulers_message(rulers.rulers(), the_crowd(*spot.about, spot.tensor), token, start),
        on_change=lambda: address.keep("rulers", "share", token),
    )
    st.html(pictures.lost_html(lost(*spot.about, spot.tensor)))
    captions.receipt(
        "measured",
        "the whole way into the format and back, on up to half a million weights of the tensor. IQ4_NL reaches further "
        "on one side, and its scale may be negative, so it turns to where the largest weight is",
    )
    captions.show_python(
        f"{opening(spot)}from quantlib.figures import weights\nfrom quantlib.figures.codebooks import rulers\n\n"
        f"for found in rulers.lost(weights.sample(tensor, {MANY}).values.reshape(-1, tensor.n)):\n"
        '    print(f"{found.name:8} {found.bpw} bits per weight, relative error {found.relative:.2%}")',
        rulers.lost,
        CodebookFormat.nearest,
    )


@st.cache_data(max_entries=256, show_spinner="Storing the tensor in five formats …")
def lost(source: str, name: str, _tensor: Tensor) -> list[rulers.Lost]:
    return rulers.lost(some_rows(_tensor, MANY))


@st.fragment
def show_grid(spot: Spot) -> None:
    terms.say(
        "At two bits a weight has four levels, which is too few. But eight neighbours together have sixteen bits. Not "
        "every pattern of eight is worth a code: large weights are rare, and two of them side by side are rarer. "
        "An i-quant has a **grid**: a list of the patterns that are worth one."
    )
    name = st.segmented_control(
        "Format", list(grids.GRIDS), default="IQ2_XXS", key="grid", bind="query-params", required=True
    )
    show_pairs(spot, name)
    show_pick(spot, name)


def show_pairs(spot: Spot, name: str) -> None:
    found = the_pairs(*spot.about, name, spot.tensor)
    left, right = st.columns([1, 1], gap="large")
    with left:
        drawing.draw(pictures.pairs_svg(found), key="pairs")
    with right:
        terms.say(words.shared(found))
        terms.say(words.crowding(found))
        terms.say(
            ":small[Dots: pairs of neighbouring weights. Circles: the pairs of magnitudes that a pattern can begin "
            "with; the more patterns, the larger the circle.]"
        )
    captions.receipt(
        "measured",
        f"the first {len(found.shown):,} pairs of evenly spaced rows, divided by the scale that {name} gives them",
    )
    captions.show_python(
        f"{opening(spot)}from quantlib.figures import weights\nfrom quantlib.figures.codebooks import grids\n"
        "from quantlib.formats import FORMATS\n\n"
        f"x = weights.sample(tensor, {SOME}).values.reshape(-1, tensor.n)\n"
        f"found = grids.pairs(FORMATS[{name!r}], x)\n"
        "print(found.size, 'of', found.possible, 'patterns')\nprint(found.points)",
        grids.pairs,
    )


@st.cache_resource(max_entries=64, show_spinner="Storing the weights on the grid …")
def the_pairs(source: str, name: str, format_name: str, _tensor: Tensor) -> grids.Pairs:
    return grids.pairs(FORMATS[format_name], some_rows(_tensor, SOME))


def show_pick(spot: Spot, name: str) -> None:
    terms.say(
        "**One code, looked at closely.** Our weight and the neighbours that share its code. On the right are the "
        "patterns that come nearest to them. Point at one, and "
        "the bars on the left show what it would make of the weights."
    )
    fmt, dim = FORMATS[name], grids.GRIDS[name]
    index, place = weights.block_of(spot.tensor, SUPER, spot.row, spot.column)
    steering = importance.of_block(spot.opened, spot.tensor, SUPER, index)
    if fmt.requires_importance and steering is None:
        st.info(f"{name} needs an importance matrix, and this model cannot be run here to make one.", icon="🧭")
        return
    at = place // dim
    found = the_pick(*spot.about, name, index, at, spot)
    token = f"{spot.tensor.name}/{name}/{index}/{at}"
    start = address.whole(address.about(token, "candidate")["candidate"], 0, len(found.points) - 1, 0)
    component.pick(
        key="pick",
        pick=pictures.pick_message(found, token, start),
        on_change=lambda: address.keep("pick", "candidate", token),
    )
    with st.container(key="signs"):
        terms.say(words.signs(found))
    captions.receipt(
        "measured",
        f"our weight and its neighbours, code {at} of super-block {index} in {name}, with the scale as stored. A red "
        f"line is thicker where the search counts the error more. {importance.receipt(spot.opened)}",
    )
    captions.show_python(
        f"{opening(spot)}from quantlib.figures import weights\nfrom quantlib.figures.codebooks import grids\n"
        "from quantlib.formats import FORMATS\n"
        f"{importance.python(spot.opened)}"
        f"steering = weights.columns_of_block(importance, {SUPER}, {index})\n"
        f"found = grids.pick(FORMATS[{name!r}], weights.block_at(tensor, {SUPER}, {index}), steering, {at})\n"
        "for number, point, error in zip(found.numbers, found.points, found.errors):\n"
        '    print(number, point, f"{error:.3g}", "stored" if number == found.chosen else "")',
        grids.pick,
        fmt.reference[0],
    )


@st.cache_resource(max_entries=512, show_spinner=False)
def the_pick(source: str, name: str, format_name: str, index: int, at: int, _spot: Spot) -> grids.Pick:
    steering = importance.of_block(_spot.opened, _spot.tensor, SUPER, index)
    return grids.pick(FORMATS[format_name], weights.block_at(_spot.tensor, SUPER, index), steering, at)


def opening(spot: Spot) -> str:
    """The first lines of every snippet of this page."""
    return (
        "import quantlib as ql\n\n"
        f"checkpoint = ql.open_checkpoint({model.shown_path(spot.opened.checkpoint)!r})\n"
        f"tensor = checkpoint.tensors[{spot.tensor.name!r}]\n"
    )


main()
