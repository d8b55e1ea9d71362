"""What a stored number can be: the catalogue of formats."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np

from quantlib.errors import FormatError
from quantlib.formats.blocks import ACTIVATIONS, BLOCKS, EFFORTS, BlockFormat, Formula, Trace
from quantlib.formats.codebooks import CODEBOOKS, Blockwise, CodebookFormat, NestedScales, quantize_blockwise
from quantlib.formats.floats import FLOATS, FloatFormat, FloatParts
from quantlib.formats.format import Format
from quantlib.formats.granularity import Granularity, PerChannel, PerGroup, PerTensor
from quantlib.formats.integers import INTEGERS, IntegerFormat
from quantlib.formats.layout import Field, Layout, Owner
from quantlib.numba_runtime.cache_folder import delete_stale
from quantlib.numba_runtime.start import start

_ALL: tuple[Format, ...] = (*FLOATS, *INTEGERS, *CODEBOOKS, *BLOCKS, *ACTIVATIONS)
FORMATS: Mapping[str, Format] = MappingProxyType({form.name: form for form in _ALL})
_SPELLINGS = {  # of ggml and of safetensors
    "F32": "FP32",
    "F16": "FP16",
    "F8_E4M3": "FP8_E4M3",
    "F8_E5M2": "FP8_E5M2",
    "F8_E8M0": "FP8_E8M0",
}
_BY_SPELLING = {name.upper(): form for name, form in FORMATS.items()}
_BY_TYPE = {form.ggml_type: form for form in FORMATS.values() if form.ggml_type is not None}


def get(name: str) -> Format:
    """The format of that name, in any case and as ggml and safetensors spell it too (F32, F8_E4M3).

    Raises FormatError where there is none.
    """
    spelled = str(name).upper()
    form = _BY_SPELLING.get(_SPELLINGS.get(spelled, spelled))
    if form is None:
        raise FormatError(f"No format is called {name!r}: choose one of {', '.join(FORMATS)}.")
    return form


def block_format(name: str) -> BlockFormat:
    """The block format of that name, spelled in any case. Raises FormatError where it is none of ggml's blocks."""
    form = get(name)
    if not isinstance(form, BlockFormat):
        names = ", ".join(block.name for block in BLOCKS)
        raise FormatError(f"{form.name} is not a block format of GGUF: choose one of {names}.")
    return form


def by_ggml_type(ggml_type: int) -> Format | None:
    """The format with that ggml type id, None where the catalogue has none."""
    return _BY_TYPE.get(ggml_type)


def warm_up(names: Iterable[str] | None = None, effort: str = "standard") -> None:
    """Compile the kernels of these formats (of all, without names), so that the first use need not wait.

    effort: what they are compiled for, as `BlockFormat.quantize` takes it.

    Compiled code of other sources, unused for a month, is deleted.
    """
    delete_stale(start())
    for form in FORMATS.values() if names is None else [get(name) for name in names]:
        if isinstance(form, BlockFormat) and form.kind == "block":
            x = np.linspace(-1, 1, form.values, dtype=np.float32)
            form.dequantize(form.quantize(x, np.ones_like(x), effort))
            if not form.requires_importance:
                form.quantize(x, None, effort)


__all__ = [
    "EFFORTS",
    "FORMATS",
    "BlockFormat",
    "Blockwise",
    "CodebookFormat",
    "Field",
    "FloatFormat",
    "FloatParts",
    "Format",
    "Formula",
    "Granularity",
    "IntegerFormat",
    "Layout",
    "NestedScales",
    "Owner",
    "PerChannel",
    "PerGroup",
    "PerTensor",
    "Trace",
    "block_format",
    "by_ggml_type",
    "get",
    "quantize_blockwise",
    "warm_up",
]
