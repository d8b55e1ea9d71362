"""Exporting a checkpoint: every matrix of its layers quantized by a scheme, the rest as it is, in a new folder."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quantlib.checkpoints import Checkpoint
from quantlib.errors import Cancelled, MethodError
from quantlib.exports.choices import Between
from quantlib.exports.folder import SHARD_BYTES, ShardWriter, new_folder, write_beside
from quantlib.exports.folding import Folding
from quantlib.exports.linears import Linear, kept_of, linears_of, stored
from quantlib.exports.schemes import K, Kind, Scheme, adjusted
from quantlib.exports.stored import Stored
from quantlib.metrics import Loss, compare


@dataclass(frozen=True, eq=False)
class Packed:
    """What is held of a matrix until it is written: its tensors, by what follows the module's name in the file, and
    their loss.
    """

    tensors: Mapping[str, np.ndarray]
    loss: Loss

    @classmethod
    def of(cls, weight: np.ndarray, stored: Stored) -> "Packed":
        """weight: what the stored one approximates, float32 (outputs, inputs)."""
        return cls(stored.tensors, compare(weight, stored.decoded))

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.tensors.values())


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a calibrated method leaves for writing, by the tensors' names: the matrices, and norms, biases and matrices
    that are not quantized, where they changed with them. folding: the scales that moved.
    """

    matrices: Mapping[str, Packed]
    replaced: Mapping[str, np.ndarray]
    folding: Folding


@dataclass(frozen=True)
class Layer:
    """What became of one matrix. bpw: bits per weight, everything counted. loss: of the stored weights."""

    module: str
    shape: tuple[int, ...]
    nbytes: int
    loss: Loss

    @property
    def bpw(self) -> float:
        return 8 * self.nbytes / self.loss.count


@dataclass(frozen=True)
class Exported:
    """A finished folder. nbytes: of all tensors."""

    path: Path
    scheme: str
    nbytes: int
    seconds: float
    layers: tuple[Layer, ...]

    @property
    def bpw(self) -> float:
        """Bits per weight of the matrices that were quantized."""
        return 8 * sum(layer.nbytes for layer in self.layers) / sum(layer.loss.count for layer in self.layers)


def export(
    checkpoint: Checkpoint,
    out: str | Path,
    scheme: Kind,
    prepared: Prepared | None = None,
    progress: Callable[[float, str], None] | None = None,
    cancel: Callable[[], bool] | None = None,
    shard_bytes: int = SHARD_BYTES,
    ignore: Sequence[str] = (),
) -> Exported:
    """Write a folder that the scheme's loaders open; it appears under its name when it is complete.

    prepared: by `calibrated.prepare`, for a calibrated scheme; the others store each weight by itself.
    progress(share done, tensor) is called before each tensor. Holds one matrix and one shard in memory. ignore: regular
    expressions; a matrix in whose module's name one of them is found stays as it is. `prepare` is given the same.
    Raises CheckpointError for a source that cannot be exported, MethodError where a layer does not fit the scheme,
    JobError where the folder cannot be written, Cancelled.
    """
    out, started = Path(out), time.monotonic()
    every = linears_of(checkpoint)
    linears = kept_of(every, ignore)
    if why := misfit(linears, scheme):
        raise MethodError(why)
    layers, done = [], 0
    with new_folder(out) as folder:
        writer = ShardWriter(folder, shard_bytes)
        for name, tensor in checkpoint.tensors.items():
            if cancel and cancel():
                raise Cancelled("The export was cancelled; nothing was written.")
            if progress:
                progress(done / checkpoint.size, name)
            if name in linears:
                module = linears[name].module
                packed = prepared.matrices[name] if prepared else _packed(linears[name], scheme)
                writer.add({f"{module}.{suffix}": array for suffix, array in packed.tensors.items()})
                layers.append(Layer(module, tensor.shape, packed.nbytes, packed.loss))
            else:
                changed = prepared.replaced.get(name) if prepared else None
                writer.add({name: stored(tensor) if changed is None else changed})
            done += tensor.size
            checkpoint.forget()
        writer.finish()
        source = Path(checkpoint.source)
        settings = scheme.config(next(iter(linears.values())).dtype)
        left = [linear.module for name, linear in every.items() if name not in linears]
        if left:
            settings = scheme.leaving(settings, [linear.module for linear in linears.values()], left)
        config = dict(checkpoint.metadata["config"]) | {"quantization_config": dict(settings)}
        write_beside(source if source.is_dir() else source.parent, folder, config)
    return Exported(out, scheme.label, writer.nbytes, time.monotonic() - started, tuple(layers))


@dataclass(frozen=True)
class Outlook:
    """What an export would do, by a look at the headers. matrices: (module, shape) of what is quantized; others: how
    many tensors stay as they are, in so many bytes. bpw: of the matrices, None where it depends on a text.
    """

    matrices: tuple[tuple[str, tuple[int, ...]], ...]
    others: int
    others_nbytes: int
    bpw: float | None


SAMPLED = 64  # rows of a matrix that are stored to learn what a scheme takes


def outlook(checkpoint: Checkpoint, scheme: Kind, ignore: Sequence[str] = ()) -> Outlook:
    """What `export` would write, without writing it. Raises as `export` does for what does not fit."""
    linears = kept_of(linears_of(checkpoint), ignore)
    if why := misfit(linears, scheme):
        raise MethodError(why)
    others = [tensor for name, tensor in checkpoint.tensors.items() if name not in linears]
    bpw = None
    if isinstance(scheme, Scheme):
        first = next(iter(linears.values()))
        rows = min(SAMPLED, first.tensor.nrows)
        stored_rows = scheme.store(first.tensor.rows(0, rows), first.dtype)
        bpw = 8 * sum(array.nbytes for array in stored_rows.tensors.values()) / (rows * first.tensor.n)
    return Outlook(
        tuple((linear.module, linear.tensor.shape) for linear in linears.values()),
        len(others),
        sum(tensor.nbytes for tensor in others),
        bpw,
    )


def _packed(linear: Linear, scheme: Kind) -> Packed:
    if not isinstance(scheme, Scheme):
        raise MethodError(f"{scheme.name} chooses codes on a text: prepare it first.")
    weight = linear.weight()
    return Packed.of(weight, scheme.store(weight, linear.dtype))


def misfit(linears: Mapping[str, Linear], scheme: Kind) -> str:
    """Why a scheme does not fit these layers, in a sentence; nothing where it does. No weight is read for it."""
    why = _why(linears, scheme)
    if not why:
        return ""
    other = fitted(linears, scheme)
    if other is not scheme and other.choices is not None:
        return f"{why}; choose groups of {other.choices.group}, or another scheme."
    return f"{why}; choose another scheme."


def fitted(linears: Mapping[str, Linear], scheme: K) -> K:
    """The scheme, with the largest smaller group on offer that divides all rows where its own does not; the scheme as
    it is where none does.
    """
    own = scheme.choices.group if scheme.choices else None
    if own is None or not _why(linears, scheme):
        return scheme
    offered = scheme.offers.get("group", ())
    groups = [] if isinstance(offered, Between) else [g for g in offered if isinstance(g, int) and g < own]
    smaller = (adjusted(scheme, group=group) for group in sorted(groups, reverse=True))
    return next((one for one in smaller if not _why(linears, one)), scheme)


def _why(linears: Mapping[str, Linear], scheme: Kind) -> str:
    """Why a scheme does not fit, without what would."""
    for linear in linears.values():
        outputs, inputs = linear.tensor.nrows, linear.tensor.n
        if inputs % scheme.multiple:
            return (
                f"{scheme.name} scales groups of {scheme.multiple} weights, which do not divide the {inputs:,} inputs "
                f"of {linear.module}"
            )
        for what, count, whole in (("inputs", inputs, scheme.packed[0]), ("outputs", outputs, scheme.packed[1])):
            if count % whole:
                return (
                    f"{scheme.name} packs {whole} codes together, which do not divide the {count:,} {what} of "
                    f"{linear.module}"
                )
    return ""
