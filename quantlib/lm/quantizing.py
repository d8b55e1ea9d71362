"""Whole models by any method: layer after layer, each calibrated on what the layers before it really put out.

The codes of a layer are chosen for its inputs behind the layers that are already quantized, as GPTQ and AWQ do it, and
only then does the text go through it. In memory are the text at one depth of the model, and one layer's sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from quantlib.errors import MethodError
from quantlib.lm.choosing import choose
from quantlib.lm.model import Model
from quantlib.lm.threads import side_by_side
from quantlib.lm.windows import Windows
from quantlib.methods.catalogue import Chosen, Method
from quantlib.methods.hessian import Gram
from quantlib.recipes import quantizable

LEAST = 1024  # tokens below which a calibration says too little of any layer


@dataclass(frozen=True, eq=False)
class QuantizedLayer:
    """chosen: each matrix of a layer by its GGUF name, a stack of experts as one, (experts, outputs, inputs). inputs:
    what each reads, summed up; several share one Gram. notes: sentences on experts that few tokens reached.
    """

    index: int
    chosen: Mapping[str, Chosen] = field(repr=False)
    inputs: Mapping[str, Gram] = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def decoded(self) -> dict[str, np.ndarray]:
        """What each matrix is read back as, float32 (outputs, inputs)."""
        return {name: chosen.decoded for name, chosen in self.chosen.items()}


def quantize_layers(
    model: Model,
    windows: Windows,
    method: Method | Mapping[str, Method],
    progress: Callable[[float], None] | None = None,
    restored: Callable[[int], Mapping[str, np.ndarray] | None] = lambda index: None,
) -> Iterator[QuantizedLayer]:
    """Choose the codes of every matrix inside the layers, one layer at a time; embedding and output stay as they are.

    windows: the calibration text, which methods that need none ignore. method: one for all, or by a matrix's name, and
    those without one stay as they are; a stack of experts is quantized only where it is named. restored(index): the
    matrices of a layer that was quantized before, as they are read back: the text goes through them, and the layer is
    not given out again. Whoever stops taking layers stops the work. Raises MethodError where the text is too short for
    the method, and FormatError or MethodError where a matrix cannot be quantized, naming it.
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
        tell = Telling(progress, index, model.shape.layers, len(streams))
        before = restored(index)
        if before is not None:
            streams = _behind(model.replaced(before), index, streams, tell)
            continue
        here = model.replaced({name: model.weight(name) for name in _decoded(model, index, methods)})  # decoded once
        sums = _calibrate(here, index, streams, methods, tell) if streams else _Sums(_matrices(model, index))
        chosen = choose(here, methods, sums)
        layer = QuantizedLayer(index, chosen, sums.inputs(), sums.notes)
        if index + 1 < model.shape.layers:
            streams = _behind(here.replaced(layer.decoded), index, streams, tell)
        tell.end()
        yield layer


class Telling:
    """Says how far all is while a text goes through a layer twice, before and after its codes are chosen."""

    def __init__(self, progress: Callable[[float], None] | None, index: int, layers: int, batches: int):
        self._progress, self._index, self._layers, self._steps = progress, index, layers, 2 * batches + 1
        self._done = 0

    def step(self) -> None:
        self._done += 1
        if self._progress and self._done < self._steps:
            self._progress((self._index + self._done / self._steps) / self._layers)

    def end(self) -> None:
        if self._progress:
            self._progress((self._index + 1) / self._layers)


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
    notes: tuple[str, ...] = ()

    def inputs(self) -> dict[str, Gram]:
        return {name: self.grams[first] for first, names in self.groups.items() if self.grams for name in names}


Streams = list[tuple[np.ndarray, int]]


def _matrices(model: Model, index: int) -> dict[str, list[str]]:
    """The matrices of a layer, each on its own; routers and convolutions are none, and experts are stacks."""
    return {name: [name] for name, shape in _own(model, index) if len(shape) == 2}


def _stacks(model: Model, index: int, methods: Mapping[str, Method]) -> dict[str, int]:
    """The stacks of experts of a layer that are to be quantized, each with how many matrices it has."""
    return {name: shape[0] for name, shape in _own(model, index) if len(shape) == 3 and name in methods}


def _own(model: Model, index: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    own = ((n, w.shape) for n, w in model.weights.items() if n.startswith(f"blk.{index}."))
    return ((name, shape) for name, shape in own if quantizable(name, shape))


def _decoded(model: Model, index: int, methods: Mapping[str, Method]) -> list[str]:
    """What of a layer is decoded once for all that is done with it."""
    return [*_matrices(model, index), *_stacks(model, index, methods)]


def _calibrate(model: Model, index: int, streams: Streams, methods: Mapping[str, Method], tell: Telling) -> _Sums:
    """Let the text through a layer and sum up what each matrix reads."""
    matrices, stacks = _matrices(model, index), _stacks(model, index, methods)

    def read(stream: tuple[np.ndarray, int]) -> list[tuple[list[str], np.ndarray]]:
        seen: list[tuple[list[str], np.ndarray]] = []

        def observe(name: str, x: np.ndarray) -> None:
            if name not in matrices and name.partition("#")[0] not in stacks:
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
        tell.step()
    return _leaning(sums, stacks)


def _leaning(sums: _Sums, stacks: Mapping[str, int]) -> _Sums:
    """Experts with the sums of what reached them, to which the average over all experts is added as if it had been seen
    on as many tokens as there are inputs: with many tokens it counts little, without any it is all there is.
    """
    groups, grams, notes = dict(sums.groups), dict(sums.grams), []
    for stack, experts in stacks.items():
        reached = {first: gram for first, gram in sums.grams.items() if first.partition("#")[0] == stack}
        if not reached:
            continue  # it reads what another stack reads, and is in its groups
        together = [name.partition("#")[0] for name in groups[next(iter(reached))]]
        average = Gram.sum(reached.values())
        few = 0
        for expert in range(experts):
            first = f"{stack}#{expert}"
            own = reached.get(first, Gram(len(average.products)))
            few += own.tokens < len(average.products)
            grams[first] = own.leaning(average, len(average.products))
            groups[first] = [f"{name}#{expert}" for name in together]
        if few:
            notes.append(
                f"{few} of the {experts} experts of {stack} were given fewer tokens than the {len(average.products):,} "
                "inputs that each has: their codes follow what all experts read, too; a longer text would help."
            )
    return _Sums(groups, grams, tuple(notes))


def _behind(model: Model, index: int, streams: Streams, tell: Telling) -> Streams:
    """The text behind a layer."""
    behind = []
    for out, (_, sequences) in zip(
        side_by_side(lambda stream: model.layer(index, *stream), streams), streams, strict=True
    ):
        behind.append((out, sequences))
        tell.step()
    return behind


def _everywhere(model: Model, method: Method) -> dict[str, Method]:
    """One method for all matrices inside the layers."""
    return {name: method for index in range(model.shape.layers) for name in _matrices(model, index)}
