"""The signs that names of published models are made of, each with what it says and what it leaves open.

Conventions of llama.cpp (`Q4_K_M`), of those who publish GGUF files (`UD-`, `i1-`, `_L`), of vLLM's and transformers'
formats (`w4a16`, `GPTQ-Int4`, `fp8_e4m3fn`) and of ExLlama and MLX, as their documentation and model pages use them.
"""

import re

from quantlib.recipes.catalogue import RECIPES
from quantlib.recipes.signs import Hit, sign

UNITS = {"k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}
WORDS = {"m": "million", "b": "billion", "t": "trillion"}


def _size(found: re.Match[str]) -> Hit:
    count = round(float(found[1]) * UNITS[found[2].lower()])
    title = f"{found[1]} {WORDS[found[2].lower()]} weights"
    return Hit("size", title, "Rounded, and the embedding is not always counted.", weights=count)


def _experts(found: re.Match[str]) -> Hit:
    return Hit(
        "size", f"{found[1]} experts",
        f"A token uses a few of the {found[1]} experts, but all are in memory. Attention is shared, so the whole has "
        f"fewer than {found[1]} × {found[2]} billion weights.",
    )  # fmt: skip


def _active(found: re.Match[str]) -> Hit:
    return Hit(
        "size", f"{found[1]} billion active",
        "So many weights take part in each token, which sets the speed. All of them need memory.",
    )  # fmt: skip


def _recipe(found: re.Match[str]) -> Hit:
    name = FLOATS.get(found[0].upper(), found[0].upper())
    return Hit("scheme", "", "", recipe=SHORT.get(name, name), letters=3 if name in SHORT else 0)


# What llama-quantize takes for another name.
SHORT = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}
FLOATS = {"FP16": "F16", "FP32": "F32"}
NAMED = "|".join(sorted((re.escape(name) for name in (*RECIPES, *SHORT, *FLOATS)), key=len, reverse=True))


def _made(found: re.Match[str]) -> Hit:
    """A size letter that llama.cpp has no recipe for, after bits that it knows."""
    family, letters = found[1].upper(), found[2].upper()
    unsloth = letters == "XL" and family != "Q3_K"
    what = (
        "Not a recipe of llama.cpp. Unsloth uses it for files with more bits in the tensors that suffer most."
        if unsloth
        else f"Not a recipe of llama.cpp. Commonly {family} with the token embedding and the output matrix in Q8_0."
    )
    recipe = SHORT.get(family, family)
    return Hit(
        "mixture", "a maker's own mixture", what, asks=("mixture",), recipe=recipe if recipe in RECIPES else None,
        letters=3, own=len(found[1]) + 1,
    )  # fmt: skip


def _repacked(found: re.Match[str]) -> Hit:
    rows, width = found[1], found[2]
    return Hit(
        "mixture", f"{rows} rows interleaved",
        f"The bytes of Q4_0 in an order that suits one kind of processor: {rows} rows side by side, {width} codes at a "
        "time. llama.cpp reads such files no longer. It reorders a plain Q4_0 file itself when it loads it.",
        recipe="Q4_0", letters=3, own=5,
    )  # fmt: skip


def _integers(found: re.Match[str]) -> Hit:
    weights, activations = found[1], found[2]
    asks = ("group", "calibration", "kept") if weights == "4" else ("calibration", "kept")
    expanded = "Weights are expanded before they are multiplied." if int(activations) > 8 else "Both are multiplied so."
    return Hit(
        "scheme", f"weights {weights} bits, activations {activations}",
        f"Weights are stored in {weights} bits. What flows between layers has {activations}. {expanded}",
        asks=(*asks, *(("number",) if activations == "8" else ())), bits=float(weights),
    )  # fmt: skip


def _bits_alone(found: re.Match[str]) -> Hit:
    bits = next(group for group in found.groups() if group)
    return Hit("bits", f"{bits} bits for each code", "Scales come on top.", asks=("format",), bits=float(bits))


def _int_bits(found: re.Match[str]) -> Hit:
    return Hit(
        "bits", f"integers of {found[1]} bits", f"{2 ** int(found[1])} levels at most. Scales come on top.",
        asks=("group",), answers=("format", "number"), bits=float(found[1]),
    )  # fmt: skip


def _per_weight(found: re.Match[str]) -> Hit:
    return Hit(
        "bits", f"{found[1]} bits for each weight, on average",
        "What the whole was made to fit: the program chose each layer's bits, or its codebook has exactly so many.",
        answers=("format",), bits=float(found[1]),
    )  # fmt: skip


def _group(found: re.Match[str]) -> Hit:
    size = next(group for group in found.groups() if group)
    words = "a scale for each row" if size == "-1" else f"{size} weights share a scale"
    return Hit("scheme", words, "Smaller groups cost more bits and err less.", answers=("group",))


def _shard(found: re.Match[str]) -> Hit:
    return Hit("file", f"part {int(found[1])} of {int(found[2])}", "The model is all parts together.")


E4M3 = "Floats of 8 bits: 4 of exponent, 3 of fraction, up to 448, no infinity (that is what “fn” says)."
E5M2 = "Floats of 8 bits: 5 of exponent, 2 of fraction, up to 57,344."
BNB = ("kept",)
CALIBRATED = ("calibration", "group")

SIGNS = (
    # llama.cpp's recipes, and what others made of their names
    sign(rf"({NAMED})", _recipe),
    sign(r"(Q[2-8]_K|IQ\d|Q8_K|Q8)_(XXL|XL|L|P)", _made),
    sign(r"Q4_0_([48])_([48])", _repacked),
    sign(
        r"UD",
        Hit(
            "scheme",
            "Unsloth Dynamic",
            "A mixture that Unsloth chose for this model, tensor by tensor, in place of llama.cpp's rules. It is "
            "made with an importance matrix.",
            asks=("mixture",),
            answers=("imatrix",),
        ),
    ),
    sign(
        r"i1",
        Hit(
            "method",
            "with an importance matrix",
            "One uploader's mark for files whose rounding was steered by an importance matrix. Files of the "
            "same recipe without the mark had none.",
            answers=("imatrix",),
        ),
    ),
    sign(
        r"i-?mat(?:rix)?",
        Hit(
            "method",
            "with an importance matrix",
            "The rounding was steered by which inputs are large; the format is the same.",
            answers=("imatrix",),
        ),
    ),
    sign(
        r"(?:IQ\d_(?:KS|KL|KSS|KT|K)|Q\d_KV)(?:_R[48])?|I?Q\d\w{0,5}_R[48]",
        Hit(
            "scheme",
            "a format of a fork",
            "The fork ik_llama.cpp has it; llama.cpp itself does not read it.",
            asks=("mixture", "imatrix"),
        ),
    ),
    sign(
        r"MXFP4",
        Hit(
            "family",
            "floats of 4 bits",
            "Blocks of 32 share a power of two: 4.25 bits per weight.",
            answers=("format",),
            bits=4.25,
        ),
    ),
    sign(
        r"NVFP4",
        Hit(
            "family",
            "floats of 4 bits",
            "Blocks of 16 share a scale, an 8-bit float: 4.5 bits per weight.",
            asks=("kept", "calibration"),
            answers=("format",),
            bits=4.5,
        ),
    ),
    sign(r"q([2-8])(?:bit)?|([2-8])[-_]?bits?", _bits_alone),
    # floats of 8 bits
    sign(
        r"fp8[-_]e4m3(?:fn)?[-_]scaled(?:[-_]learned\w*)?",
        Hit(
            "family", "8-bit floats with scales", E4M3 + " Each tensor has a scale, or a few.", asks=("kept",), bits=8.0
        ),
    ),
    sign(r"(?:fp8[-_])?e4m3(?:fn)?", Hit("family", "8-bit floats", E4M3, asks=("scaled", "kept"), bits=8.0)),
    sign(r"(?:fp8[-_])?e5m2", Hit("family", "8-bit floats", E5M2, asks=("scaled", "kept"), bits=8.0)),
    sign(
        r"(?:scaled[-_])?fp8(?:[-_]scaled)?",
        Hit("family", "8-bit floats", "Floats of 8 bits, most likely E4M3.", asks=("float", "kept"), bits=8.0),
    ),
    sign(
        r"fp8[-_]dynamic",
        Hit(
            "family",
            "8-bit floats",
            E4M3 + " Activations are rounded to the same format while the model runs, each token "
            "with its own scale, so no calibration was needed.",
            asks=("kept",),
            bits=8.0,
        ),
    ),
    sign(
        r"fp8[-_]block",
        Hit("family", "8-bit floats", E4M3 + " Squares of 128 × 128 weights share a scale.", asks=("kept",), bits=8.0),
    ),
    # integers and methods outside GGUF
    sign(r"w(\d+)a(\d+)(?:[-_]?(?:int|fp)\d)?", _integers),
    sign(r"int([2-8])(?:wo)?", _int_bits),
    sign(
        r"GPTQ(?:[-_]?Marlin)?",
        Hit(
            "method",
            "rounded by GPTQ",
            "Column by column; the columns not yet rounded make up for the error.",
            asks=(*CALIBRATED, "order"),
            answers=("format",),
        ),
    ),
    sign(
        r"AWQ",
        Hit(
            "method",
            "rounded by AWQ",
            "Weights of important channels are scaled up before rounding. Commonly 4 bits, groups of 128.",
            asks=CALIBRATED,
            answers=("format",),
            bits=4.0,
        ),
    ),
    sign(
        r"auto-?round",
        Hit(
            "method", "rounded by AutoRound", "Which way each weight is rounded was learned on a text.", asks=CALIBRATED
        ),
    ),
    sign(
        r"HQQ",
        Hit(
            "method",
            "rounded by HQQ",
            "Scale and zero point were fitted to the weights alone, without a text.",
            asks=("group",),
            answers=("calibration", "format"),
        ),
    ),
    sign(
        r"(?:unsloth-)?(?:bnb|bitsandbytes)(?:-([48])-?bit)?",
        lambda found: Hit(
            "method",
            "stored by bitsandbytes",
            {
                "4": "4-bit codebook NF4 as a rule (FP4 is possible), blocks of 64, rounded to nearest without a text.",
                "8": "8-bit integers; a few channels with very large activations stay in 16 bits (LLM.int8()).",
            }.get(found[1], "Rounded to nearest without a text.")
            + (" Unsloth leaves some layers in 16 bits." if found[0].lower().startswith("unsloth") else ""),
            asks=BNB,
            answers=("format", "calibration", "group"),
            bits=float(found[1]) if found[1] else None,
        ),
    ),
    sign(
        r"NF4",
        Hit(
            "family",
            "16 uneven levels",
            "A codebook that suits a bell curve; blocks of 64 share a scale.",
            asks=BNB,
            bits=4.0,
            answers=("format",),
        ),
    ),
    sign(
        r"EXL2",
        Hit(
            "method",
            "for ExLlamaV2",
            "GPTQ's rounding; the bits differ from layer to layer.",
            asks=("calibration",),
            answers=("format",),
        ),
    ),
    sign(
        r"EXL3",
        Hit(
            "method",
            "for ExLlamaV3",
            "Weights are rotated, then a path through a trellis gives each its value (after QTIP).",
            asks=("calibration",),
            answers=("format",),
        ),
    ),
    sign(r"(\d{1,2}(?:\.\d{1,4})?)[-_]?bpw", _per_weight),
    sign(
        r"h([2-8])",
        lambda found: Hit(
            "mixture", f"output matrix in {found[1]} bits", "ExLlama's “head bits”: the last matrix has its own count."
        ),
    ),
    sign(r"g(\d{2,4})|(\d{2,4}|-1)g|gs(\d{2,4})|group[-_]?size[-_]?(\d{2,4})", _group),
    sign(
        r"(?:act-?order|desc_act)(?:[._-]true)?",
        Hit(
            "method",
            "in the order of importance",
            "GPTQ rounded the columns with large inputs first.",
            answers=("order",),
        ),
    ),
    sign(
        r"svdq|nunchaku",
        Hit(
            "method",
            "SVDQuant",
            "4 bits plus a small pair of 16-bit matrices that keeps outliers.",
            answers=("format",),
            bits=4.0,
        ),
    ),
    sign(
        r"MLX",
        Hit(
            "file",
            "for Apple's MLX",
            "Integers with a scale and a bias in groups, 64 weights as a rule.",
            asks=("group",),
            answers=("format",),
        ),
    ),
    sign(r"quantized", Hit("method", "stored with fewer bits", "How is said elsewhere in the name, or nowhere in it.")),
    sign(
        r"QAT",
        Hit(
            "method",
            "trained while rounding",
            "The model was trained further with rounded weights, so that it stands these bits better.",
        ),
    ),
    sign(
        r"(?:bin|pt|pth|ckpt)$",
        Hit("file", "a pickle of PyTorch", "It can run code when it is opened; prefer safetensors."),
    ),
    # the model
    sign(r"(\d{1,4}(?:\.\d{1,3})?)([BMT])", _size),
    sign(r"(\d{1,3})x(\d{1,3}(?:\.\d)?)B", _experts),
    sign(r"A(\d{1,3}(?:\.\d{1,2})?)B", _active),
    sign(r"(\d{1,3})E", lambda found: Hit("size", f"{found[1]} experts", "A token uses a few of them.")),
    sign(
        r"E(\d)B",
        lambda found: Hit(
            "size",
            f"{found[1]} billion at a time",
            "Parts of the model may stay outside fast memory; the file has more.",
        ),
    ),
    sign(
        r"instruct|chat|it|assistant",
        Hit("tuning", "tuned to follow instructions", "It answers, and takes a chat template."),
    ),
    sign(r"base|pt", Hit("tuning", "not tuned", "It continues text; it was not taught to answer.")),
    sign(
        r"thinking|reasoning|reasoner",
        Hit("tuning", "tuned to reason at length", "It writes its way to an answer first."),
    ),
    sign(r"distill(?:ed)?", Hit("tuning", "taught by another model", "Trained on what a larger model wrote.")),
    sign(
        r"abliterated|uncensored|heretic|derestricted",
        Hit("tuning", "changed to refuse less", "Others than its makers changed its weights."),
    ),
    sign(r"coder|code", Hit("tuning", "for program text", "Tuned or trained on code.")),
    sign(r"VL|vision", Hit("tuning", "reads pictures too", "The part that sees is often a file of its own.")),
    sign(
        r"mmproj",
        Hit("file", "the part that sees", "It turns a picture into tokens; the language model is another file."),
    ),
    sign(
        r"(\d{1,4})k", lambda found: Hit("tuning", f"{found[1]} thousand tokens", "The longest text it was made for.")
    ),
    sign(r"LoRA", Hit("file", "an adapter", "Small matrices that are added to a model's weights; not a model alone.")),
    # the file
    sign(r"GGUF", Hit("file", "the file format of llama.cpp", "One file: facts, vocabulary, tensors.")),
    sign(r"GGML", Hit("file", "llama.cpp's file format until August 2023", "Programs of today do not read it.")),
    sign(
        r"safetensors",
        Hit("file", "the file format of Hugging Face", "Tensors alone; config.json beside it has the facts."),
    ),
    sign(r"ONNX", Hit("file", "a file for ONNX Runtime", "The computation and the weights in one file.")),
    sign(r"(\d{5})-of-(\d{5})", _shard),
)
