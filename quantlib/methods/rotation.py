"""Rotation: spread every channel over all others before rounding, and undo it inside the weights.

    x Wᵀ = (x Q) (W Q)ᵀ,   Q = D H / √n,   H Hᵀ = n I;   then both sides to 8 or 4 bits

H is a Hadamard matrix: every entry is 1 or −1, and its rows are orthogonal. D is a diagonal of random signs. A spike in
one channel of x becomes n values of one nth of its energy each. Q is orthogonal, so the product is the same.

Source: Ashkboos et al., "QuaRot: Outlier-Free 4-Bit Inference in Rotated LLMs", 2024, and Tseng et al., "QuIP#: Even
Better LLM Quantization with Hadamard Incoherence and Lattice Codebooks", 2024. Orders that are no power of two are made
after Paley, "On Orthogonal Matrices", 1933.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isqrt, prod

import numpy as np

from quantlib.errors import MethodError
from quantlib.formats.rows import as_float32
from quantlib.methods.smoothquant import Int8Rows, channel_largest, int8_rows, multiply, relative_error

F32 = np.float32
SEED = 0
LARGEST_FACTOR = 512  # a Paley matrix of this order is built at once; larger ones are products of smaller ones


@dataclass(frozen=True, eq=False)
class Rotation:
    """Q of n channels, as small Hadamard matrices whose Kronecker product is H; faster than the whole matrix.

    signs: D, float32 (n,), 1 or −1. factors: float32 (f, f) each, entries 1 or −1; the product of their orders divides
    n, and channels are mixed in blocks of that product.
    """

    signs: np.ndarray
    factors: tuple[np.ndarray, ...]

    @property
    def block(self) -> int:
        """Over how many channels each channel is spread."""
        return prod(len(f) for f in self.factors)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """x Q: float32 (..., n) -> (..., n). Raises MethodError where the width differs."""
        x = as_float32(x)
        if x.shape[-1] != self.signs.size:
            raise MethodError(f"The rotation is of {self.signs.size:,} channels, and the rows have {x.shape[-1]:,}.")
        out = (x * self.signs).reshape(-1, *(len(f) for f in self.factors))  # (rows and blocks, a, b, ...)
        for axis, factor in enumerate(self.factors, 1):
            out = np.moveaxis(np.tensordot(out, factor, (axis, 0)), -1, axis)
        return (out.reshape(x.shape) / np.sqrt(F32(self.block))).astype(F32)

    def inverse(self, x: np.ndarray) -> np.ndarray:
        """x Qᵀ, which undoes it: float32 (..., n) -> (..., n)."""
        turned = Rotation(np.ones_like(self.signs), tuple(f.T for f in self.factors))
        return turned(x) * self.signs

    def matrix(self) -> np.ndarray:
        """Q itself, float32 (n, n): the reference for the faster product."""
        h = np.ones((1, 1), F32)
        for factor in self.factors:
            h = np.kron(h, factor)
        whole = np.kron(np.eye(self.signs.size // self.block, dtype=F32), h)
        return self.signs[:, None] * whole / np.sqrt(F32(self.block))


def rotation(n: int, factors: Sequence[int] | None = None, seed: int | None = SEED) -> Rotation:
    """Q for n channels, of the orders `factors`, or of all that `factors_of` finds. seed None leaves all signs at 1.

    Raises MethodError where an order has no matrix here, or the orders do not divide n.
    """
    orders = factors_of(n) if factors is None else tuple(factors)
    if n < 1 or any(order < 1 for order in orders) or n % prod(orders):
        raise MethodError(f"Rotations in blocks of {prod(orders):,} do not divide {n:,} channels.")
    signs = np.ones(n, F32) if seed is None else np.random.default_rng(seed).choice(np.array([-1, 1], F32), n)
    return Rotation(signs, tuple(hadamard(order) for order in orders))


@lru_cache(maxsize=64)
def hadamard(n: int) -> np.ndarray:
    """A Hadamard matrix: float32 (n, n) of 1 and −1 with H Hᵀ = n I. Sylvester's where n is a power of two.

    Raises MethodError for an order that neither Sylvester's nor Paley's construction reaches.
    """
    if n in (1, 2):
        found = np.array([[1, 1], [1, -1]], F32)[:n, :n]
    elif n % 2 == 0 and _constructible(n // 2):
        found = np.kron(hadamard(2), hadamard(n // 2))
    elif n % 4 == 0 and _is_prime(n - 1):
        found = _with_border(n - 1, antisymmetric=True) + np.eye(n, dtype=F32)
    elif n % 4 == 0 and _is_prime(n // 2 - 1) and n // 2 % 4 == 2:
        core = _with_border(n // 2 - 1, antisymmetric=False)
        small = np.array([[1, 1], [1, -1]], F32), np.array([[1, -1], [-1, -1]], F32)
        found = np.kron(core, small[0]) + np.kron(np.eye(n // 2, dtype=F32), small[1])
    else:
        raise MethodError(f"No Hadamard matrix of order {n:,} is known here.")
    found.flags.writeable = False  # it is shared
    return found


def factors_of(n: int) -> tuple[int, ...]:
    """Orders of small Hadamard matrices whose product divides n and is as large as can be, the smallest such.

    >>> factors_of(576), factors_of(4096), factors_of(1000)
    ((4, 12, 12), (16, 16, 16), (2, 500))
    """
    best: tuple[int, ...] = ()
    for odd in _orders_with_odd_part(n):
        rest = n // prod(odd)
        power = rest & -rest  # its largest power of two
        found = tuple(sorted((*_powers(power), *odd)))
        if (prod(found), -sum(found)) > (prod(best), -sum(best)):
            best = found
    return best


@dataclass(frozen=True, eq=False)
class Rotated:
    """A layer with rotated inputs. weight: Int8Rows of W Q, one scale for each output."""

    rotation: Rotation
    bits: int
    weight: Int8Rows

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The layer's output, activations scaled by token: float32 (tokens, inputs) -> (tokens, outputs)."""
        return multiply(int8_rows(self.rotation(x), self.bits), self.weight)

    def dequantized(self) -> np.ndarray:
        """Ŵ for inputs that are not rotated: float32 (outputs, inputs)."""
        return self.rotation.inverse(self.weight.decode())


def rotate(weight: np.ndarray, turn: Rotation | None = None, bits: int = 8) -> Rotated:
    """Rotate a weight (outputs, inputs) and quantize it by output, to 8 bits or fewer."""
    weight = as_float32(weight)
    turn = turn or rotation(weight.shape[-1])
    return Rotated(turn, bits, int8_rows(turn(weight), bits))


@dataclass(frozen=True, eq=False)
class RotationTrace:
    """What mixing over more and more channels does: arrays start with an axis over `blocks` (tried,), the first 1.

    blocks: over how many channels each is spread. activations, weights: max|x Q| and max|W Q| of each channel, float32
    (tried, inputs). tokens: x Q of the first tokens, float32 (tried, shown, inputs). errors: the output's error as a
    share of the output, float64 (tried,).
    """

    blocks: tuple[int, ...]
    activations: np.ndarray
    weights: np.ndarray
    tokens: np.ndarray
    errors: np.ndarray


def rotation_trace(x: np.ndarray, weight: np.ndarray, bits: int = 8, shown: int = 1) -> RotationTrace:
    """Rotate activations x (tokens, inputs) and a weight (outputs, inputs) with one factor, then two, up to all."""
    x, weight = as_float32(x), as_float32(weight)
    exact, orders = x @ weight.T, factors_of(weight.shape[-1])
    turns = [rotation(weight.shape[-1], orders[:count]) for count in range(len(orders) + 1)]
    turned = [turn(x) for turn in turns]
    return RotationTrace(
        tuple(turn.block for turn in turns),
        np.stack([channel_largest(t) for t in turned]),
        np.stack([channel_largest(turn(weight)) for turn in turns]),
        np.stack([t[:shown] for t in turned]),
        np.array([relative_error(rotate(weight, turn, bits)(x), exact) for turn in turns]),
    )


def _powers(power: int) -> tuple[int, ...]:
    """A power of two as factors of at most 16: 256 as 16 · 16, 128 as 8 · 16."""
    if power <= 16:
        return (power,) if power > 1 else ()
    return (16, *_powers(power // 16))


def _orders_with_odd_part(n: int) -> list[tuple[int, ...]]:
    """Sets of Paley's orders whose product divides n, the empty one among them."""
    orders = [m for m in range(12, min(n, LARGEST_FACTOR) + 1, 4) if n % m == 0 and m & (m - 1) and _paley(m)]
    found: list[tuple[int, ...]] = [()]
    for start in found:  # it grows while it is read
        last = start[-1] if start else 0
        found += [(*start, m) for m in orders if m >= last and n % (prod(start) * m) == 0]
    return found


def _constructible(n: int) -> bool:
    return n in (1, 2) or (n % 4 == 0 and (_constructible(n // 2) or _paley(n)))


def _paley(n: int) -> bool:
    """Whether one of Paley's constructions with a prime has this order."""
    return n % 4 == 0 and (_is_prime(n - 1) or (n // 2 % 4 == 2 and _is_prime(n // 2 - 1)))


def _is_prime(n: int) -> bool:
    return n > 1 and all(n % d for d in range(2, isqrt(n) + 1))


def _with_border(q: int, antisymmetric: bool) -> np.ndarray:
    """Paley's core: the squares modulo q as a matrix of signs (q + 1, q + 1), bordered by ones, its diagonal 0."""
    signs = np.full(q, -1, F32)
    signs[np.arange(1, q, dtype=np.int64) ** 2 % q] = 1
    signs[0] = 0
    core = np.zeros((q + 1, q + 1), F32)
    core[0, 1:], core[1:, 0] = 1, -1 if antisymmetric else 1
    core[1:, 1:] = signs[(np.arange(q) - np.arange(q)[:, None]) % q]
    return core
