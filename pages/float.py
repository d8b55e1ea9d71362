"""What a float stores: a number to drag and bits to flip, then how far formats reach and how finely they are spaced."""

import streamlit as st

from pages.ui import address, captions, component, menu, terms, weight
from pages.ui.chapter import chapter
from pages.ui.guess import answer, guess
from quantlib import Tensor
from quantlib.figures import floats, weights
from quantlib.figures.plane import readable
from quantlib.formats import FORMATS

FIRST = ("FP32", "BF16", "FP16", "FP8_E4M3")
NAMES = ("FP32", "TF32", "BF16", "FP16", "FP8_E5M2", "FP8_E4M3", "FP6_E3M2", "FP6_E2M3", "FP4_E2M1")
SPOTS = (  # worth a look on the number line: label, number, the power of two where the line ends
    ("around 1", 1.1, 2),
    ("where FP4 ends", 6.6, 4),
    ("where FP16 ends", 66000.0, 17),
    ("subnormals of FP16", 3e-5, -14),
    ("too small for FP16", 2e-8, -24),
)
START = 0.1
PRESETS = {"0.1": START, "1": 1.0, "70000": 7e4, "1e−6": 1e-6, "∞": float("inf"), "NaN": float("nan")}
GUESSES = ("FP16", "BF16", "neither")
PUZZLE = (0.1, 3.0, 70000.0, 2e-9, 448.0)  # numbers, each for the narrowest format that keeps it
OFFERED = ("FP32", "BF16", "FP16", "FP8_E4M3", "FP4_E2M1")


def main() -> None:
    with chapter(menu.FLOAT) as page:
        with page.step(printed=True):
            spot = show_bits()
        with page.step("Range and spacing", printed=True):
            show_line(spot)
        with page.step("Two ways to spend sixteen bits", printed=True):
            show_tensor(spot)
        with page.step("Puzzle: as narrow as you dare"):
            show_puzzle()
        _, kept, _, _ = measure(*spot.about, spot.tensor)
        page.in_short(
            *floats.conclusions(kept, [FORMATS[name] for name in FIRST]),
            question="Can weights do without an exponent? What is lost if all of them become whole numbers?",
        )


def show_bits() -> weight.Spot:
    spot = weight.beside(
        "**0.1 cannot be stored.** A float is a sign (S), an exponent (E) that picks two neighbouring powers of "
        "two, and a fraction (F) that picks a place between them. **Drag the number, or press a bit.**"
    )
    show_strip(spot)
    return spot


@st.fragment
def show_strip(spot: weight.Spot) -> None:
    """The strip, and the Python that says the same of the number it shows."""
    drawn = st.container()
    more = st.toggle("More formats", key="more-formats", bind="query-params")
    names = NAMES if more else FIRST
    ours = int(weights.fp32_bits(weights.weight_at(spot.tensor, spot.row, spot.column)))
    shown = bits_from_address(spot.token)
    with drawn:
        component.bit_strip(
            key="strip",
            token=spot.token,
            label="our weight",
            formats=[floats.declaration(FORMATS[name]) for name in names],
            weight=ours,
            start=shown,
            set_by=st.query_params.get("set", NAMES[0]),
            presets=[{"label": label, "bits": int(weights.fp32_bits(x))} for label, x in PRESETS.items()],
            on_change=lambda: bits_to_address(spot.token),
        )
    captions.receipt(
        "exact",
        "The row you flip sets the value. The others round it to nearest, ties to even; "
        "▲ marks bits that rounding changed",
    )
    captions.show_python(snippet(spot, names, None if shown == ours else shown), type(FORMATS["FP32"]).encode)


def bits_from_address(token: str) -> int:
    """The FP32 pattern that `?bits=` holds, unless it was about another weight; else that of 0.1."""
    bits = weights.parse_bits(address.about(token, "bits", "set")["bits"])
    return int(weights.fp32_bits(START)) if bits is None else bits


def bits_to_address(token: str) -> None:
    """Keep what the strip shows in the address; where it began needs no mention."""
    said = address.reported("strip", "bits", token)
    if said and said["bits"] == int(weights.fp32_bits(START)):
        address.forget("bits", "set")
    elif said:
        st.query_params.update(bits=f"{said['bits']:08x}", set=said["set"])


@st.fragment
def show_line(spot: weight.Spot) -> None:
    """The number line of every format, over the tensor's own exponents."""
    wide = FORMATS["FP32"]
    terms.say(
        "Two rulers, one story. On the upper one every mark is a number that a format has. **The fraction buys "
        f"spacing**: FP32 is worth about {floats.digits(wide):.0f} digits, and beyond each power of two its marks are "
        "twice as far apart. On the lower one **the exponent buys range**: FP32 spans about "
        f"{floats.powers_of_ten(wide):.0f} powers of ten. Blue bars are the weights of the tensor. Drag on either."
    )
    counted, _, seen, total = measure(*spot.about, spot.tensor)
    token = f"{spot.opened.identity}/{spot.tensor.name}"
    drawn = st.container()
    more = st.toggle("More formats", key="more-on-line", bind="query-params")
    shown = [FORMATS[name] for name in (NAMES if more else FIRST) if name != "TF32"]
    said = address.about(token, "number", "window")
    bits = weights.parse_bits(said["number"])
    with drawn:
        component.line(
            key="line",
            line=floats.line_message(
                counted,
                shown,
                f"{token}/{more}",
                int(weights.fp32_bits(1.1)) if bits is None else bits,
                address.whole(said["window"], -30, 18, 2),
                SPOTS,
            ),
            on_change=lambda: number_to_address(f"{token}/{more}"),
        )
    captions.receipt(
        "exact",
        f"marks and ranges follow from the formats' declarations; the bars count {scope(seen, total)} of the tensor. "
        "Solid is full precision; hatched are the subnormals, which lose a bit with every step down. FP32 and BF16 "
        "reach from 2⁻¹²⁶ to 2¹²⁷",
    )
    captions.data(floats.exponents_csv(counted), "exponents.csv")
    captions.show_python(
        f"{opening(spot)}"
        "print(floats.exponents_csv(floats.exponents(weights.sample(tensor).values)))\n"
        f"for name in {NAMES!r}:\n"
        "    form = FORMATS[name]\n"
        "    print(name, form.smallest_subnormal, form.smallest_normal, form.max)",
        floats.exponents,
    )


def number_to_address(token: str) -> None:
    said = address.reported("line", "number", token)
    if said:
        st.query_params.update(number=f"{said['bits']:08x}", window=str(said["window"]))


def scope(seen: int, total: int) -> str:
    return f"all {total:,} weights" if seen == total else f"{seen:,} of {total:,} weights, evenly spaced rows,"


def show_tensor(spot: weight.Spot) -> None:
    """A guess, and what each 16-bit format keeps of the whole tensor."""
    terms.say(
        "BF16 gives eight bits to the exponent and seven to the fraction; FP16 gives five and ten. The bars above show "
        "which powers of two the weights of this tensor need."
    )
    _, kept, seen, total = measure(*spot.about, spot.tensor)
    said = guess("Around a weight, in which of the two formats is the next number nearer?", GUESSES)
    found = {k.name: k for k in kept}
    right = nearer(found["BF16"], found["FP16"])
    answer(said, right, told(spot.tensor, found["BF16"], found["FP16"]))
    captions.receipt("measured", f"on {scope(seen, total)} of the tensor")
    captions.show_python(tensor_snippet(spot), floats.kept)


def nearer(bf16: floats.Kept, fp16: floats.Kept) -> str:
    return "FP16" if fp16.finer > bf16.finer else "BF16" if bf16.finer > fp16.finer else "neither"


def told(tensor: Tensor, bf16: floats.Kept, fp16: floats.Kept) -> str:
    """The answer, in this tensor's numbers."""
    share = fp16.finer / max(1, fp16.count)
    holds = " This file is already in BF16, so BF16 has nothing left to lose." if tensor.format == "BF16" else ""
    lost = fp16.vanished + fp16.overflowed
    needs = f"{lost:,} of these weights need it" if lost else "none of these weights needs it"
    return (
        f"For {share:.2%} of these weights FP16's next number is nearer: it has three more fraction bits. Stored "
        f"as FP16, {fp16.changed:,} of {fp16.count:,} weights change, by {fp16.relative:.2g} of themselves (RMS). "
        f"Stored as BF16, {bf16.changed:,} change, by {bf16.relative:.2g}.{holds} What BF16 has instead is FP32's "
        f"range, and {needs}."
    )


@st.cache_data(max_entries=256, show_spinner="Counting the tensor's exponents …")
def measure(source: str, name: str, _tensor: Tensor) -> tuple[floats.Exponents, list[floats.Kept], int, int]:
    """What the tensor's weights are like; `source` and `name` are the key."""
    taken = weights.sample(_tensor)
    compared = [FORMATS["BF16"], FORMATS["FP16"]]
    return floats.exponents(taken.values), floats.kept(taken.values, compared), taken.seen, taken.total


@st.fragment
def show_puzzle() -> None:
    """For each number the narrowest format that keeps it within one percent; a point for each."""
    terms.say("Choose for each number the narrowest format that stores it to within **one percent**.")
    formats, points, spent, least = [FORMATS[name] for name in OFFERED], 0, 0, 0
    for at, value in enumerate(PUZZLE):
        said = st.segmented_control(
            readable(value, 6), OFFERED, default="FP32", key=f"narrow-{at}", bind="query-params", required=True,
            format_func=lambda name: f"{name.split('_')[0]}, {FORMATS[name].bits} bits",
        )  # fmt: skip
        best = floats.narrowest(value, formats)
        points += said == best.name
        spent, least = spent + FORMATS[said].bits, least + best.bits
        st.caption(floats.kept_in_words(value, FORMATS[said]))
    st.metric(
        "Score", f"{points} of {len(PUZZLE)}", f"{spent} bits; {least} are enough", delta_color="off", delta_arrow="off"
    )


def snippet(spot: weight.Spot, names: tuple[str, ...], bits: int | None) -> str:
    """Runs as it stands, and prints what the strip shows."""
    if bits is None:
        value = f"{spot.opening}x = tensor.rows({spot.row}, {spot.row + 1}).reshape(-1)[{spot.column}]\n"
    else:
        value = f"import numpy as np\n\n{spot.opening}x = np.uint32(0x{bits:08X}).view(np.float32)\n"
    return (
        value + "from quantlib.formats import FORMATS\n\n"
        f"for name in {names!r}:\n"
        "    form = FORMATS[name]\n"
        "    bits = int(form.encode(x))\n"
        "    below, above = form.neighbours(bits)\n"
        '    print(f"{name}  {bits:0{form.bits}b}  {form.fields(bits)}")\n'
        '    print(f"      value {form.decode(bits)}, next {form.decode(below)} and {form.decode(above)}")'
    )


def tensor_snippet(spot: weight.Spot) -> str:
    return (
        f"{opening(spot)}x = weights.sample(tensor).values\n"
        'for kept in floats.kept(x, [FORMATS["BF16"], FORMATS["FP16"]]):\n'
        "    print(kept)"
    )


def opening(spot: weight.Spot) -> str:
    """The first lines of the snippets about the whole tensor."""
    return spot.opening + "from quantlib.figures import floats, weights\nfrom quantlib.formats import FORMATS\n\n"


main()
