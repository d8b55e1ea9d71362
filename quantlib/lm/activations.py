"""What flows through a model while it reads: ranges by channel and by token, outlier channels, massive activations.

Dettmers et al., "LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale", 2022 (outlier channels);
Sun et al., "Massive Activations in Large Language Models", 2024.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from quantlib.lm.model import Model
from quantlib.lm.windows import cut

MAGNITUDE, LAYERS, POSITIONS = 6.0, 0.25, 0.06  # LLM.int8's criterion


@dataclass(frozen=True, eq=False)
class Ranges:
    """Values at one place of the model over a text.

    low, high, rms: float32 (channels,), each channel's smallest, largest and root mean square value.
    large: float32 (channels,), the share of tokens at which the channel's magnitude reaches the criterion's.
    peaks: float32 (windows, context), each token's largest magnitude over its channels.
    median: the median magnitude of all values (of a batch at a time, then averaged).
    kurtosis: mean((x - mean)⁴) / variance² over all values; 3 for a normal distribution, more for heavy tails.
    """

    low: np.ndarray
    high: np.ndarray
    rms: np.ndarray
    large: np.ndarray
    peaks: np.ndarray
    median: float
    kurtosis: float

    @property
    def reach(self) -> np.ndarray:
        """Each channel's largest magnitude, float32 (channels,)."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    @property
    def first_token(self) -> float:
        """The mean largest magnitude of the windows' first tokens, over that of all other tokens."""
        return float(self.peaks[:, 0].mean() / self.peaks[:, 1:].mean())

    def document(self) -> dict:
        """All of it as plain values for JSON; peaks as the mean over windows at each position."""
        arrays = {"low": self.low, "high": self.high, "rms": self.rms, "large": self.large}
        arrays["peaks_by_position"] = self.peaks.mean(axis=0)
        numbers = {"median": self.median, "kurtosis": self.kurtosis, "first_token": self.first_token}
        return {k: _short(v) for k, v in numbers.items()} | {k: [_short(x) for x in v] for k, v in arrays.items()}


@dataclass(frozen=True, eq=False)
class Activations:
    """What was seen of a text of `tokens` tokens in windows of `context`.

    inputs: by GGUF name, what each matrix is multiplied with. stream: what runs through the layers, the embedding
    first, then after each layer. magnitude: from which size on a value counts as large.
    layer_share, position_share: float32 (hidden,), the share of layers, and of tokens, in which a channel of the
    normalized values that attention and feed-forward read is large at least once.
    """

    tokens: int
    context: int
    magnitude: float
    inputs: Mapping[str, Ranges]
    stream: tuple[Ranges, ...]
    layer_share: np.ndarray
    position_share: np.ndarray

    def outliers(self, layers: float = LAYERS, positions: float = POSITIONS) -> np.ndarray:
        """Channels that are large in at least these shares of the layers and of the positions: int (outliers,)."""
        return np.flatnonzero((self.layer_share >= layers) & (self.position_share >= positions))

    def massive(self, magnitude: float = 100.0, ratio: float = 1000.0) -> tuple[tuple[int, float], ...]:
        """Places of the stream with massive activations: (layer, largest magnitude), layer 0 being the embedding.

        Sun et al. call a value massive that is above 100 and about 1,000 times its layer's median magnitude.
        """
        found = ((i, float(r.peaks.max()), r.median) for i, r in enumerate(self.stream))
        return tuple((i, peak) for i, peak, median in found if peak > magnitude and peak >= ratio * median)

    def document(self) -> dict:
        """All of it as plain values for JSON."""
        return {
            "tokens": self.tokens,
            "context": self.context,
            "criterion": {"magnitude": self.magnitude, "layers": LAYERS, "positions": POSITIONS},
            "outlier_channels": self.outliers().tolist(),
            "massive": [{"layer": layer, "magnitude": _short(peak)} for layer, peak in self.massive()],
            "layer_share": [_short(x) for x in self.layer_share],
            "position_share": [_short(x) for x in self.position_share],
            "inputs": {name: ranges.document() for name, ranges in self.inputs.items()},
            "stream": [ranges.document() for ranges in self.stream],
        }


def activations(
    model: Model,
    tokens: Sequence[int],
    context: int = 512,
    bos: int | None = None,
    magnitude: float = MAGNITUDE,
    progress: Callable[[float], None] | None = None,
) -> Activations:
    """Watch the model read a text, in windows as perplexity takes them.

    magnitude: from which absolute value on an activation counts as large; 6 in LLM.int8's criterion.
    Raises CheckpointError where the text is shorter than a window.
    """
    windows = cut(model, tokens, context, bos)
    inputs: dict[str, _Sums] = {}
    stream = [_Sums(magnitude) for _ in range(model.shape.layers + 1)]
    seen: dict[int, np.ndarray] = {}  # layer -> (hidden,), whether a channel was large in it
    position_count = np.zeros(model.shape.hidden)
    for some in windows.batches():
        shown = windows.shown(some)
        anywhere = np.zeros((shown.size, model.shape.hidden), bool)
        last: list[tuple[np.ndarray, _Sums]] = []

        def observe(name: str, x: np.ndarray, anywhere=anywhere, last=last) -> None:
            if "#" in name:  # of one of many experts
                return
            if last and last[0][0] is x:  # queries, keys and values read the same array
                inputs[name] = last[0][1]
                return
            sums = inputs.setdefault(name, _Sums(magnitude))
            large = sums.add(x)
            last[:] = [(x, sums)]
            if name.startswith("blk.") and name.split(".")[2] in READERS:
                layer = int(name.split(".")[1])
                seen[layer] = seen.get(layer, False) | large.any(axis=0)
                np.logical_or(anywhere, large, out=anywhere)

        for sums, x in zip(stream, model.stream(shown, observe=observe), strict=True):
            sums.add(x)
        position_count += anywhere.sum(axis=0)
        if progress:
            progress(some.stop / len(windows))
    ranges: dict[int, Ranges] = {id(s): s.ranges(context) for s in [*inputs.values(), *stream]}
    return Activations(
        windows.tokens.size,
        context,
        magnitude,
        {name: ranges[id(sums)] for name, sums in inputs.items()},
        tuple(ranges[id(sums)] for sums in stream),
        np.mean([seen[layer] for layer in sorted(seen)], axis=0, dtype=np.float32),
        (position_count / windows.tokens.size).astype(np.float32),
    )


READERS = ("attn_q", "attn_qkv", "ffn_gate", "ffn_up")  # the matrices that read a layer's normalized values


@dataclass
class _Sums:
    """Ranges while they are being collected: sums of powers, and what has no sum."""

    magnitude: float
    count: int = 0
    powers: list[float] = field(default_factory=lambda: [0.0] * 4)
    squares: np.ndarray | float = 0.0
    large: np.ndarray | float = 0.0
    low: np.ndarray | float = np.inf
    high: np.ndarray | float = -np.inf
    peaks: list[np.ndarray] = field(default_factory=list)
    medians: list[float] = field(default_factory=list)

    def add(self, x: np.ndarray) -> np.ndarray:
        """Values (tokens, channels); returns where they are large."""
        size, squared = np.abs(x), np.square(x)
        large = size >= self.magnitude
        self.count += len(x)
        sums = x.sum(dtype=np.float64), squared.sum(dtype=np.float64)
        sums += np.vdot(squared, x).astype(np.float64), np.square(squared).sum(dtype=np.float64)
        self.powers = [a + float(b) for a, b in zip(self.powers, sums, strict=True)]
        self.squares = self.squares + squared.sum(axis=0, dtype=np.float64)
        self.large = self.large + large.sum(axis=0)
        self.low, self.high = np.minimum(self.low, x.min(axis=0)), np.maximum(self.high, x.max(axis=0))
        self.peaks.append(size.max(axis=1))
        self.medians.append(float(np.median(size)))
        return large

    def ranges(self, context: int) -> Ranges:
        mean, second, third, fourth = (p / (self.count * len(self.low)) for p in self.powers)
        variance = second - mean**2
        centred = fourth - 4 * mean * third + 6 * mean**2 * second - 3 * mean**4
        return Ranges(
            low=self.low,
            high=self.high,
            rms=np.sqrt(self.squares / self.count).astype(np.float32),
            large=(self.large / self.count).astype(np.float32),
            peaks=np.concatenate(self.peaks).reshape(-1, context),
            median=float(np.mean(self.medians)),
            kurtosis=float(centred / variance**2) if variance > 0 else 0.0,
        )


def _short(x: float) -> float:
    """Five significant digits: what a reader of JSON needs."""
    return float(f"{float(x):.5g}")
