"""What a float stores: sign, exponent and fraction of a real weight, to flip."""

import streamlit as st

from pages.ui import address, captions, component, menu, model
from pages.ui.chapter import chapter
from pages.ui.guess import guess, verdict
from quantlib import Tensor
from quantlib.figures import floats, weights
from quantlib.formats import FORMATS

NAMES = ("FP32", "TF32", "BF16", "FP16", "FP8_E5M2", "FP8_E4M3", "FP6_E3M2", "FP6_E2M3", "FP4_E2M1")
FORMATS_SHOWN = [FORMATS[name] for name in NAMES]
ON_LINE = [FORMATS[name] for name in NAMES if name != "TF32"]
SPOTS = (  # worth a look on the number line: label, number, the power of two where the line ends
    ("around 1", 1.1, 2),
    ("where FP4 ends", 6.6, 4),
    ("where FP16 ends", 66000.0, 17),
    ("subnormals of FP16", 3e-5, -14),
    ("too small for FP16", 2e-8, -24),
)
PRESETS = {"1": 1.0, "0.1": 0.1, "70000": 7e4, "1e−6": 1e-6, "1e−9": 1e-9, "∞": float("inf"), "NaN": float("nan")}
GUESSES = ("FP16", "BF16", "neither")
DEFAULT = "model.layers.0.mlp.down_proj.weight"


def main() -> None:
    with chapter(menu.FLOAT) as page:
        with page.step(printed=True):
            st.markdown(
                "A weight is a number, and a file has only bits for it. A float spends them on three things: a "
                "**sign** (S), an **exponent** (E) that says between which two powers of two the number lies, and a "
                "**fraction** (F) that says where between them. Formats differ only in how many bits each part gets. "
                "Here is one weight of a trained language model. **Flip its bits.** The other formats follow."
            )
            tensor, row, column = choose_weight()
            show_strip(tensor, row, column)
        with page.step("How far apart numbers lie", printed=True):
            show_line(tensor)
        with page.step("Two ways to spend sixteen bits"):
            show_tensor(tensor)
        page.in_short(
            "A float is a sign, a power of two, and a fraction between that power and the next.",
            "Between two powers of two its numbers lie evenly. Beyond each power they lie twice as far apart, so the "
            "error is about the same share of every number.",
            "Exponent bits buy range, fraction bits buy precision. BF16 has FP32's range, FP16 has eight times BF16's "
            "precision.",
            "Too large becomes infinity in FP16, NaN in FP8 E4M3 (which has no infinity), the largest number in FP4 "
            "(which has neither). Too small becomes subnormal, then zero.",
            "Weights are small and need little range, so FP16 nearly never hurts them. The smaller floats need a scale "
            "beside them.",
        )


def choose_weight() -> tuple[Tensor, int, int]:
    """A weight of the current model; the address names it."""
    left, middle, right = st.columns([3, 1, 1])
    with left:
        tensor = model.tensor_picker("tensor", DEFAULT)
    with middle:
        row = st.number_input("Row", 0, tensor.nrows - 1, 0, key="row", bind="query-params")
    with right:
        column = st.number_input("Column", 0, tensor.n - 1, 0, key="column", bind="query-params")
    return tensor, row, column


@st.fragment
def show_strip(tensor: Tensor, row: int, column: int) -> None:
    """The strip, and the Python that says the same of the number it shows."""
    weight = int(weights.fp32_bits(weights.weight_at(tensor, row, column)))
    token = f"{tensor.name}/{row}/{column}"
    component.bit_strip(
        key="strip",
        token=token,
        label=f"weight [{row}, {column}]",
        formats=[floats.declaration(fmt) for fmt in FORMATS_SHOWN],
        weight=weight,
        start=bits_from_address(token, weight),
        set_by=st.query_params.get("set", NAMES[0]),
        presets=[{"label": label, "bits": int(weights.fp32_bits(x))} for label, x in PRESETS.items()],
        on_change=lambda: bits_to_address(token, weight),
    )
    captions.receipt(
        "exact",
        "The row you flip sets the value. The others round it to nearest, ties to even; "
        "▲ marks bits that rounding changed.",
    )
    shown = bits_from_address(token, weight)
    captions.show_python(
        snippet(tensor, row, column, None if shown == weight else shown), *(type(FORMATS_SHOWN[0]).encode,)
    )


def bits_from_address(token: str, weight: int) -> int:
    """The FP32 pattern that `?bits=` holds, unless it was about another weight; else the weight's own."""
    bits = weights.parse_bits(address.about(token, "bits", "set")["bits"])
    return weight if bits is None else bits


def bits_to_address(token: str, weight: int) -> None:
    """Keep what the strip shows in the address; the weight itself needs no mention."""
    said = address.reported("strip", "bits", token)
    if said and said["bits"] == weight:
        address.forget("bits", "set")
    elif said:
        st.query_params.update(bits=f"{said['bits']:08x}", set=said["set"])


@st.fragment
def show_line(tensor: Tensor) -> None:
    """The number line of every format, over the tensor's own exponents."""
    st.markdown(
        "Every mark is a number that a format has. Drag along the upper line: at each power of two the marks move "
        "twice as far apart. Drag along the lower one to where a format ends. Solid is full precision; hatched are the "
        "**subnormals**, which lose a bit with every step down; beyond, nothing is left. The blue bars are the weights "
        "of the tensor: they ask for far less range than the formats offer."
    )
    counted, _, seen, total = measure(source(), tensor.name, tensor)
    token = tensor.name
    said = address.about(token, "number", "window")
    bits = weights.parse_bits(said["number"])
    component.line(
        key="line",
        line=floats.line_message(
            counted,
            ON_LINE,
            token,
            int(weights.fp32_bits(1.1)) if bits is None else bits,
            address.whole(said["window"], -30, 18, 2),
            SPOTS,
        ),
        on_change=lambda: number_to_address(token),
    )
    scope = f"all {total:,} weights" if seen == total else f"{seen:,} of {total:,} weights, evenly spaced rows,"
    captions.receipt(
        "exact",
        f"marks and ranges follow from the formats' declarations; the bars count {scope} of the tensor. FP32 and BF16 "
        "go on to 2⁻¹²⁶ and 2¹²⁷.",
    )
    captions.data(floats.exponents_csv(counted), "exponents.csv")
    captions.show_python(
        f"{opening(tensor)}"
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


def source() -> str:
    return model.current().identity


def show_tensor(tensor: Tensor) -> None:
    """The whole tensor: a guess, then what each format would keep of it."""
    st.markdown(
        "BF16 gives eight bits to the exponent and seven to the fraction; FP16 gives five and ten. Take the weights of "
        "this tensor one by one."
    )
    _, kept, seen, total = measure(source(), tensor.name, tensor)
    said = guess("Around a weight, in which of the two formats is the next number nearer?", GUESSES)
    if said is None:
        return
    reveal(said, tensor, {k.name: k for k in kept})
    scope = f"all {total:,} weights" if seen == total else f"{seen:,} of {total:,} weights, evenly spaced rows,"
    captions.receipt("measured", f"on {scope} of the tensor")
    captions.show_python(tensor_snippet(tensor), floats.kept)


@st.cache_data(max_entries=256, show_spinner="Counting the tensor's exponents …")
def measure(source: str, name: str, _tensor: Tensor) -> tuple[floats.Exponents, list[floats.Kept], int, int]:
    """What the tensor's weights are like; `source` and `name` are the key."""
    taken = weights.sample(_tensor)
    compared = [FORMATS["BF16"], FORMATS["FP16"]]
    return floats.exponents(taken.values), floats.kept(taken.values, compared), taken.seen, taken.total


def reveal(said: str, tensor: Tensor, kept: dict[str, floats.Kept]) -> None:
    """The answer, in this tensor's numbers."""
    bf16, fp16 = kept["BF16"], kept["FP16"]
    share = fp16.finer / max(1, fp16.count)
    answer = "FP16" if share > 0.5 else "BF16" if bf16.finer > fp16.finer else "neither"
    st.markdown(
        f"{verdict(said, answer)} For {share:.2%} of these weights FP16's next number is "
        "nearer: it has three more fraction bits, so its numbers lie eight times as close. What BF16 has instead is "
        "range. FP16 ends at 65,504 and loses bits below 2⁻¹⁴; BF16 reaches as far as FP32, so hardly anything that "
        "happens in training is too large or too small for it."
    )
    st.markdown(
        f"Stored as FP16, **{fp16.changed:,}** of {fp16.count:,} weights change, {fp16.vanished:,} of them to zero. "
        f"Stored as BF16, **{bf16.changed:,}** change, {bf16.vanished:,} of them to zero."
        + (" This file already holds BF16, so BF16 has nothing left to lose." if tensor.format == "BF16" else "")
    )


def snippet(tensor: Tensor, row: int, column: int, bits: int | None) -> str:
    """Runs as it stands, and prints what the strip shows."""
    path = model.shown_path(model.current_checkpoint())
    value = (
        f"tensor = ql.open_checkpoint({path!r}).tensors[{tensor.name!r}]\n"
        f"x = tensor.rows({row}, {row + 1})[0, {column}]\n"
        if bits is None
        else f"x = np.uint32(0x{bits:08X}).view(np.float32)\n"
    )
    return (
        ("" if bits is None else "import numpy as np\n\n")
        + ("import quantlib as ql\n" if bits is None else "")
        + "from quantlib.formats import FORMATS\n\n"
        + value
        + f"for name in {NAMES!r}:\n"
        "    form = FORMATS[name]\n"
        "    bits = int(form.encode(x))\n"
        "    below, above = form.neighbours(bits)\n"
        '    print(f"{name}  {bits:0{form.bits}b}  {form.fields(bits)}")\n'
        '    print(f"      value {form.decode(bits)}, next {form.decode(below)} and {form.decode(above)}")'
    )


def tensor_snippet(tensor: Tensor) -> str:
    return (
        f"{opening(tensor)}x = weights.sample(tensor).values\n"
        'for kept in floats.kept(x, [FORMATS["BF16"], FORMATS["FP16"]]):\n'
        "    print(kept)"
    )


def opening(tensor: Tensor) -> str:
    """The first lines of the snippets about the whole tensor."""
    return (
        "import quantlib as ql\n"
        "from quantlib.figures import floats, weights\n"
        "from quantlib.formats import FORMATS\n\n"
        f"tensor = ql.open_checkpoint({model.shown_path(model.current_checkpoint())!r}).tensors[{tensor.name!r}]\n"
    )


main()
