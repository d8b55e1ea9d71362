"""What a sign in a model's name is: a pattern, what it says, and which questions it leaves open or answers."""

import re
from collections.abc import Callable
from dataclasses import dataclass

# What a name leaves open: what that is, and where it can be found.
WHOLE = {
    "imatrix": (
        "whether an importance matrix steered the rounding",
        "see the file's header: keys that begin with quantize.imatrix (Inspect shows them)",
    ),
    "imatrix text": (
        "which text the importance matrix was collected from",
        "see the file's header, quantize.imatrix.dataset, which names a file; the text itself only its maker has",
    ),
    "mixture": (
        "which tensor got which format: the list is the maker's and differs from model to model",
        "see the list of tensors (Inspect shows it)",
    ),
    "group": ("how many weights share a scale", "see config.json, quantization_config, group_size"),
    "calibration": ("which text it was calibrated on", "see the model's page, if its maker says so"),
    "order": ("whether columns were rounded in the order of their importance", "see config.json: desc_act or actorder"),
    "number": ("whether its 8 bits are integers or floats", "see config.json, quantization_config"),
    "kept": ("which layers keep 16 bits", "see config.json: the list of ignored modules"),
    "float": ("which 8-bit float: E4M3 or E5M2", "see the header of a safetensors file: F8_E4M3 or F8_E5M2"),
    "scaled": (
        "whether scales come with it: without them, small weights fall on few levels",
        "see the header of a safetensors file: tensors whose names end in scale",
    ),
    "format": ("which format has these bits, and which program reads it", "see config.json, or the file's header"),
    "quality": (
        "what it costs this model: a name tells bits, not errors",
        "measure it (Evaluate), or look for a KL divergence on its page",
    ),
}


@dataclass(frozen=True)
class Hit:
    """What a sign says where it was found.

    recipe: llama.cpp's recipe that it names; letters: how many pieces of the recipe's own name are spelled out, 0 for
    all; own: where in the text the maker's addition begins. bits: of each weight's code, at least. weights: of the
    model. asks, answers: keys of WHOLE.
    """

    kind: str
    title: str
    meaning: str
    asks: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    bits: float | None = None
    weights: int | None = None
    recipe: str | None = None
    letters: int = 0
    own: int = 0


@dataclass(frozen=True)
class Sign:
    """A pattern, and what it says of the text that it matched."""

    pattern: re.Pattern[str]
    read: Callable[[re.Match[str]], Hit]


def sign(pattern: str, hit: Hit | Callable[[re.Match[str]], Hit]) -> Sign:
    return Sign(re.compile(pattern, re.I), hit if callable(hit) else lambda _: hit)
