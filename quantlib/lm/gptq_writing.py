"""A GGUF file whose blocks are chosen on a text: laid out as any other, then filled layer by layer.

What is outside the layers is quantized as the recipe says; then each layer's matrices are chosen on what the layers
before it really put out, and written at their place. A journal beside the file says which layers are there, so that a
killed run goes on after them.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

import numpy as np

from quantlib import formats
from quantlib.checkpoints import Checkpoint, Layout, MetadataValue, gguf_layout, gguf_size, open_checkpoint
from quantlib.destinations import GGUF, destination, reason
from quantlib.errors import JobError
from quantlib.jobs import Measured, Plan, PlannedTensor, measure, plan
from quantlib.jobs.journal import Journal, Written, fingerprint
from quantlib.jobs.pieces import Source, pieces, quantize_piece
from quantlib.jobs.pool import in_order, shared_pool
from quantlib.jobs.running import check_target
from quantlib.jobs.ways import TOKENS
from quantlib.lm.calibration import imatrix
from quantlib.lm.model import Model, load
from quantlib.lm.quantizing import calibration_notes, check_calibration, quantize_layers
from quantlib.lm.tokenizer import Tokenizer
from quantlib.lm.windows import Windows, cut, spread
from quantlib.methods.catalogue import Method, block, gptq_block
from quantlib.methods.mixed import takes
from quantlib.methods.shares import LEFT
from quantlib.metrics import Loss
from quantlib.recipes import Overrides
from quantlib.recipes.budget import PREFIX

Show = Callable[[float, str], None]


@dataclass(frozen=True)
class GptqFile:
    """A finished, verified file. filled: how many matrices were chosen on the text; tokens: of the text that were used;
    resumed: layers that an earlier, killed run had written; notes: sentences on the calibration.
    """

    path: Path
    nbytes: int
    bpw: float
    seconds: float
    filled: int
    tokens: int
    notes: tuple[str, ...]
    resumed: int = 0


def write_gptq(
    checkpoint: Checkpoint,
    out: str | Path,
    text: str,
    recipe: str = "Q4_K_M",
    pure: bool = False,
    overrides: Overrides | None = None,
    context: int = 512,
    dataset: str = "",
    progress: Show | None = None,
    reads: tuple[Path, ...] = (),
    overwrite: bool = False,
    tokens: int = TOKENS,
) -> GptqFile:
    """Quantize a model to a GGUF file by a recipe, the blocks of the layers' matrices chosen on a text.

    Matrices whose format cannot be chosen so get the format's own codes, by the importance of the same inputs; tensors
    outside the layers get what the recipe gives them. tokens: of the text that are used at most, in windows of
    `context` that are evenly spread over it. reads: files that must stay, such as the text's; overwrite: as of `run`.
    progress(fraction, words). The file is written beside its final name and renamed when it has been read back. A run
    that was killed or interrupted from the keyboard goes on after the last layer that it had written, as long as
    neither model, text nor plan have changed.
    Raises MethodError where the text is too short, and whatever `plan` and `run` raise; then nothing new is left under
    the final name.
    """
    out, started = Path(out), monotonic()
    show = progress or (lambda fraction, what: None)
    destination(out, GGUF, (*checkpoint.paths, *reads), checkpoint.folder, overwrite)
    model, tokenizer = load(checkpoint, decoded=False), Tokenizer.of(checkpoint)
    context = min(context, model.shape.context)
    windows = spread(cut(model, tokenizer.encode(text), context, tokenizer.bos), tokens)
    check_calibration(windows)
    planned = _planned(checkpoint, recipe, pure, overrides or Overrides(), model, windows, dataset, show)
    metadata = {**planned.metadata, **_said(windows, dataset)}
    nbytes = gguf_size(metadata, [(t.name, t.shape, t.target) for t in planned.tensors])
    planned = replace(planned, reads=(*planned.reads, *reads), metadata=metadata, nbytes=nbytes)
    check_target(planned, out, overwrite)
    journal, finished = None, False
    try:
        journal = Journal(out)
        filling = _Filling(planned, model, windows, journal, show, started)
        filled, notes = filling.fill()
        os.replace(journal.partial, out)
        finished = True
    except OSError as error:
        raise JobError(f"{out} cannot be written: {reason(error)}; nothing new is there.") from None
    except KeyboardInterrupt:
        finished = None
        raise
    finally:
        if journal is not None:
            journal.close() if finished is None else journal.remove()
    notes = (*calibration_notes(model, windows), *notes)
    seconds, count = monotonic() - started, windows.tokens.size
    return GptqFile(out, planned.nbytes, planned.bpw, seconds, filled, count, notes, filling.resumed)


def _planned(
    checkpoint: Checkpoint,
    recipe: str,
    pure: bool,
    overrides: Overrides,
    model: Model,
    windows: Windows,
    dataset: str,
    show: Show,
) -> Plan:
    """The recipe's plan as of a run with an importance matrix. Only a budget needs one, to measure with.

    A budget is spent by the errors that remain when blocks are chosen so.
    """
    if not str(recipe).lower().startswith(PREFIX):
        return plan(checkpoint, recipe, None, pure, overrides, important=True)
    show(0.0, "importance matrix")
    some = spread(windows, TOKENS // 4)
    matrix = imatrix(model, some.tokens.ravel(), some.context, some.bos, dataset=dataset).matrix(dataset)
    show(0.0, "what each format would cost")
    return plan(checkpoint, recipe, matrix, pure, overrides, measured=left_behind(measure(checkpoint, matrix)))


def left_behind(measured: Sequence[Measured]) -> tuple[Measured, ...]:
    """What formats cost once their blocks are chosen on a text: less, by what was measured for each format."""
    return tuple(
        replace(m, relative_error=m.relative_error * LEFT.get(m.format, 1.0) ** 0.5) if m.name.startswith("blk.") else m
        for m in measured
    )


def _said(windows: Windows, dataset: str) -> Mapping[str, MetadataValue]:
    """What the file says of how it was made."""
    digest = hashlib.sha256(np.ascontiguousarray(windows.tokens, np.int64)).hexdigest()
    return {
        "quantize.method": MetadataValue("string", "GPTQ in blocks, with descent on scales and codes (quantlib)"),
        "quantize.calibration.text": MetadataValue("string", dataset),
        "quantize.calibration.tokens": MetadataValue("uint32", windows.tokens.size),
        "quantize.calibration.context": MetadataValue("uint32", windows.context),
        "quantize.calibration.sha256": MetadataValue("string", digest),
    }


def method_of(tensor: PlannedTensor) -> Method | None:
    """How the blocks of a planned tensor are to be chosen: None where the plan's are to stay."""
    if not tensor.name.startswith("blk.") or len(tensor.shape) not in (2, 3) or tensor.copied:
        return None
    form = formats.get(tensor.target)
    if takes(form):
        return gptq_block(form.name)
    return block(form.name, form.uses_importance) if form.kind == "block" else None


class _Filling:
    """One run: the file's layout, what is in it already, and the walk through the layers."""

    def __init__(self, planned: Plan, model: Model, windows: Windows, journal: Journal, show: Show, started: float):
        self.planned, self.model, self.windows, self.journal = planned, model, windows, journal
        self.layout = gguf_layout(planned.metadata, [(t.name, t.shape, t.target) for t in planned.tensors])
        self.methods = {t.name: found for t in planned.tensors if (found := method_of(t)) is not None}
        self.by_name = {t.name: t for t in planned.tensors}
        self.at = {info.name: at + len(self.layout.header) for info, at in _places(self.layout)}
        self.show, self.started, self.resumed = show, started, 0
        self.notes: list[str] = []

    def fill(self) -> tuple[int, tuple[str, ...]]:
        """Write all that is missing; how many matrices were chosen on the text, and what to know of it."""
        mark = fingerprint(self.planned, self.layout)
        noted = self._intact(self.journal.read(mark))
        self.journal.start(mark, noted)
        self.resumed = max(0, len(noted) - 1)
        with self.journal.file as file:
            if not noted:
                self._begin(file)
            layers = quantize_layers(self.model, self.windows, self.methods, self._tell, self._restored)
            for layer in layers:
                self.notes += layer.notes
                names = [name for name in self._of(layer.index) if name in layer.chosen]
                crcs = [self._put(file, name, layer.chosen[name].result) for name in names]
                rest = [self._put_plainly(file, name) for name in self._of(layer.index) if name not in layer.chosen]
                self._flush(file)
                self._check({name: layer.chosen[name].decoded for name in names})
                self.journal.add(Written((*crcs, *rest), Loss()))
        if any(source.changed() for source in self.planned.checkpoint.files):
            raise JobError(f"{self.planned.checkpoint.source} was changed while it was read; run again.")
        return sum(method.rows is not None for method in self.methods.values()), tuple(self.notes)

    def _of(self, index: int) -> list[str]:
        """The tensors of a layer that the walk chooses."""
        return [name for name in self.methods if name.startswith(f"blk.{index}.")]

    def _begin(self, file) -> None:
        """The header, and the tensors that the walk leaves as the plan has them."""
        file.truncate(0)
        file.seek(0)
        file.write(self.layout.header)
        file.truncate(self.layout.nbytes)
        source = Source.of(self.planned)
        crcs = []
        for planned in self.planned.tensors:
            if planned.name not in self.methods:
                self.show(0.0, f"what is outside the layers: {planned.name}")
                calls = ((piece,) for piece in pieces(source, planned))
                parts = [part.data for part in in_order(shared_pool(), quantize_piece, calls)]
                crcs.append(self._put(file, planned.name, np.concatenate(parts)))
        self._flush(file)
        self.journal.add(Written(tuple(crcs), Loss()))

    def _put(self, file, name: str, data: np.ndarray) -> int:
        """Write a tensor's bytes at their place; their CRC."""
        file.seek(self.at[name])
        file.write(np.ascontiguousarray(data).data.cast("B"))
        return zlib.crc32(np.ascontiguousarray(data).data)

    def _put_plainly(self, file, name: str) -> int:
        """A matrix that no text ever reached, with the format's own codes."""
        planned = self.by_name[name]
        form = formats.get(planned.target)
        even = np.ones(planned.tensor.n, np.float32) if form.requires_importance else None
        self.notes.append(f"{name} reads nothing that a text shows: it has {form.name}'s own codes.")
        return self._put(file, name, form.quantize(planned.tensor.rows(), even))

    def _flush(self, file) -> None:
        file.flush()
        os.fsync(file.fileno())

    def _intact(self, noted: list[Written]) -> list[Written]:
        """The first of the noted parts whose bytes are all in the file."""
        outside = [t.name for t in self.planned.tensors if t.name not in self.methods]
        done: list[Written] = []
        file = self.journal.file
        for index, written in enumerate(noted):
            names = outside if index == 0 else self._of(index - 1)
            file.seek(0)
            same = file.read(len(self.layout.header)) == self.layout.header
            if not same or tuple(self._crc(file, name) for name in names) != tuple(written.crcs):
                break
            done.append(written)
        return done

    def _crc(self, file, name: str) -> int:
        file.seek(self.at[name])
        return zlib.crc32(file.read(self.by_name[name].nbytes))

    def _restored(self, index: int) -> dict[str, np.ndarray] | None:
        """The matrices of a layer that an earlier run has written."""
        if index >= self.resumed:
            return None
        with open_checkpoint(self.journal.partial) as written:
            tensors = {name: written.tensors[name] for name in self._of(index)}
            return {name: t.rows().reshape(self.by_name[name].shape) for name, t in tensors.items()}

    def _check(self, decoded: Mapping[str, np.ndarray]) -> None:
        with open_checkpoint(self.journal.partial) as written:
            for name, values in decoded.items():
                if not np.array_equal(written.tensors[name].rows().reshape(values.shape), values):
                    raise JobError(f"{name} reads back other weights than were written: the disk may be failing.")

    def _tell(self, fraction: float) -> None:
        """How far the walk is, and how long it still takes at the speed so far."""
        layers = self.model.shape.layers
        before, now = self.resumed / layers / 2, fraction  # what was resumed took half of its time or less
        left = (monotonic() - self.started) * (1 - now) / max(now - before, 1e-9)
        self.show(fraction, f"layer {min(layers, int(fraction * layers) + 1)} of {layers}, {_words(left)} left")


def _places(layout: Layout) -> Iterator[tuple]:
    return zip(layout.tensors, layout.offsets, strict=True)


def _words(seconds: float) -> str:
    if seconds < 100:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 6000 else f"about {seconds / 3600:.1f} h"
