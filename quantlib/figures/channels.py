"""What a matrix of a model reads, channel by channel, and what three ways to round it to few bits leave of its output.

A study says it in figures alone, without weights, so that a model too large to ship can be shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from quantlib.errors import CheckpointError
from quantlib.figures.layer import Layer
from quantlib.lm import Tokenizer
from quantlib.lm.texts import ASSETS
from quantlib.methods.llm_int8 import outlier_trace
from quantlib.methods.rotation import rotation_trace
from quantlib.methods.smoothquant import int8_rows, multiply, relative_error, smooth_trace
from quantlib.recipes import layer_of

STORED = ASSETS / "measurements" / "channels.npz"  # of SmolLM2; assets/measurements/make.py writes it
SHOWN, TOKENS = 40, 512  # tokens to look at, tokens that errors are measured on
BITS = (8, 4)
PLAIN = "rounded as they are"
THRESHOLDS = (0.0, 20.0, 15.0, 10.0, 8.0, 6.0, 5.0, 4.0, 3.0, 2.0)


@dataclass(frozen=True, eq=False)
class Study:
    """One matrix at work. model: its name and note; name: the matrix's, as GGUF has it; words: the shown tokens' text.

    x: float16 (shown, inputs), activations. reach, rms: float32 (inputs,), max|x| and root mean square of each channel
    over `tokens` tokens; weight_reach, weight_rms: those of the weight's columns. plain: float64 (2,), the output's
    relative error with both sides in BITS. int8: float64 (thresholds,), by LLM.int8(). smooth: (2, alphas), by
    SmoothQuant. blocks: over how many channels a rotation mixes; rotated, rotated_weight: float32 (blocks, inputs),
    max|x Q| and max|W Q|; rotation: (2, blocks), the errors.
    """

    model: str
    name: str
    words: tuple[str, ...]
    tokens: int
    x: np.ndarray
    reach: np.ndarray
    rms: np.ndarray
    weight_reach: np.ndarray
    weight_rms: np.ndarray
    plain: np.ndarray
    int8: np.ndarray
    smooth: np.ndarray
    blocks: tuple[int, ...]
    rotated: np.ndarray
    rotated_weight: np.ndarray
    rotation: np.ndarray

    @property
    def inputs(self) -> int:
        return self.reach.size

    @property
    def typical(self) -> float:
        """The root mean square of all activations."""
        return root_mean_square(self.rms)

    @property
    def typical_weight(self) -> float:
        return root_mean_square(self.weight_rms)

    @property
    def largest_channel(self) -> int:
        """The channel that carries most of the activations' energy."""
        return int(self.rms.argmax())

    @property
    def times(self) -> float:
        """How many times the typical value that channel's own is."""
        return float(self.rms.max() / self.typical)

    @property
    def energy(self) -> float:
        """That channel's share of the sum of squares."""
        return float(self.rms.max() ** 2 / np.sum(np.square(self.rms, dtype=np.float64)))

    @property
    def steady(self) -> int:
        """At how many of the shown tokens it is the largest."""
        return int(np.sum(np.abs(self.x.astype(np.float32)).argmax(axis=1) == self.largest_channel))

    def kept(self, threshold: float) -> np.ndarray:
        """The channels that LLM.int8() keeps in 16 bits: int (kept,)."""
        return np.flatnonzero(self.reach >= threshold) if threshold else np.array([], int)

    def best(self, bits: int) -> dict[str, float]:
        """The least output error of each way by its name, and of plain rounding; LLM.int8() at 8 bits alone."""
        at = BITS.index(bits)
        found = {PLAIN: float(self.plain[at])}
        if bits == 8:
            found["kept apart: LLM.int8()"] = float(self.int8[THRESHOLDS.index(6.0)])
        found["moved: SmoothQuant"] = float(self.smooth[at].min())
        found["rotated: Hadamard"] = float(self.rotation[at, -1])
        return found


def study(model: str, layer: Layer, words: Sequence[str]) -> Study:
    """Measure one layer: its channels, and three ways to round its activations and weights."""
    x, weight = layer.x[:TOKENS], layer.weight
    exact = x @ weight.T
    turned = [rotation_trace(x, weight, bits) for bits in BITS]
    plain = [relative_error(multiply(int8_rows(x, bits), int8_rows(weight, bits)), exact) for bits in BITS]
    return Study(
        model,
        layer.name,
        tuple(words[:SHOWN]),
        len(x),
        x[:SHOWN].astype(np.float16),
        np.abs(x).max(axis=0),
        channel_rms(x),
        np.abs(weight).max(axis=0),
        channel_rms(weight),
        np.array(plain),
        outlier_trace(x, weight, THRESHOLDS).errors,
        np.stack([smooth_trace(x, weight, bits=bits).errors for bits in BITS]),
        turned[0].blocks,
        turned[0].activations,
        turned[0].weights,
        np.stack([trace.errors for trace in turned]),
    )


def channel_rms(x: np.ndarray) -> np.ndarray:
    """The root mean square of each channel: (rows, channels) -> float32 (channels,)."""
    return np.sqrt(np.mean(np.square(x, dtype=np.float64), axis=0)).astype(np.float32)


def root_mean_square(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))) or 1.0


@dataclass(frozen=True, eq=False)
class Reaches:
    """All layers at a glance, for one kind of matrix. times: float32 (layers, inputs), each channel's root mean square
    in units of the layer's. first, later: float32 (layers,), max|x| at the windows' first tokens and at all others.
    """

    kind: str
    times: np.ndarray
    first: np.ndarray
    later: np.ndarray


def reaches(kind: str, layers: Iterable[Layer], window: int) -> Reaches:
    """From the layers of a model, windows of so many tokens one after the other."""
    found = sorted(layers, key=lambda layer: layer_of(layer.name))
    first = [np.arange(len(layer.x)) % window == 0 for layer in found]
    return Reaches(
        kind,
        np.stack([channel_rms(layer.x) / root_mean_square(layer.x) for layer in found]),
        np.array([np.abs(layer.x[at]).max() for layer, at in zip(found, first, strict=True)], np.float32),
        np.array([np.abs(layer.x[~at]).max() for layer, at in zip(found, first, strict=True)], np.float32),
    )


@dataclass(frozen=True, eq=False)
class Studies:
    """What is stored of a model: some matrices, and all layers of some kinds."""

    matrices: tuple[Study, ...]
    layers: tuple[Reaches, ...]

    def of(self, name: str) -> Study:
        return next(s for s in self.matrices if s.name == name)

    def write(self, path: str | Path = STORED) -> None:
        arrays = {}
        for group, items in (("matrices", self.matrices), ("layers", self.layers)):
            for i, item in enumerate(items):
                for field in fields(item):
                    value = np.asarray(getattr(item, field.name))
                    arrays[f"{group}/{i}/{field.name}"] = _half(value)
        np.savez_compressed(path, **arrays)

    @classmethod
    def read(cls, path: str | Path = STORED) -> Studies:
        """Back from its file. Raises CheckpointError where it cannot be read."""
        try:
            with np.load(path, allow_pickle=False) as data:
                return cls(tuple(_items(data, "matrices", Study)), tuple(_items(data, "layers", Reaches)))
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(f"The stored measurement {path} cannot be read: {error}.") from None


def _items(data: np.lib.npyio.NpzFile, group: str, kind: type) -> Iterable:
    count = len({name.split("/")[1] for name in data.files if name.startswith(group + "/")})
    for i in range(count):
        yield kind(**{f.name: _value(data[f"{group}/{i}/{f.name}"]) for f in fields(kind)})


def _half(value: np.ndarray) -> np.ndarray:
    """float32 tables in half precision, three digits of which are shown."""
    return value.astype(np.float16) if value.dtype == np.float32 and value.size > 100 else value


def _value(stored: np.ndarray) -> object:
    """An array as it was: numbers and texts alone as themselves, lists of them as tuples."""
    if stored.ndim == 0:
        return stored.item()
    if stored.dtype.kind in "Ui":
        return tuple(stored.tolist())
    return stored.astype(np.float32) if stored.dtype == np.float16 else stored


def words_of(tokenizer: Tokenizer, tokens: Sequence[int], count: int = SHOWN) -> list[str]:
    """The text of each of the first tokens."""
    return [tokenizer.decode([int(t)]) for t in tokens[:count]]
