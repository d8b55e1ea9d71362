"""How fast a model writes: a bound from the memory's bandwidth, and what is reached of it.

tokens a second, at most = bandwidth / (weights read for one token + cache)
tokens a second, about   = the same with the share of the bandwidth that a recipe's kernels reach, and a time for layers

The shares come from a published table of one model in every recipe, on one card. Below four bits its kernels spend more
time on unpacking than on reading. A card that is known to unpack faster spends less of it; elsewhere the table's share
holds. Both are checked against published speeds of other machines. What both leave out: reading the prompt, a busy
machine, speculative decoding.
"""

from __future__ import annotations

from dataclasses import dataclass

from quantlib.fit.machines import Machine
from quantlib.fit.placing import Placement
from quantlib.fit.published import LLAMA_3_8B_BPW, SPEEDS
from quantlib.fit.weighing import Weighed

REACHED = 0.9  # of the bandwidth by F16; APPLE's rows are within a fifth of what follows, most within a tenth
EACH_LAYER = 50e-6  # seconds of a layer that no bandwidth shortens: starting its kernels, joining their results
EACH_LAYER_ON_CARD = 25e-6  # the same where a card's own speed of unpacking is known
LLAMA_3_1_8B, LLAMA_3_1_8B_LAYERS = 8_030_261_248, 32
NEAREST = {"BF16": "F16", "MXFP4_MOE": "Q4_K_S", "Q4_0": "Q4_K_S", "Q4_1": "Q4_K_M", "Q5_0": "Q5_K_S", "Q5_1": "Q5_K_M"}


@dataclass(frozen=True)
class Measured:
    """A published speed: tokens a second of a model whose file has so many bytes, on so many bytes a second."""

    machine: str
    bandwidth: float
    model: str
    recipe: str
    nbytes: float
    speed: float


APPLE_SOURCE = "llama.cpp, discussion 4167, “Performance of llama.cpp on Apple Silicon M-series”, LLaMA 7B"
_SEVEN = {"F16": 13.48e9, "Q8_0": 7.16e9, "Q4_0": 3.83e9}


def _seven(machine: str, bandwidth: float, f16: float, q8_0: float, q4_0: float) -> tuple[Measured, ...]:
    found = zip(_SEVEN, (f16, q8_0, q4_0), strict=True)
    return tuple(Measured(machine, bandwidth, "LLaMA 7B", name, _SEVEN[name], speed) for name, speed in found)


APPLE = (
    *_seven("M1 Pro, 16 cores", 200e9, 12.75, 22.34, 36.41),
    *_seven("M1 Max, 32 cores", 400e9, 23.03, 40.20, 61.19),
    *_seven("M2, 10 cores", 100e9, 6.72, 12.21, 21.91),
    *_seven("M2 Max, 38 cores", 400e9, 24.65, 41.83, 65.95),
    *_seven("M3 Max, 40 cores", 400e9, 25.09, 42.75, 66.31),
)


CARDS_SOURCE = (
    "llama.cpp, pull requests 8215, 15802 (one token at a time) and 26284, Llama-3-8B; issue 27525, Qwen3.8-27B on an "
    "M1 Max"
)
# Machines of `machines`: tokens a second of an 8B model.
CARDS = {
    ("GeForce RTX 3090, 24 GB", "IQ3_XXS"): 143.46, ("GeForce RTX 3090, 24 GB", "IQ2_S"): 151.47,
    ("GeForce RTX 3090, 24 GB", "Q4_0"): 156.56, ("GeForce RTX 4090, 24 GB", "IQ3_XXS"): 235.58,
    ("GeForce RTX 4090, 24 GB", "IQ2_S"): 276.89, ("Radeon RX 7900 XTX, 24 GB", "Q4_K_M"): 105.81,
    ("Radeon RX 7900 XTX, 24 GB", "Q5_K_M"): 100.47,
}  # fmt: skip
M1_MAX_27B = (
    Measured("M1 Max", 400e9, "Qwen3.8-27B", "IQ4_NL", 16.34e9, 14.29),
    Measured("M1 Max", 400e9, "Qwen3.8-27B", "Q3_K_M", 13.82e9, 12.63),
)


def share_of(recipe: str, bandwidth: float = 0.0, unpacking: float = 0.0) -> float:
    """The share of the bandwidth that llama.cpp's kernels reach in this recipe.

    bandwidth, unpacking: of a card, in bytes a second and over the table's card. Without them the table's share: its
    bytes · speed against F16's.
    """
    name = NEAREST.get(recipe, recipe)
    if not unpacking:
        return REACHED * _throughput(name) / _throughput("F16") if name in SPEEDS else REACHED * 0.5
    return 1 / (1 / REACHED + bandwidth * unpacked_in(name) / unpacking)


def unpacked_in(recipe: str) -> float:
    """Seconds that the table's card spends on a byte of this recipe beyond reading it, as it reads F16's."""
    name = recipe if recipe in SPEEDS else "IQ3_S"
    layers = LLAMA_3_1_8B_LAYERS * EACH_LAYER
    return max(0.0, _seconds(name, layers) - _seconds("F16", layers))


def _seconds(recipe: str, layers: float) -> float:
    """Seconds a byte in the published table, without so many seconds for layers."""
    return (1 / SPEEDS[recipe][1] - layers) / _bytes(recipe)


def _throughput(recipe: str) -> float:
    """Bytes a second that the published table reaches."""
    return _bytes(recipe) * SPEEDS[recipe][1]


def _bytes(recipe: str) -> float:
    return LLAMA_3_1_8B * LLAMA_3_8B_BPW[recipe] / 8


def each_layer(machine: Machine, routed: bool = False) -> float:
    """Seconds of a layer that no bandwidth shortens; routed: of a mixture of experts, which takes more kernels."""
    return EACH_LAYER_ON_CARD if machine.unpacking and not routed else EACH_LAYER


def tokens_per_second(bandwidth: float, read: int, cache: int) -> float:
    """The most that a memory of so many bytes a second allows: each token reads weights and cache once."""
    return bandwidth / max(1, read + cache)


@dataclass(frozen=True)
class Speed:
    """Tokens a second: at_most by bandwidth alone; about: with what kernels reach of it. The context half full."""

    at_most: float
    about: float


def speed_of(weighed: Weighed, placed: Placement, machine: Machine) -> Speed | None:
    """How fast a placement writes; None where it does not run, or no bandwidth is given."""
    if not placed.runs or not machine.bandwidth:
        return None
    parts = weighed.parts
    in_layers, routed = sum(parts.layers), sum(parts.experts)
    used = (weighed.read - in_layers - parts.output) / routed if routed else 0.0
    fast, slow = weighed.read, 0.0
    if placed.how == "experts":
        slow = used * sum(parts.experts[: placed.count])
    elif placed.how == "layers":
        slow = sum(parts.layers[: placed.count]) + used * sum(parts.experts[: placed.count])
    at_fast, at_slow = machine.bandwidth, machine.slow.bandwidth if machine.slow else 1.0
    share, share_of_slow = share_of(weighed.recipe, at_fast, machine.unpacking), share_of(weighed.recipe)
    kept = placed.cache / 2
    at_most = (fast - slow + kept) / at_fast + slow / at_slow
    about = ((fast - slow) / share + kept) / at_fast + slow / (share_of_slow * at_slow)
    about += each_layer(machine, routed > 0) * len(parts.layers)
    return Speed(1 / max(at_most, 1e-9), 1 / max(about, 1e-9))
