"""A GGUF file whose blocks hold GPTQ's codes: planned and written as any other, then filled layer by layer."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import numpy as np

from quantlib import formats
from quantlib.checkpoints import Checkpoint, gguf_layout, open_checkpoint
from quantlib.destinations import GGUF, destination, reason
from quantlib.errors import JobError
from quantlib.jobs import Plan, plan, run
from quantlib.jobs.journal import beside
from quantlib.lm.calibration import imatrix
from quantlib.lm.model import load
from quantlib.lm.quantizing import calibration_notes, check_calibration, quantize_layers
from quantlib.lm.tokenizer import Tokenizer
from quantlib.lm.windows import cut
from quantlib.methods.catalogue import Method, block, gptq_block
from quantlib.methods.mixed import ZEROS, GptqBlocks
from quantlib.recipes import Overrides


@dataclass(frozen=True)
class GptqFile:
    """A finished, verified file. filled: how many matrices have GPTQ's codes; notes: sentences on the calibration."""

    path: Path
    nbytes: int
    bpw: float
    seconds: float
    filled: int
    notes: tuple[str, ...]


def write_gptq(
    checkpoint: Checkpoint,
    out: str | Path,
    text: str,
    recipe: str = "Q4_K_M",
    pure: bool = False,
    overrides: Overrides | None = None,
    context: int = 512,
    dataset: str = "",
    progress: Callable[[float, str], None] | None = None,
    reads: tuple[Path, ...] = (),
    overwrite: bool = False,
) -> GptqFile:
    """Quantize a model to a GGUF file by a recipe, the codes of the layers' matrices chosen by GPTQ on a text.

    Matrices whose format has no evenly spaced levels, and all tensors outside the layers, get the format's own codes,
    by the importance matrix of the same text. reads: files that must stay, such as the text's; overwrite: as of `run`.
    The file is written beside its final name and renamed when it has been
    read back. Raises MethodError where the text is too short, and whatever `plan` and `run` raise; then nothing new is
    left under the final name.
    """
    out, started, show = Path(out), monotonic(), progress or (lambda fraction, what: None)
    destination(out, GGUF, (*checkpoint.paths, *reads), checkpoint.folder, overwrite)
    model, tokenizer = load(checkpoint, decoded=False), Tokenizer.of(checkpoint)
    windows = cut(model, tokenizer.encode(text), context, tokenizer.bos)
    check_calibration(windows)
    show(0.0, "importance matrix")
    tokens = windows.tokens.ravel()
    matrix = imatrix(model, tokens, context, tokenizer.bos, dataset=dataset).matrix(dataset)
    planned = plan(checkpoint, recipe, matrix, pure, overrides or Overrides())
    methods = {t.name: found for t in planned.tensors if (found := _method(t)) is not None}
    partial, made = beside(out, "unfilled"), False
    try:
        run(planned, partial)
        made = True
        filled = _fill(partial, planned, quantize_layers(model, windows, methods, lambda f: show(f, "GPTQ")))
        os.replace(partial, out)
    except OSError as error:
        raise JobError(f"{out} cannot be written: {reason(error)}; nothing new is there.") from None
    finally:
        if made:
            partial.unlink(missing_ok=True)
    notes = calibration_notes(model, windows)
    return GptqFile(out, planned.nbytes, planned.bpw, monotonic() - started, filled, notes)


def _method(tensor) -> Method | None:
    """How the codes of a planned tensor are to be chosen: None where the plan's are to stay."""
    if not tensor.name.startswith("blk.") or len(tensor.shape) != 2 or tensor.copied:
        return None
    if tensor.target in ZEROS:
        return gptq_block(tensor.target)
    form = formats.get(tensor.target)
    return block(form.name, form.uses_importance) if form.kind == "block" else None


def _stored(result: GptqBlocks | np.ndarray) -> np.ndarray:
    """The rows of a block format as they are stored."""
    return result.data if isinstance(result, GptqBlocks) else result


def _fill(path: Path, planned: Plan, layers) -> int:
    """Write the chosen blocks over the planned ones, which are as long, and read them back; how many were filled."""
    layout = gguf_layout(planned.metadata, [(t.name, t.shape, t.target) for t in planned.tensors])
    at = {info.name: len(layout.header) + offset for info, offset in zip(layout.tensors, layout.offsets, strict=True)}
    filled = 0
    for layer in layers:
        with open(path, "r+b") as file:
            for name, chosen in layer.chosen.items():
                file.seek(at[name])
                file.write(_stored(chosen.result).tobytes())
            file.flush()
            os.fsync(file.fileno())
        with open_checkpoint(path) as written:
            for name, chosen in layer.chosen.items():
                if not np.array_equal(written.tensors[name].rows().reshape(chosen.decoded.shape), chosen.decoded):
                    raise JobError(f"{name} reads back other weights than were written: the disk may be failing.")
        filled += sum(isinstance(chosen.result, GptqBlocks) for chosen in layer.chosen.values())
    return filled
