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
from quantlib.lm.threads import side_by_side
from quantlib.lm.windows import Windows
from quantlib.methods.catalogue import Chosen, Method
from quantlib.methods.hessian import Gram
from quantlib.recipes import quantizable

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
    model: Model,
    windows: Windows,
    method: Method | Mapping[str, Method],
    progress: Callable[[float], None] | None = None,
) -> Iterator[QuantizedLayer]:
    """Choose the codes of every matrix inside the layers, one layer at a time; embedding and output stay as they are.

    windows: the calibration text, which methods that need none ignore. method: one for all, or by a matrix's name, and
    those without one stay as they are. Whoever stops taking layers stops the work. Raises MethodError where the text is
    too short for the method, and FormatError or MethodError where a matrix cannot be quantized, naming it.
    """
    if model.architecture.layered:
        raise MethodError(
            f"Layers of {model.architecture.name} models read more than what the layer before puts out, so that they "
            "cannot be quantized one after the other; use a recipe, with an importance matrix if you like."
        )
    methods = method if isinstance(method, Mapping) else _everywhere(model, method)
    calibrated = any(m.calibrated for m in methods.values())
    if calibrated:
        check_calibration(windows)
    batches = [windows.shown(some) for some in windows.batches()] if calibrated else []
    streams = [(model.embedded(some.ravel()), len(some)) for some in batches]  # (tokens, hidden), sequences
    for index in range(model.shape.layers):
        here = model.replaced({name: model.weight(name) for name in _matrices(model, index)})  # decoded once
        sums = _calibrate(here, index, streams) if streams else _Sums(_matrices(model, index))
        layer = QuantizedLayer(index, _choose(here, methods, sums), sums.inputs())
        streams = _behind(here.replaced(layer.decoded), index, streams)
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

    def read(some: np.ndarray) -> dict[str, np.ndarray]:
        found = {}

        def observe(name: str, x: np.ndarray) -> None:
            if name.startswith("blk.") and "#" not in name:  # those of experts are left as they are
                weight = model.weight(name)
                outputs = x @ (weight - changed.weight(name)).T, x @ weight.T
                found[name] = np.array([np.vdot(y, y) for y in outputs], np.float64)

        model.hidden(some, observe=observe)
        return found

    squares: dict[str, np.ndarray] = {}
    for found in side_by_side(read, map(windows.shown, windows.batches())):
        squares = {name: squares.get(name, 0) + pair for name, pair in found.items()}
    return {name: float(np.sqrt(miss / max(whole, 1e-30))) for name, (miss, whole) in squares.items()}


@dataclass(frozen=True, eq=False)
class _Sums:
    """What the matrices of one layer read. groups: the first that reads an input -> all that do; grams: by first."""

    groups: dict[str, list[str]]
    grams: dict[str, Gram] = field(default_factory=dict)

    def inputs(self) -> dict[str, Gram]:
        return {name: self.grams[first] for first, names in self.groups.items() if self.grams for name in names}


Streams = list[tuple[np.ndarray, int]]


def _matrices(model: Model, index: int) -> dict[str, list[str]]:
    """The matrices of a layer, each on its own; routers and convolutions are none, and experts stay as they are."""
    own = ((n, w.shape) for n, w in model.weights.items() if n.startswith(f"blk.{index}."))
    found = (name for name, shape in own if len(shape) == 2 and quantizable(name, shape))
    return {name: [name] for name in found}


def _calibrate(model: Model, index: int, streams: Streams) -> _Sums:
    """Let the text through a layer and sum up what each matrix reads."""
    matrices = _matrices(model, index)

    def read(stream: tuple[np.ndarray, int]) -> list[tuple[list[str], np.ndarray]]:
        seen: list[tuple[list[str], np.ndarray]] = []

        def observe(name: str, x: np.ndarray) -> None:
            if name not in matrices:
                return
            if seen and seen[-1][1] is x:  # queries, keys and values read the same array
                seen[-1][0].append(name)
            else:
                seen.append(([name], x))

        model.layer(index, *stream, observe=observe)
        return seen

    sums = _Sums({})
    for seen in side_by_side(read, streams):
        for names, x in seen:
            sums.groups[names[0]] = names
            try:
                sums.grams.setdefault(names[0], Gram(x.shape[-1])).add(x)
            except MethodError as error:
                raise MethodError(f"{names[0]}: {error}") from None
    return sums


def _behind(model: Model, index: int, streams: Streams) -> Streams:
    """The text behind a layer."""
    return list(side_by_side(lambda stream: (model.layer(index, *stream), stream[1]), streams))


def _everywhere(model: Model, method: Method) -> dict[str, Method]:
    """One method for all matrices inside the layers."""
    return {name: method for index in range(model.shape.layers) for name in _matrices(model, index)}


def _scalable(model: Model, name: str) -> bool:
    """Whether what makes a matrix's inputs makes them one by one, so that it could take scales: a norm before it, or a
    matrix with as many outputs. The values of grouped-query attention, which several heads read, do not.
    """
    _, index, part, *_ = name.split(".")
    before = {"attn_output": "attn_v", "ffn_down": "ffn_up"}.get(part, "ffn_norm" if part[:3] == "ffn" else "attn_norm")
    maker = model.weights.get(f"blk.{index}.{before}.weight")
    return maker is not None and maker.shape[0] == model.weights[name].shape[1]


def _choose(model: Model, methods: Mapping[str, Method], sums: _Sums) -> dict[str, Chosen]:
    """The codes of a layer's matrices, those that read different inputs side by side, those of one method together."""

    def choose(job: tuple[str, Method, list[str]]) -> dict[str, Chosen]:
        first, method, names = job
        try:
            chosen = method.choose([model.weight(name) for name in names], sums.grams.get(first))
        except (FormatError, MethodError) as error:
            raise type(error)(f"{names[0]}: {error}") from None
        return dict(zip(names, chosen, strict=True))

    jobs = []
    for first, group in sums.groups.items():
        own: dict[int, list[str]] = {}
        for name in group:
            if name in methods:
                own.setdefault(id(methods[name]), []).append(name)
        for names in own.values():
            method = methods[names[0]]
            method = method if method.unscaled is None or _scalable(model, first) else method.unscaled
            jobs.append((first, method, names))
    return {name: chosen for part in side_by_side(choose, jobs) for name, chosen in part.items()}
