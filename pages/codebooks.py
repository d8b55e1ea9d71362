"""Codebooks: levels where the weights are, what levels and scales each do, grids whose points weights share."""

import streamlit as st

from pages.ui import address, captions, component, drawing, importance, menu, model
from pages.ui.chapter import Chapter, chapter
from quantlib import Tensor
from quantlib.figures import weights
from quantlib.figures.codebooks import effects, grids, marks, pictures, rulers, words
from quantlib.formats import FORMATS
from quantlib.formats.codebooks import CodebookFormat

DEFAULT = "model.layers.0.mlp.down_proj.weight"
SUPER = 256
MANY, SOME = 1 << 19, 1 << 16  # weights of a tensor that are looked at, and that are stored in several ways


def main() -> None:
    with chapter(menu.CODEBOOKS) as page:
        show(page)


def show(page: Chapter) -> None:
    with page.step(printed=True):
        head = st.container()
        with st.popover("Another tensor"):
            tensor = model.tensor_picker("tensor", DEFAULT)
        if tensor.n % SUPER:
            head.info(f"These formats need rows of a multiple of {SUPER} weights; these have {tensor.n}.", icon="📏")
            return
        with head:
            show_marks(tensor, 16)
    with page.step("Levels and scales, each on its own", printed=True):
        found = show_effects(tensor)
    with page.step("Codebooks that are in use"):
        show_rulers(tensor)
    with page.step("Eight weights, one code", printed=True):
        show_pairs(tensor)
    with page.step("One code, looked at closely"):
        show_pick(tensor)
    with page.step("Puzzle: four marks"):
        show_marks(tensor, 4)
    page.in_short(words.CODE, words.summary(found), words.SHARING)
    st.markdown(
        "**Next:** you know what a block stores. What, then, do the letters and numbers in a name like Q4_K_M say?"
    )


@st.fragment
def show_marks(tensor: Tensor, count: int) -> None:
    key = f"marks{count}"
    if count == 16:
        st.markdown(
            "Four bits name sixteen levels, and nothing says that they must be evenly spaced. Each weight goes to the "
            "nearest mark. **Crowd the marks where the weights are**, and see the error fall. (The largest weight of "
            "each block is at −1 or 1.) **NF4** is a format whose 16 levels were computed for bell-shaped weights. Can "
            "you beat it?"
        )
        rivals = {"even marks": marks.even(count), "NF4": marks.nf4()}
    else:
        st.markdown(
            "Two bits leave four marks. Even marks score 0. The best four were found by moving each mark to the middle "
            "of its weights, again and again, until none moved: they score 100. How close do you get by eye?"
        )
        rivals = {"even marks": marks.even(count), "the best four": the_best(source(), tensor.name, count, tensor)}
    token = f"{tensor.name}/{count}"
    said = marks.parse(address.about(token, key)[key], count)
    component.marks(
        key=key,
        marks=pictures.marks_message(
            the_crowd(source(), tensor.name, tensor),
            rivals,
            token,
            marks.even(count) if said is None else said,
            count == 16,
        ),
        on_change=lambda: address.keep(key, "marks", token, under=key),
    )
    captions.receipt(
        "measured",
        f"the relative error of {min(MANY, tensor.n * tensor.nrows):,} weights, each block of {marks.BLOCK} divided by "
        "its largest weight. All three rulers use the same scales",
    )
    if count == 16:
        captions.show_python(
            f"{opening(tensor)}from quantlib.figures import weights\nfrom quantlib.figures.codebooks import marks\n\n"
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


def show_effects(tensor: Tensor) -> dict:
    st.markdown(
        "Two formats differ in their levels, and also in how they find the scale. To see what each does, change one at "
        "a time. **Plain** puts the largest weight of a block on the outermost level. **Searched** tries other scales "
        "and keeps the one with the least error. All else is equal."
    )
    found, svg = the_effects(source(), tensor.name, tensor)
    drawing.draw(svg, key="effects")
    st.markdown(f"{words.two_by_two(found)} {words.of_nf4(found)}")
    captions.receipt(
        "measured",
        f"the relative error of {min(SOME, tensor.n * tensor.nrows):,} weights in blocks of 32 with FP16 scales; drawn "
        "is the most typical block. The search tries the same shares of the plain scale for all, with both signs",
    )
    captions.show_python(
        f"{opening(tensor)}from quantlib.figures import weights\nfrom quantlib.figures.codebooks import effects\n\n"
        f"x = weights.sample(tensor, {SOME}).values.reshape(-1, tensor.n)\n"
        "for (levels, searched), stored in effects.effects(x).items():\n"
        "    print(f\"{levels:7} {'searched' if searched else 'plain':9} {stored.relative:.2%}\")",
        effects.store,
    )
    return found


@st.fragment
def show_rulers(tensor: Tensor) -> None:
    st.markdown(
        "Five rulers that files are written with. **Drag the weight** and see where each of them stores it. The table "
        "has what each format loses as it is, with its own blocks and its own scales: these are no longer equal."
    )
    token = tensor.name
    start = address.whole(address.about(token, "share")["share"], -1000, 1000, 310)
    component.rulers(
        key="rulers",
        rulers=pictures.rulers_message(rulers.rulers(), the_crowd(source(), tensor.name, tensor), tensor.name, start),
        on_change=lambda: address.keep("rulers", "share", token),
    )
    st.html(pictures.lost_html(lost(source(), tensor.name, tensor)))
    captions.receipt(
        "measured",
        "the whole way into the format and back, on up to half a million weights of the tensor. IQ4_NL reaches further "
        "on one side, and its scale may be negative, so it turns to where the largest weight is",
    )
    captions.show_python(
        f"{opening(tensor)}from quantlib.figures import weights\nfrom quantlib.figures.codebooks import rulers\n\n"
        f"for found in rulers.lost(weights.sample(tensor, {MANY}).values.reshape(-1, tensor.n)):\n"
        '    print(f"{found.name:8} {found.bpw} bits per weight, relative error {found.relative:.2%}")',
        rulers.lost,
        CodebookFormat.nearest,
    )


@st.cache_data(max_entries=256, show_spinner="Storing the tensor in five formats …")
def lost(source: str, name: str, _tensor: Tensor) -> list[rulers.Lost]:
    return rulers.lost(some_rows(_tensor, MANY))


@st.fragment
def show_pairs(tensor: Tensor) -> None:
    st.markdown(
        "At two bits a weight has four levels, which is too few. But eight neighbours together have sixteen bits. Not "
        "every pattern of eight is worth a code: large weights are rare, and two of them side by side are rarer. "
        "An i-quant has a **grid**: a list of the patterns that are worth one."
    )
    name = st.segmented_control(
        "Format", list(grids.GRIDS), default="IQ2_XXS", key="grid", bind="query-params", required=True
    )
    found = the_pairs(source(), tensor.name, name, tensor)
    left, right = st.columns([1, 1], gap="large")
    with left:
        drawing.draw(pictures.pairs_svg(found), key="pairs")
    with right:
        st.markdown(words.shared(found))
        st.markdown(words.crowding(found))
        st.markdown(
            ":small[Dots: pairs of neighbouring weights. Circles: the pairs of magnitudes that a pattern can begin "
            "with; the more patterns, the larger the circle.]"
        )
    captions.receipt(
        "measured",
        f"the first {len(found.shown):,} pairs of evenly spaced rows, divided by the scale that {name} gives them",
    )
    captions.show_python(
        f"{opening(tensor)}from quantlib.figures import weights\nfrom quantlib.figures.codebooks import grids\n"
        "from quantlib.formats import FORMATS\n\n"
        f"x = weights.sample(tensor, {SOME}).values.reshape(-1, tensor.n)\n"
        f"found = grids.pairs(FORMATS[{name!r}], x)\n"
        "print(found.size, 'of', found.possible, 'patterns')\nprint(found.points)",
        grids.pairs,
    )


@st.cache_resource(max_entries=64, show_spinner="Storing the weights on the grid …")
def the_pairs(source: str, name: str, format_name: str, _tensor: Tensor) -> grids.Pairs:
    return grids.pairs(FORMATS[format_name], some_rows(_tensor, SOME))


@st.fragment
def show_pick(tensor: Tensor) -> None:
    st.markdown(
        "Real weights that share one code. On the right are the patterns that come nearest to them. Point at one, and "
        "the bars on the left show what it would make of the weights."
    )
    name = st.session_state.get("grid") or "IQ2_XXS"
    fmt, count = FORMATS[name], SUPER // grids.GRIDS[name]
    at = address.whole(st.query_params.get("code"), 0, count - 1, 0)
    steering = importance.of_block(tensor, SUPER, 0)
    if fmt.requires_importance and steering is None:
        st.info(f"{name} needs an importance matrix, and this model cannot be run here to make one.", icon="🧭")
        return
    found = the_pick(source(), tensor.name, name, at, tensor)
    token = f"{tensor.name}/{name}/{at}"
    start = address.whole(address.about(token, "candidate")["candidate"], 0, len(found.points) - 1, 0)
    component.pick(
        key="pick",
        pick=pictures.pick_message(found, token, start),
        on_change=lambda: address.keep("pick", "candidate", token),
    )
    st.number_input("Another code of this super-block", 0, count - 1, 0, key="code", bind="query-params")
    with st.container(key="signs"):
        st.markdown(words.signs(found))
    first = at * grids.GRIDS[name]
    captions.receipt(
        "measured",
        f"weights {first} to {first + grids.GRIDS[name] - 1} of super-block 0 in {name}, the scale as stored. A red "
        f"line is thicker where the search counts the error more. {importance.RECEIPT.capitalize()}",
    )
    captions.show_python(
        f"{opening(tensor)}from quantlib.figures import weights\nfrom quantlib.figures.codebooks import grids\n"
        "from quantlib.figures.inputs import column_importance\nfrom quantlib.formats import FORMATS\n\n"
        f"{importance.PYTHON}"
        f"block = weights.block_at(tensor, {SUPER}, 0)\n"
        f"found = grids.pick(FORMATS[{name!r}], block, importance[:{SUPER}], {at})\n"
        "for number, point, error in zip(found.numbers, found.points, found.errors):\n"
        '    print(number, point, f"{error:.3g}", "stored" if number == found.chosen else "")',
        grids.pick,
        fmt.reference[0],
    )


@st.cache_resource(max_entries=512, show_spinner=False)
def the_pick(source: str, name: str, format_name: str, at: int, _tensor: Tensor) -> grids.Pick:
    block, steering = weights.block_at(_tensor, SUPER, 0), importance.of_block(_tensor, SUPER, 0)
    return grids.pick(FORMATS[format_name], block, steering, at)


def source() -> str:
    return model.current().identity


def opening(tensor: Tensor) -> str:
    """The first lines of every snippet of this page."""
    return (
        "import quantlib as ql\n\n"
        f"checkpoint = ql.open_checkpoint({model.shown_path(model.current_checkpoint())!r})\n"
        f"tensor = checkpoint.tensors[{tensor.name!r}]\n"
    )


main()
