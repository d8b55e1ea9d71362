"""GPTQ, AWQ and SmoothQuant as schemes: the method of each kind of matrix, and how its result is stored."""

import math
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from quantlib.exports import awq as awq_layout
from quantlib.exports import compressed
from quantlib.exports import gptq as gptq_layout
from quantlib.exports.calibrated import CalibratedScheme, Scaled
from quantlib.exports.choices import Between, Choices
from quantlib.exports.folding import makers_of
from quantlib.exports.schemes import GROUP, GROUPS, SCALE_FORMATS, TRANSFORMERS, VLLM
from quantlib.exports.stored import Stored
from quantlib.formats.granularity import PerChannel
from quantlib.formats.integers import IntegerFormat
from quantlib.lm.model import Model
from quantlib.methods.awq import ALPHAS, Affine, AffineGroups, awq
from quantlib.methods.catalogue import Chosen, Method, gptq_groups, needed
from quantlib.methods.gptq import Gptq, Settings
from quantlib.methods.grids import Grid, IntegerGrids
from quantlib.methods.hessian import Gram
from quantlib.methods.rtn import Rounded, round_to_nearest
from quantlib.methods.smoothquant import smoothing_scales

ALPHA = 0.5  # how much of the activations' spread SmoothQuant moves
WORD = 32  # bits of the words that codes are packed into
Methods = tuple[Method, Mapping[str, Method]]


class AboveZero(IntegerGrids):
    """Grids whose zero points are at least 1: the layout stores them less one, and loaders add the one back in words of
    several, where a zero point of 0 would carry into its neighbour.
    """

    def choose(self, columns: np.ndarray, first: int) -> Grid:
        grid = super().choose(columns, first)
        if self.form.symmetric:
            return grid
        at_zero = grid.zero == 0  # no weight is negative: one code is given up, so that the highest still reaches
        wider = np.float32(np.float16(columns.max(axis=1, keepdims=True) / np.float32(self.highest - 1)))
        scale = np.where(at_zero, np.maximum(wider, 0), grid.scale)
        return Grid(scale, np.where(at_zero, 1, grid.zero).astype(np.int32), grid.minimum)


def _gptq_store(result: Gptq, rows: np.ndarray, divisor: np.ndarray, dtype: np.dtype, bits: int) -> Stored:
    grids = result.grids
    offset = grids.form.offset if isinstance(grids, IntegerGrids) else 0  # the layout has no sign
    parts = (result.codes + offset, result.scales, result.zeros + offset)
    codes, scales, zeros = (part[rows] for part in parts)
    return gptq_layout.gptq(codes, scales, zeros, result.g_idx, bits)


def _awq_methods(model: Model, group: int) -> Methods:
    """Queries and keys are not clipped: their product is what attention compares. The output projection behind fewer
    value heads than heads is not scaled: there is no row of values that stands for one of its inputs alone.
    """
    others = dict.fromkeys(("attn_q", "attn_k", "attn_v"), _awq_method(group, unclipped=2))
    if model.shape.heads != model.shape.kv_heads:
        others["attn_output"] = _awq_method(group, folds=False)
    return _awq_method(group), others


def _awq_method(group: int, unclipped: int = 0, folds: bool = True) -> Method:
    """unclipped: how many of the first matrices are left so. folds: whether scales are searched for."""
    grid = AffineGroups(awq_layout.BITS, group)

    def choose(weights: Sequence[np.ndarray], gram: Gram | None) -> Sequence[Chosen]:
        clip = [at >= unclipped for at in range(len(weights))]
        done = awq(weights, needed(gram), grid, clip, alphas=ALPHAS if folds else (0.0,))
        pairs = zip(done.dequantized(), done.stored, strict=True)
        return [Chosen(w, grid.bpw, Scaled(codes, done.scales) if folds else codes) for w, codes in pairs]

    return Method("AWQ", "AWQ", awq_layout.BITS, True, choose)


def _awq_store(result: Affine, rows: np.ndarray, divisor: np.ndarray, dtype: np.dtype) -> Stored:
    """A row divided by a number has the same codes and zero points, and scales divided by it."""
    return awq_layout.awq(result.codes[rows], result.scales[rows] / divisor[:, None], result.zeros[rows])


def _smooth_methods(model: Model, dtype: np.dtype) -> Methods:
    """Inputs that a norm makes are smoothed; the others, behind a product, are not."""
    form = IntegerFormat(8, restricted=False, scale_format=SCALE_FORMATS[dtype])

    def smoothed(weights: Sequence[np.ndarray], gram: Gram | None) -> Sequence[Chosen]:
        s = smoothing_scales(needed(gram).largest, weights, ALPHA)
        done = [round_to_nearest(w * s, form, PerChannel()) for w in weights]
        return [Chosen(r.decoded / s, r.bpw, Scaled(r, s)) for r in done]

    def plain(weights: Sequence[np.ndarray], gram: Gram | None) -> Sequence[Chosen]:
        done = [round_to_nearest(w, form, PerChannel()) for w in weights]
        return [Chosen(r.decoded, r.bpw, r) for r in done]

    first, rest = (Method("SmoothQuant", "SmoothQuant", 8, True, choose) for choose in (smoothed, plain))
    return first, {kind: rest for kind, maker in makers_of(model).items() if not maker.endswith("_norm")}


def _smooth_store(result: Rounded, rows: np.ndarray, divisor: np.ndarray, dtype: np.dtype) -> Stored:
    return compressed.int8(result.codes[rows], result.scales[rows, None].astype(dtype))


def _gptq(choices: Choices) -> CalibratedScheme:
    bits, group = choices.bits, choices.group
    how = Settings(damping=choices.damping, act_order=choices.act_order)
    method = gptq_groups(bits, group, choices.symmetric, how, AboveZero)
    whole = WORD // math.gcd(bits, WORD)  # codes that fill words
    config = gptq_layout.gptq_config(bits, group, choices.symmetric, choices.act_order, choices.damping)
    return CalibratedScheme(
        name="gptq",
        summary=f"GPTQ, {bits} bits, a scale for {choices.grouped}: errors are pushed to weights not yet rounded.",
        loaders=(VLLM, TRANSFORMERS),
        multiple=group or 1,
        packed=(whole, whole),
        methods=lambda model, dtype: (method, {}),
        store=partial(_gptq_store, bits=bits),
        config=lambda dtype: config,
        leaving=gptq_layout.leaving,
        folds=False,
        choices=choices,
        usual=Choices(),
        offers={
            "bits": gptq_layout.BITS,
            "group": GROUPS,
            "symmetric": (True, False),
            "act_order": (False, True),
            "damping": Between(0.0, 1.0),
        },
        make=_gptq,
    )


def _awq(choices: Choices) -> CalibratedScheme:
    group = choices.group or GROUP
    return CalibratedScheme(
        name="awq",
        summary=f"AWQ, {awq_layout.BITS} bits, scale and zero point for {choices.grouped}: channels that matter get "
        "finer steps.",
        loaders=(VLLM, TRANSFORMERS),
        multiple=group,
        packed=(1, len(awq_layout.ORDER)),
        methods=lambda model, dtype: _awq_methods(model, group),
        store=_awq_store,
        config=lambda dtype: awq_layout.awq_config(group),
        leaving=awq_layout.leaving,
        folds=True,
        choices=choices,
        usual=AFFINE,
        offers={"group": tuple(filter(None, GROUPS))},
        make=_awq,
    )


AFFINE = Choices(symmetric=False)
GPTQ, AWQ = _gptq(Choices()), _awq(AFFINE)
W8A8 = CalibratedScheme(
    name="w8a8",
    summary="SmoothQuant: weights and, at run time, activations of 8 bits, multiplied as whole numbers.",
    loaders=(VLLM, TRANSFORMERS),
    multiple=1,
    methods=_smooth_methods,
    store=_smooth_store,
    config=lambda dtype: compressed.config(
        "int-quantized",
        {"num_bits": 8, "type": "int", "strategy": "channel"},
        {"num_bits": 8, "type": "int", "strategy": "token"},
    ),
    leaving=compressed.leaving,
    folds=True,
)

CALIBRATED = (GPTQ, AWQ, W8A8)
