"""The schemes of quantized Hugging Face folders that weights alone decide: ways to choose codes and to store them.

Those that need a calibration text are in `calibrated`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, TypeVar

import numpy as np

from quantlib.exports import bitsandbytes, compressed
from quantlib.exports.choices import Choices, Offer, check, said
from quantlib.exports.stored import Stored
from quantlib.formats.codebooks import FP4_BNB, NF4, CodebookFormat, quantize_blockwise
from quantlib.formats.floats import BF16, FP16, FP32
from quantlib.formats.granularity import PerChannel, PerGroup
from quantlib.formats.integers import IntegerFormat
from quantlib.methods.llm_int8 import THRESHOLD, int8_weight
from quantlib.methods.rtn import round_to_nearest

GROUP = 128
GROUPS = (128, 64, 32, None)  # that loaders have kernels for; None is a scale for each row
TRANSFORMERS, VLLM = "transformers", "vLLM"
SCALE_FORMATS = {form.dtype: form for form in (FP32, BF16, FP16)}  # scales have the type that the weights had
K = TypeVar("K", bound="Kind")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of quantized folder.

    config(dtype of the numbers in the source) -> the `quantization_config`; leaving(config, modules that are quantized,
    modules that are left as they are) -> the same, which says so. loaders: who reads such a folder. multiple: what the
    width of a layer must be a multiple of; packed: what its inputs and its outputs must be, to fill whole words.
    choices: what was chosen about it, None where nothing can be; usual: what is where nobody chooses; offers: what may
    be; make(choices) -> the kind.
    """

    name: str
    summary: str
    loaders: tuple[str, ...]
    multiple: int
    config: Callable[[np.dtype], Mapping[str, object]]
    leaving: Callable[[Mapping[str, object], Sequence[str], Sequence[str]], Mapping[str, object]]
    packed: tuple[int, int] = (1, 1)
    choices: Choices | None = None
    usual: Choices | None = None
    offers: Mapping[str, Offer] = field(default_factory=dict, compare=False, repr=False)
    make: Callable[[Choices], "Kind"] | None = field(default=None, compare=False, repr=False)
    needs_text: ClassVar[bool] = False

    @property
    def chosen(self) -> Mapping[str, object]:
        """The choices that are not the usual ones, by name."""
        return self.choices.besides(self.usual) if self.choices and self.usual else {}

    @property
    def label(self) -> str:
        """The name and what was chosen besides, as a folder is called after it."""
        return "-".join(
            [self.name, *(f"{name.replace('_', '-')}-{said(value)}" for name, value in self.chosen.items())]
        )


@dataclass(frozen=True, kw_only=True)
class Scheme(Kind):
    """A kind whose codes weights alone decide: store(weight float32 (outputs, inputs), source's dtype) -> Stored."""

    store: Callable[[np.ndarray, np.dtype], Stored]


def adjusted(kind: K, **wishes: object) -> K:
    """A kind with other choices: bits, group, symmetric, act_order, damping. Raises MethodError for what it has not."""
    for name, value in wishes.items():
        check(kind.name, name, value, kind.offers.get(name))
    if not wishes or kind.make is None or kind.choices is None:
        return kind
    return kind.make(replace(kind.choices, **wishes))  # type: ignore[arg-type, return-value]


def _codebook(name: str, form: CodebookFormat, summary: str) -> Scheme:
    return Scheme(
        name=name,
        summary=summary,
        loaders=(TRANSFORMERS, VLLM),
        multiple=2,
        store=lambda weight, dtype: bitsandbytes.four_bits(quantize_blockwise(weight, form, double=True), dtype.name),
        config=lambda dtype: bitsandbytes.four_bit_config(bitsandbytes.KINDS[form.name], True, dtype.name),
        leaving=bitsandbytes.leaving,
    )


def _grouped_integers(name: str, choices: Choices, usual: Choices) -> Scheme:
    bits, group = choices.bits, choices.group

    def store(weight: np.ndarray, dtype: np.dtype) -> Stored:
        form = IntegerFormat(bits, restricted=False, scale_format=SCALE_FORMATS[dtype])
        rounded = round_to_nearest(weight, form, PerGroup(group) if group else PerChannel())
        return compressed.packed_integers(rounded.codes, rounded.scales.reshape(len(weight), -1).astype(dtype), bits)

    weights = {"num_bits": bits, "type": "int", "strategy": "group" if group else "channel", "group_size": group}
    return Scheme(
        name=name,
        summary=f"Integers of {bits} bits, a scale for {choices.grouped}, rounded to nearest; activations stay.",
        loaders=(VLLM, TRANSFORMERS),
        multiple=group or 1,
        store=store,
        config=lambda dtype: compressed.config("pack-quantized", weights),
        leaving=compressed.leaving,
        choices=choices,
        usual=usual,
        offers={"group": GROUPS},
        make=lambda chosen: _grouped_integers(name, chosen, usual),
    )


EIGHT_BITS = Scheme(
    name="bnb-int8",
    summary="LLM.int8(): 8 bits by row; at run time the channels with outliers are multiplied in 16 bits.",
    loaders=(TRANSFORMERS, VLLM),
    multiple=1,
    store=lambda weight, dtype: bitsandbytes.eight_bits(int8_weight(weight)),
    config=lambda dtype: bitsandbytes.eight_bit_config(THRESHOLD),
    leaving=bitsandbytes.leaving,
)
FP8 = Scheme(
    name="fp8",
    summary="FP8 E4M3 with a scale for each output; activations become FP8 by token at run time.",
    loaders=(VLLM, TRANSFORMERS),
    multiple=1,
    store=lambda weight, dtype: compressed.fp8(weight, dtype),
    config=lambda dtype: compressed.config(
        "float-quantized",
        {"num_bits": 8, "type": "float", "strategy": "channel"},
        {"num_bits": 8, "type": "float", "strategy": "token"},
    ),
    leaving=compressed.leaving,
)


def _small_floats(
    name: str, summary: str, group: int, store: Callable[[np.ndarray], Stored], strategy: str, scale: str
) -> Scheme:
    """FP4 with a scale of some type for each group, as compressed-tensors packs it."""
    weights = {"num_bits": 4, "type": "float", "strategy": strategy}
    return Scheme(
        name=name,
        summary=summary,
        loaders=(VLLM, TRANSFORMERS),
        multiple=group,
        store=lambda weight, dtype: store(weight),
        config=lambda dtype: compressed.config(
            f"{name}-pack-quantized", weights | {"group_size": group, "scale_dtype": f"torch.{scale}"}
        ),
        leaving=compressed.leaving,
    )


PLAIN = (
    _codebook("bnb-nf4", NF4, "NF4 of QLoRA in blocks of 64, the scales quantized too."),
    _codebook("bnb-fp4", FP4_BNB, "The 4-bit floats of bitsandbytes in blocks of 64, the scales quantized too."),
    EIGHT_BITS,
    _grouped_integers("w4a16", Choices(), Choices()),
    _grouped_integers("w8a16", Choices(bits=8), Choices(bits=8)),
    FP8,
    _small_floats(
        "nvfp4",
        "FP4 with an FP8 scale for each 16 weights, the format of NVIDIA's Blackwell; activations stay.",
        compressed.NVFP4_GROUP,
        compressed.nvfp4,
        "tensor_group",
        "float8_e4m3fn",
    ),
    _small_floats(
        "mxfp4",
        "FP4 with a power of two for each 32 weights, the open standard; activations stay.",
        compressed.MXFP4_GROUP,
        compressed.mxfp4,
        "group",
        "uint8",
    ),
)
