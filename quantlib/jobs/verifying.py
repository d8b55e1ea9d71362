"""Verifying a written file: read it as anyone would, and compare it with the plan and with what was sent to disk."""

import zlib
from pathlib import Path

import numpy as np

from quantlib.checkpoints import open_checkpoint
from quantlib.errors import JobError

CHUNK_BYTES = 1 << 24


def verify(path: Path, plan, results) -> None:
    """Raise JobError unless the file has the planned size, tensors, shapes and formats, and each tensor's bytes."""
    if path.stat().st_size != plan.nbytes:
        raise JobError(f"The file came out as {path.stat().st_size:,} bytes instead of {plan.nbytes:,}; run again.")
    with open_checkpoint(path) as written:
        if list(written.tensors) != [t.name for t in plan.tensors]:
            raise JobError("The file lists other tensors than were planned; run again.")
        for planned, result in zip(plan.tensors, results, strict=True):
            tensor = written.tensors[planned.name]
            if (_stripped(tensor.shape), tensor.format) != (_stripped(planned.shape), planned.target):
                raise JobError(f"{planned.name} was written as {tensor.format} {tuple(tensor.shape)}; run again.")
            if _crc(tensor) != result.crc:
                raise JobError(f"{planned.name} reads back other bytes than were written: the disk may be failing.")
            written.forget()


def _stripped(shape) -> tuple[int, ...]:
    """GGUF stores no leading dimensions of one row."""
    shape = tuple(shape)
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return shape


def _crc(tensor) -> int:
    crc, step = 0, max(1, CHUNK_BYTES * tensor.nrows // max(1, tensor.nbytes))
    for start in range(0, tensor.nrows, step):
        crc = zlib.crc32(np.ascontiguousarray(tensor.raw(start, min(start + step, tensor.nrows))), crc)
    return crc
