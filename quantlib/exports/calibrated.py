"""The schemes that need a calibration text: GPTQ, AWQ and SmoothQuant, chosen layer by layer, and folded.

AWQ and SmoothQuant multiply the columns of matrices by s; whatever makes their inputs is divided by s in turn: the norm
before attention or feed-forward, the up projection before down, the value projection before the attention's output
where there are as many value heads as heads. GGUF orders the rows of some matrices in its own way, so rows go back.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from quantlib.checkpoints import Checkpoint
from quantlib.checkpoints.convert.tensors import gguf_name, row_order
from quantlib.errors import MethodError
from quantlib.exports.exporting import Prepared
from quantlib.exports.linears import declared, linears_of, stored_dtype
from quantlib.exports.schemes import Kind
from quantlib.exports.stored import Stored
from quantlib.lm.model import Model
from quantlib.lm.quantizing import quantize_layers
from quantlib.lm.windows import Windows
from quantlib.methods.catalogue import Method

FOLDABLE = ("llama", "qwen2", "qwen3")  # GGUF's architectures whose norms and matrices follow each other as below
# The kind of the tensor that makes the inputs of a kind of matrix.
MAKERS = {
    "attn_q": "attn_norm", "attn_k": "attn_norm", "attn_v": "attn_norm",
    "ffn_gate": "ffn_norm", "ffn_up": "ffn_norm", "ffn_down": "ffn_up", "attn_output": "attn_v",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Scaled:
    """What a scaling method leaves of a matrix: the codes of W · s, in the method's own form, and s (inputs,)."""

    result: object
    scales: np.ndarray


@dataclass(frozen=True)
class CalibratedScheme(Kind):
    """A kind whose codes are chosen on a text.

    methods(model, dtype of the source) -> the method, and others for some kinds of matrix ("attn_q"). Where `folds`,
    results are Scaled, but for inputs that cannot be divided.
    store(result, rows, divisor, dtype) -> Stored: rows puts the result's rows into Hugging Face's order; each row of
    the decoded weight is to be divided by the divisor (outputs,), in that order, for the matrix that it feeds.
    """

    methods: Callable[[Model, np.dtype], tuple[Method, Mapping[str, Method]]]
    store: Callable[[object, np.ndarray, np.ndarray, np.dtype], Stored]
    folds: bool


def prepare(
    checkpoint: Checkpoint,
    scheme: CalibratedScheme,
    model: Model,
    windows: Windows,
    progress: Callable[[float], None] | None = None,
) -> Prepared:
    """Choose the codes of every matrix, layer after layer, and fold scales.

    model: of this checkpoint. windows: the calibration text. Holds the packed codes of the whole model.
    Raises MethodError where the text is too short, a layer cannot be quantized, or the architecture does not fold.
    """
    linears = {linear.gguf: linear for linear in linears_of(checkpoint).values()}
    if scheme.folds and model.architecture.name not in FOLDABLE:
        raise MethodError(
            f"{scheme.name} moves scales into the norms and matrices before, which is done for "
            f"{', '.join(FOLDABLE)} models, not for {model.architecture.name}; choose another scheme."
        )
    order = _row_orders(checkpoint)
    kept: dict[str, Stored] = {}
    columns: dict[str, np.ndarray] = {}  # s of each matrix, by GGUF's name
    divisors: dict[str, np.ndarray] = {}  # what divides the rows of a matrix or the values of a norm
    method, others = scheme.methods(model, next(iter(linears.values())).dtype)
    by_name = {name: others.get(name.split(".")[2], method) for name in linears}
    for layer in quantize_layers(model, windows, by_name, progress):
        results = {name: chosen.result for name, chosen in layer.chosen.items()}
        for name, result in results.items():
            if isinstance(result, Scaled):
                columns[name] = result.scales
                divisors[_maker(name)] = result.scales
        for name, result in results.items():
            rows = np.argsort(order(linears[name].tensor.name, linears[name].tensor.shape[0]))
            divisor = divisors.get(name, np.ones(len(rows), np.float32))[rows]
            inner = result.result if isinstance(result, Scaled) else result
            kept[linears[name].tensor.name] = scheme.store(inner, rows, divisor, linears[name].dtype)
    return Prepared(
        store=lambda linear: kept[linear.tensor.name],
        wanted=lambda linear: _scaled(linear.weight(), columns.get(linear.gguf), divisors.get(linear.gguf)),
        replaced=_folded(checkpoint, divisors),
    )


def _maker(name: str) -> str:
    """GGUF's name of the tensor that makes the inputs of a matrix."""
    block, layer, kind, _ = name.split(".")
    return f"{block}.{layer}.{MAKERS[kind]}.weight"


def _scaled(weight: np.ndarray, columns: np.ndarray | None, rows: np.ndarray | None) -> np.ndarray:
    """W · s / divisor: no matrix whose rows are divided has its rows in another order (MAKERS)."""
    weight = weight if columns is None else weight * columns
    return weight if rows is None else weight / rows[:, None]


def _folded(checkpoint: Checkpoint, divisors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The norms and biases that are divided, by Hugging Face's name, in the type that they are stored in."""
    architecture, _ = declared(checkpoint)
    out = {}
    for name, tensor in checkpoint.tensors.items():
        gguf = gguf_name(architecture, name) or ""
        divisor = divisors.get(gguf.removesuffix("bias") + "weight" if gguf.endswith(".bias") else gguf)
        if divisor is not None and len(tensor.shape) == 1:
            out[name] = (tensor.rows()[0] / divisor).astype(stored_dtype(tensor))
    return out


def _row_orders(checkpoint: Checkpoint) -> Callable[[str, int], np.ndarray]:
    architecture, config = declared(checkpoint)
    return lambda name, rows: row_order(architecture, config, name, rows)
