"""Which part of a model bears least to be quantized: one part at a time, everything else left as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial

import numpy as np

from quantlib import formats
from quantlib.checkpoints import Checkpoint, ImportanceMatrix
from quantlib.errors import CheckpointError
from quantlib.jobs.pool import shared_pool
from quantlib.lm.comparison import together
from quantlib.lm.keeping import digest_of, digest_of_matrix, digest_of_model, kept
from quantlib.lm.model import Model, load
from quantlib.lm.sweeping import CONTEXT, Bench, bench
from quantlib.lm.texts import digest_of_texts
from quantlib.recipes import layer_of, quantizable

PARTS = {  # how tensors are grouped: the name of a tensor's group
    "tensor": lambda name: name,
    "layer": lambda name: name if layer_of(name) is None else f"layer {layer_of(name)}",
    "kind": lambda name: name.split(".", 2)[2] if layer_of(name) is not None else name,
}
CHUNK = 1 << 18  # weights that a thread takes at once


@dataclass(frozen=True)
class PartLoss:
    """What the model lost when these tensors alone were quantized. KL divergence in nats, against the whole model.

    weights: how many were quantized. Per weight saved, kl / weights says where bits are spent best.
    """

    part: str
    tensors: tuple[str, ...]
    weights: int
    kl: float
    kl_stderr: float
    changed_top: float
    difference: float  # of the perplexity
    difference_stderr: float


@dataclass(frozen=True)
class Sensitivity:
    """Losses part by part, in the order of the model. model, text: hashes of what it was measured on."""

    source: str
    model: str
    text: str
    texts: tuple[str, ...]
    context: int
    format: str
    by: str
    calibration: str
    parts: tuple[PartLoss, ...] = field(repr=False)

    def document(self) -> dict:
        """All of it as plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping) -> Sensitivity:
        """Back from its plain values. Raises CheckpointError where they are not of that form."""
        try:
            parts = tuple(PartLoss(**{**p, "tensors": tuple(p["tensors"])}) for p in document["parts"])
            return cls(**{**document, "texts": tuple(document["texts"]), "parts": parts})
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"The stored sensitivity cannot be read: {error}.") from None


def sensitivity(
    checkpoint: Checkpoint,
    texts: Mapping[str, str],
    format: str = "Q4_K",
    by: str = "tensor",
    context: int = CONTEXT,
    imatrix: ImportanceMatrix | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> Sensitivity:
    """Quantize one part of a model at a time to a format, and measure what the whole model then loses.

    by: "tensor", "layer" or "kind" (all layers' attn_q, and so on). imatrix: helps to choose the codes.
    Tensors whose rows the format's blocks do not divide are left out. What has been measured before is not measured
    again. Raises FormatError for an unknown format, CheckpointError where the model cannot be run or a text is short.
    """
    form, group = formats.get(format), PARTS[by]
    model, text = digest_of_model(checkpoint), digest_of_texts(texts)
    whole = load(checkpoint)
    names = [n for n, w in whole.weights.items() if quantizable(n, w.shape) and w.shape[-1] % form.values == 0]
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(group(name), []).append(name)
    made: list[Bench] = []

    def measure(members: list[str]) -> dict:
        if not made:
            made.append(bench(checkpoint, texts, context))
        changed = {name: _read_back(whole, name, form, imatrix) for name in members}
        s = together(list(made[0].against(whole.replaced(changed)).values())).summary()
        kept_figures = ("kl", "kl_stderr", "changed_top", "difference", "difference_stderr")
        return {figure: getattr(s, figure) for figure in kept_figures}

    parts = []
    for i, (part, members) in enumerate(groups.items()):
        if progress:
            progress(i / len(groups), part)
        matrix = digest_of_matrix(imatrix) if imatrix else None
        found = kept(digest_of("part", model, text, context, form.name, members, matrix), partial(measure, members))
        weights = sum(whole.weights[name].size for name in members)
        parts.append(PartLoss(part, tuple(members), weights, **found))
    if progress:
        progress(1.0, "")
    source, calibration = checkpoint.source.name or str(checkpoint.source), imatrix.source if imatrix else ""
    return Sensitivity(source, model, text, tuple(texts), context, form.name, by, calibration, tuple(parts))


def _read_back(model: Model, name: str, form, imatrix: ImportanceMatrix | None) -> np.ndarray:
    """A matrix quantized and read back, chunks of rows side by side."""
    x = model.weight(name)
    rows = x.reshape(-1, x.shape[-1])  # (rows, n)
    found = imatrix.of(name, x.shape) if imatrix else None
    step = max(1, CHUNK // rows.shape[1])

    def chunk(start: int) -> np.ndarray:
        return form.dequantize(form.quantize(rows[start : start + step], None if found is None else found[0]))

    return np.concatenate(list(shared_pool().map(chunk, range(0, len(rows), step)))).reshape(x.shape)
