"""AWQ: give input channels with large activations more of the grid, by scaling their weights up before rounding.

    Ŵ = Q(W · s) / s,   s = mean|x|^α,   α the best of twenty; then the range of each group is clipped where that helps

The layer computes the same with W · s and inputs x / s, and x / s costs nothing: it is folded into whatever makes x.
Sources: Lin et al., "AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration", 2023, and the
code of llm-awq (auto_scale, auto_clip) and AutoAWQ, whose search weighs weights too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from quantlib.errors import MethodError
from quantlib.formats.finite import check_finite
from quantlib.formats.rows import as_float32
from quantlib.methods.hessian import Gram

ALPHAS = tuple(i / 20 for i in range(20))
CLIPS = tuple(1 - i / 20 for i in range(10))  # shares of a group's largest magnitude
F32 = np.float32
Error = Callable[[Sequence[np.ndarray]], float]


@dataclass(frozen=True)
class AffineGroups:
    """The grid of AWQ: codes 0 … 2^bits − 1 from the lowest weight of a group to its highest, with a zero point.

    scale = max(high − low, 1e−5) / (2^bits − 1); zero = round(−low / scale), kept to the range of codes, so a group
    whose weights all have one sign keeps 0 on the grid only as far as the zero point reaches.
    Source: `pseudo_quantize_tensor` in llm-awq.
    """

    bits: int = 4
    group: int = 128

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8:
            raise MethodError(f"AWQ's grids have 2 to 8 bits, not {self.bits}.")

    @property
    def bpw(self) -> float:
        """Bits per weight as stored by the GEMM layout: codes, an FP16 scale and a packed zero point for each group."""
        return self.bits + (16 + self.bits) / self.group

    def split(self, w: np.ndarray) -> np.ndarray:
        """w (outputs, inputs) -> (outputs, groups, group). Raises MethodError where groups do not divide the width."""
        if w.shape[-1] % self.group:
            raise MethodError(
                f"Groups of {self.group} do not divide a layer of {w.shape[-1]:,} inputs; choose a size that does."
            )
        return w.reshape(len(w), -1, self.group)

    def round(self, w: np.ndarray) -> "Affine":
        """Round to nearest: float32 (outputs, inputs) -> Affine."""
        groups = self.split(w)
        low, high = groups.min(-1, keepdims=True), groups.max(-1, keepdims=True)  # (outputs, groups, 1)
        top = F32(2**self.bits - 1)
        scale = np.maximum(high - low, F32(1e-5)) / top
        zero = np.clip(-np.rint(low / scale), 0, top)
        codes = np.clip(np.rint(groups / scale) + zero, 0, top)
        return Affine(codes.reshape(w.shape).astype(np.uint8), scale[..., 0], zero[..., 0].astype(np.uint8))


@dataclass(frozen=True, eq=False)
class Affine:
    """x̂ = scale · (code − zero). codes: uint8 (outputs, inputs); scales float32, zeros uint8 (outputs, groups)."""

    codes: np.ndarray
    scales: np.ndarray
    zeros: np.ndarray

    def decode(self) -> np.ndarray:
        """x̂, float32 (outputs, inputs)."""
        codes = self.codes.reshape(*self.scales.shape, -1).astype(F32)  # (outputs, groups, group)
        return ((codes - self.zeros[..., None]) * self.scales[..., None]).reshape(self.codes.shape)


@dataclass(frozen=True, eq=False)
class ScaleSearch:
    """The trace of the search for s. alphas, losses: float (tried,). tried: float32 (tried, inputs), each one's s.

    losses: the mean squared error of what the layer, or the module around it, puts out.
    """

    alphas: np.ndarray
    losses: np.ndarray
    tried: np.ndarray

    @property
    def winner(self) -> int:
        """The place of the least loss, the first on a tie."""
        return int(self.losses.argmin())

    @property
    def alpha(self) -> float:
        return float(self.alphas[self.winner])

    @property
    def scales(self) -> np.ndarray:
        """s, float32 (inputs,)."""
        return self.tried[self.winner]


@dataclass(frozen=True, eq=False)
class ClipSearch:
    """The trace of the search for clipping. shares: float (tried,), of a group's largest magnitude.

    errors: float32 (tried, outputs, groups), the mean squared error of each group's part of the output.
    limits: float32 (outputs, groups), the magnitude to clip at.
    """

    shares: np.ndarray
    errors: np.ndarray
    limits: np.ndarray

    @property
    def winners(self) -> np.ndarray:
        """The place of each group's least error: int (outputs, groups)."""
        return self.errors.argmin(0)


@dataclass(frozen=True, eq=False)
class Awq:
    """Matrices that read the same inputs, with chosen codes: Ŵ = decode(codes) / scales.

    grid: AffineGroups. stored: one Affine for each matrix, of W · scales, as a file holds them. scales: s (inputs,), by
    which whatever makes the inputs must be divided (`fold`). search and clips tell how they were found; clips has one
    entry for each matrix, None where there was no clipping.
    """

    grid: AffineGroups
    stored: tuple[Affine, ...]
    search: ScaleSearch
    clips: tuple[ClipSearch | None, ...]

    @property
    def scales(self) -> np.ndarray:
        return self.search.scales

    def dequantized(self) -> tuple[np.ndarray, ...]:
        """Each Ŵ, float32 (outputs, inputs), for inputs that are not divided by s."""
        return tuple(stored.decode() / self.scales for stored in self.stored)


def awq(
    weights: Sequence[np.ndarray],
    gram: Gram,
    grid: AffineGroups = AffineGroups(),
    clip: bool | Sequence[bool] = True,
    error: Error | None = None,
    weigh_weights: bool = False,
    alphas: Sequence[float] = ALPHAS,
) -> Awq:
    """Choose scales, clipping and codes of matrices (outputs, inputs) that read the same inputs, calibrated by `gram`.

    clip: for all or for each matrix; the authors leave query and key unclipped. error(decoded weights) -> float is what
    the scales minimize: a module's error by `module_error`, without it the matrices' own (`layer_error`).
    weigh_weights: AutoAWQ's search. alphas=(0.0,) leaves the weights unscaled.
    Raises MethodError where the group size does not divide the width or nothing was calibrated, FormatError on NaN.
    """
    weights = [as_float32(w) for w in weights]
    for w in weights:
        check_finite("AWQ", w)
        grid.split(w)
        if w.ndim != 2 or w.shape[1] != len(gram.products):
            raise MethodError(f"A weight of shape {w.shape} does not read {len(gram.products):,} calibrated channels.")
    search = search_scales(
        weights, gram.mean_magnitudes, grid, error or layer_error(weights, gram), weigh_weights, alphas
    )
    scaled = [w * search.scales for w in weights]
    wanted = [clip] * len(weights) if isinstance(clip, bool) else list(clip)
    clips: tuple[ClipSearch | None, ...] = (None,) * len(weights)
    if any(wanted):
        products = _diagonal_blocks(gram, grid.group) / _outer(search.scales, grid.group)
        clips = tuple(search_clip(w, products, grid) if yes else None for w, yes in zip(scaled, wanted, strict=True))
    clipped = [w if c is None else clamp(w, c.limits) for w, c in zip(scaled, clips, strict=True)]
    return Awq(grid, tuple(grid.round(w) for w in clipped), search, clips)


def search_scales(
    weights: Sequence[np.ndarray],
    magnitudes: np.ndarray,
    grid: AffineGroups,
    error: Error,
    weigh_weights: bool = False,
    alphas: Sequence[float] = ALPHAS,
) -> ScaleSearch:
    """Try s = mean|x|^α, at least 1e−4, divided by sqrt(max s · min s). magnitudes: mean|x|, float32 (inputs,).

    weigh_weights: s is also divided by w^(1 − α) + 1e−4, w the mean over outputs of |W| / its group's largest.
    """
    small = _mean_shares(weights, grid) if weigh_weights else None
    tried, losses = [], []
    for alpha in alphas:
        s = magnitudes ** F32(alpha)
        if small is not None:
            s = s / (small ** F32(1 - alpha) + F32(1e-4))
        s = np.maximum(s, F32(1e-4))
        s = s / np.sqrt(s.max() * s.min())
        tried.append(s)
        losses.append(error([grid.round(w * s).decode() / s for w in weights]))
    return ScaleSearch(np.array(alphas, float), np.array(losses, float), np.stack(tried))


def layer_error(weights: Sequence[np.ndarray], gram: Gram) -> Error:
    """The mean squared error of the outputs of all matrices, from the sums over their inputs."""
    outputs = sum(len(w) for w in weights)
    products = gram.products / F32(max(1, gram.tokens))

    def error(decoded: Sequence[np.ndarray]) -> float:
        misses = (d - w for d, w in zip(decoded, weights, strict=True))
        return sum(float(np.sum((m @ products) * m, dtype=np.float64)) for m in misses) / outputs

    return error


def module_error(weights: Sequence[np.ndarray], module: Callable[[Sequence[np.ndarray]], np.ndarray]) -> Error:
    """The mean squared error of what a module puts out on fixed inputs: module(weights) -> float32 array."""
    wanted = module(weights)
    return lambda decoded: float(np.mean(np.square(module(decoded) - wanted), dtype=np.float64))


def search_clip(weight: np.ndarray, products: np.ndarray, grid: AffineGroups) -> ClipSearch:
    """Try to clip each group at shares of its largest magnitude; the first of the least error of its part wins.

    products: Σ x xᵀ / tokens of the channels of each group, float32 (groups, group, group).
    """
    groups = grid.split(weight)  # (outputs, groups, group)
    largest = np.abs(groups).max(-1)
    tried = []
    for share in CLIPS:
        miss = grid.split(grid.round(clamp(weight, largest * F32(share))).decode()) - groups
        part = np.matmul(miss.transpose(1, 0, 2), products).transpose(1, 0, 2)  # (outputs, groups, group)
        tried.append((part * miss).sum(-1))
    errors = np.stack(tried)
    shares = np.array(CLIPS, F32)
    return ClipSearch(shares, errors, largest * shares[errors.argmin(0)])


def clamp(weight: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Weights (outputs, inputs) held within ± the limit of their group: limits (outputs, groups)."""
    groups, limits = weight.reshape(*limits.shape, -1), limits[..., None]
    return np.clip(groups, -limits, limits).reshape(weight.shape)


def fold(previous: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """What makes the inputs, divided by s: a norm's gain (inputs,), or a matrix whose outputs they are (inputs, ...).

    Raises MethodError where it does not make these inputs one by one, as in grouped-query attention.
    """
    if len(previous) != len(scales):
        raise MethodError(
            f"What makes these {len(scales):,} inputs has {len(previous):,} outputs, so their scales cannot be folded."
        )
    return previous / scales.reshape(-1, *[1] * (previous.ndim - 1))


def _mean_shares(weights: Sequence[np.ndarray], grid: AffineGroups) -> np.ndarray:
    """The mean over the outputs of all matrices of |w| / (its group's largest + 1e−6): float32 (inputs,)."""
    sizes = np.abs(np.concatenate(weights))
    groups = grid.split(sizes)
    return (groups / (groups.max(-1, keepdims=True) + F32(1e-6))).reshape(sizes.shape).mean(0)


def _diagonal_blocks(gram: Gram, group: int) -> np.ndarray:
    """Σ x xᵀ / tokens among the channels of each group: (groups, group, group)."""
    starts = range(0, len(gram.products), group)
    return np.stack([gram.products[at : at + group, at : at + group] for at in starts]) / F32(max(1, gram.tokens))


def _outer(scales: np.ndarray, group: int) -> np.ndarray:
    parts = scales.reshape(-1, group)
    return parts[:, :, None] * parts[:, None, :]
