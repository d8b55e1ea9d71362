"""The schemes that need a calibration text: GPTQ, AWQ and SmoothQuant, chosen layer by layer, and folded.

GGUF orders the rows of some matrices in its own way, so rows go back.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from quantlib.architectures import KNOWN
from quantlib.checkpoints import Checkpoint
from quantlib.checkpoints.convert.tensors import gguf_name, row_order
from quantlib.errors import MethodError
from quantlib.exports.exporting import Packed, Prepared
from quantlib.exports.folding import Folding, makers_of
from quantlib.exports.linears import Linear, declared, kept_of, linears_of, stored_dtype
from quantlib.exports.schemes import Kind
from quantlib.exports.stored import Stored
from quantlib.lm.model import Model
from quantlib.lm.quantizing import quantize_layers
from quantlib.lm.windows import Windows
from quantlib.methods.catalogue import Method


@dataclass(frozen=True, eq=False)
class Scaled:
    """What a scaling method leaves of a matrix: the codes of W · s, in the method's own form, and s (inputs,)."""

    result: object
    scales: np.ndarray


@dataclass(frozen=True, kw_only=True)
class CalibratedScheme(Kind):
    """A kind whose codes are chosen on a text.

    methods(model, dtype of the source) -> the method, and others for some kinds of matrix ("attn_q"). Where `folds`,
    results are Scaled, but for inputs that cannot be divided.
    store(result, rows, divisor, dtype) -> Stored: rows puts the result's rows into Hugging Face's order; each row of
    the decoded weight is to be divided by the divisor (outputs,), in that order, for the matrix that it feeds.
    """

    methods: Callable[[Model, np.dtype], tuple[Method, Mapping[str, Method]]]
    store: Callable[[Any, np.ndarray, np.ndarray, np.dtype], Stored]
    folds: bool
    needs_text: ClassVar[bool] = True


def prepare(
    checkpoint: Checkpoint,
    scheme: CalibratedScheme,
    model: Model,
    windows: Windows,
    progress: Callable[[float], None] | None = None,
    ignore: Sequence[str] = (),
) -> Prepared:
    """Choose the codes of every matrix, layer after layer, and fold scales.

    model: of this checkpoint; each of its layers is decoded once, so that it need not be held decoded. windows: the
    calibration text. ignore: as of `export`. Holds the packed codes of the whole model and one layer besides.
    Raises MethodError where the text is too short, a layer cannot be quantized, or the architecture does not fold.
    """
    every = linears_of(checkpoint)
    linears = {linear.gguf: linear for linear in kept_of(every, ignore).values()}
    makers = makers_of(model)
    if scheme.folds and not makers:
        foldable = dict.fromkeys(known.name for known in KNOWN if known.folds)
        raise MethodError(
            f"{scheme.name} moves scales into the norms and matrices before, which is done for "
            f"{', '.join(foldable)} models, not for {model.architecture.name}; choose another scheme."
        )
    order, folding = _row_orders(checkpoint), Folding(makers)
    packed: dict[str, Packed] = {}
    method, others = scheme.methods(model, next(iter(linears.values())).dtype)
    by_name = {name: others.get(name.split(".")[2], method) for name in linears}
    for layer in quantize_layers(model, windows, by_name, progress):
        results = {name: chosen.result for name, chosen in layer.chosen.items()}
        for name, result in results.items():
            if isinstance(result, Scaled):
                folding = folding.moving(name, result.scales)
        for name, result in results.items():
            linear, inner = linears[name], result.result if isinstance(result, Scaled) else result
            rows = np.argsort(order(linear.tensor.name, linear.tensor.shape[0]))
            divisor = folding.divisors.get(name, np.ones(len(rows), np.float32))[rows]
            stored = scheme.store(inner, rows, divisor, linear.dtype)
            packed[linear.tensor.name] = Packed.of(folding.folded(linear), stored)
        checkpoint.forget()
    left = {name: linear for name, linear in every.items() if linear.gguf not in linears}
    return Prepared(packed, _replaced(checkpoint, folding, left), folding)


def _replaced(checkpoint: Checkpoint, folding: Folding, left: Mapping[str, Linear]) -> dict[str, np.ndarray]:
    """By Hugging Face's name, in the type that they are stored in: norms and biases that are divided, and what scales
    change of the matrices that are not quantized.
    """
    architecture, _ = declared(checkpoint)
    out = {n: folding.folded(linear).astype(linear.dtype) for n, linear in left.items() if folding.changes(linear)}
    for name, tensor in checkpoint.tensors.items():
        gguf = gguf_name(architecture, name) or ""
        divisor = folding.divisors.get(gguf.removesuffix("bias") + "weight" if gguf.endswith(".bias") else gguf)
        if divisor is not None and len(tensor.shape) == 1:
            out[name] = (tensor.rows()[0] / divisor).astype(stored_dtype(tensor))
    return out


def _row_orders(checkpoint: Checkpoint) -> Callable[[str, int], np.ndarray]:
    architecture, config = declared(checkpoint)
    return lambda name, rows: row_order(architecture, config, name, rows)
