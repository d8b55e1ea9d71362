"""Whole models by any method: layer after layer, each calibrated on what the layers before it really put out.

The codes of a layer are chosen for its inputs behind the layers that are already quantized, as GPTQ and AWQ do it, and
only then does the text go through it. In memory are the text at one depth of the model, and one layer's sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from quantlib.errors import FormatError, MethodError
from quantlib.lm.model import Model
from quantlib.lm.windows import Windows
from quantlib.methods.catalogue import Chosen, Method
from quantlib.methods.hessian import Gram

LEAST = 1024  # tokens below which a calibration says too little of any layer


@dataclass(frozen=True, eq=False)
class QuantizedLayer:
    """chosen: each matrix of a layer by its GGUF name. inputs: what each reads, summed up; several share one Gram."""

    index: int
    chosen: Mapping[str, Chosen] = field(repr=False)
    inputs: Mapping[str, Gram] = field(repr=False)

    @property
    def decoded(self) -> dict[str, np.ndarray]:
        """What each matrix is read back as, float32 (outputs, inputs)."""
        return {name: chosen.decoded for name, chosen in self.chosen.items()}


def quantize_layers(
    model: Model, windows: Windows, method: Method, progress: Callable[[float], None] | None = None
) -> Iterator[QuantizedLayer]:
    """Choose the codes of every matrix inside the layers, one layer at a time; embedding and output stay as they are.

    windows: the calibration text; a method that needs none ignores it but for what a layer's inputs are. Whoever stops
    taking layers stops the work. Raises MethodError where the text is too short for the method or a layer cannot be
    quantized, naming the matrix.
    """
    if method.calibrated:
        check_calibration(windows)
    sizes = [len(some) for _, some in windows.batches()]
    streams = [model.embedded(some.ravel()) for _, some in windows.batches()] if method.calibrated else []
    for index in range(model.shape.layers):
        sums = _Sums(method.calibrated)
        if method.calibrated:
            for x, sequences in zip(streams, sizes, strict=True):
                model.layer(index, x, sequences, observe=sums.observe)
        else:
            for name in model.weights:
                if name.startswith(f"blk.{index}.") and len(model.weights[name].shape) == 2:
                    sums.groups[name] = [name]
        layer = QuantizedLayer(index, _choose(model, method, sums), sums.inputs())
        if streams:
            behind = model.replaced(layer.decoded)
            streams = [behind.layer(index, x, n) for x, n in zip(streams, sizes, strict=True)]
        if progress:
            progress((index + 1) / model.shape.layers)
        yield layer


def quantized(
    model: Model, windows: Windows, method: Method, progress: Callable[[float], None] | None = None
) -> tuple[Model, float]:
    """The model with every layer quantized by a method, and the bits per weight of its layers' matrices."""
    weights, bits, count = {}, 0.0, 0
    for layer in quantize_layers(model, windows, method, progress):
        weights |= layer.decoded
        for chosen in layer.chosen.values():
            bits, count = bits + chosen.bpw * chosen.decoded.size, count + chosen.decoded.size
    return model.replaced(weights), bits / count


def check_calibration(windows: Windows) -> None:
    """Raises MethodError where a text is too short to calibrate on."""
    if windows.tokens.size < LEAST:
        raise MethodError(
            f"The calibration text has {windows.tokens.size:,} tokens in whole windows of {windows.context:,}; "
            f"it needs {LEAST:,} or more."
        )


def calibration_notes(model: Model, windows: Windows) -> tuple[str, ...]:
    """What to know about a calibration: one sentence where the text is short for the widest matrix of the model."""
    widest = max((w.shape[1], n) for n, w in model.weights.items() if n.startswith("blk.") and len(w.shape) == 2)
    if windows.tokens.size >= widest[0]:
        return ()
    return (
        f"The calibration text has {windows.tokens.size:,} tokens, fewer than the {widest[0]:,} inputs of {widest[1]}: "
        f"codes will be fitted to chance; give a longer text.",
    )


def output_errors(model: Model, changed: Model, windows: Windows) -> dict[str, float]:
    """How far each matrix inside the layers of a changed model puts out something else, given the same inputs.

    ‖x (W − Ŵ)ᵀ‖ / ‖x Wᵀ‖ over all tokens, x being the inputs in the unchanged model: by GGUF name.
    """
    squares: dict[str, np.ndarray] = {}

    def observe(name: str, x: np.ndarray) -> None:
        if name.startswith("blk."):
            weight = model.weight(name)
            pair = [np.vdot(y, y) for y in (x @ (weight - changed.weight(name)).T, x @ weight.T)]
            squares[name] = squares.get(name, 0) + np.array(pair, np.float64)

    for _, some in windows.batches():
        model.hidden(some, observe=observe)
    return {name: float(np.sqrt(miss / max(whole, 1e-30))) for name, (miss, whole) in squares.items()}


class _Sums:
    """Collects what the matrices of one layer read; those that read the same array share their sums."""

    def __init__(self, calibrated: bool):
        self.calibrated = calibrated
        self.groups: dict[str, list[str]] = {}  # the first that reads an input -> all that read it
        self.grams: dict[str, Gram] = {}
        self._last: tuple[np.ndarray, str] | None = None

    def observe(self, name: str, x: np.ndarray) -> None:
        if self._last is not None and self._last[0] is x:
            leader = self._last[1]
            if name not in self.groups[leader]:
                self.groups[leader].append(name)
            return
        self.groups.setdefault(name, [name])
        gram = self.grams.setdefault(name, Gram(x.shape[-1]))
        try:
            gram.add(x)
        except MethodError as error:
            raise MethodError(f"{name}: {error}") from None
        self._last = x, name

    def inputs(self) -> dict[str, Gram]:
        return {name: self.grams[leader] for leader, names in self.groups.items() for name in names if self.grams}


def _choose(model: Model, method: Method, sums: _Sums) -> dict[str, Chosen]:
    found: dict[str, Chosen] = {}
    for leader, names in sums.groups.items():
        try:
            chosen = method.choose([model.weight(name) for name in names], sums.grams.get(leader))
        except (FormatError, MethodError) as error:
            raise type(error)(f"{leader}: {error}") from None
        found |= dict(zip(names, chosen, strict=True))
    return found
