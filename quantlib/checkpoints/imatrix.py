"""Importance matrices as llama-imatrix writes them: the GGUF form, and the older one of its own (.dat)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quantlib.checkpoints.base import Checkpoint, MetadataValue, fault
from quantlib.checkpoints.gguf_file import open_gguf
from quantlib.checkpoints.gguf_writer import write_gguf
from quantlib.destinations import IMATRIX, Destination, destination, reason
from quantlib.errors import CheckpointError

MAX_BYTES = 2**31
SUMS, COUNTS = ".in_sum2", ".counts"


@dataclass(frozen=True)
class ImportanceMatrix:
    """Mean square of each input channel's activations, by the GGUF name of the tensor that they are multiplied with.

    entries: float32 (experts, n) each, experts 1 for a plain matrix. source: the file it was read from.
    """

    source: str
    entries: Mapping[str, np.ndarray]
    datasets: tuple[str, ...] = ()
    chunks: int = 0

    def of(self, name: str, shape: tuple[int, ...]) -> np.ndarray | None:
        """The importance of a tensor's columns (experts, n); None where there is none for it.

        Raises CheckpointError where it is of another length than the tensor's rows.
        """
        found = self.entries.get(name)
        if found is None:
            return None
        experts = shape[0] if len(shape) > 2 else 1
        if found.size != experts * shape[-1]:
            raise CheckpointError(
                f"The importance matrix {self.source} has {found.size:,} values for {name}, which has "
                f"{experts * shape[-1]:,} input channels; it was made for another model."
            )
        return found.reshape(experts, shape[-1])


@dataclass(frozen=True)
class ImportanceSums:
    """What llama-imatrix stores: sums of squares of each input channel's activations, and over how many tokens.

    sums: float32 (experts, n) by the tensor's GGUF name; counts: float32 (experts,). chunks: how many windows of
    chunk_size tokens the text gave.
    """

    sums: Mapping[str, np.ndarray]
    counts: Mapping[str, np.ndarray]
    datasets: tuple[str, ...]
    chunks: int
    chunk_size: int

    def matrix(self, source: str) -> ImportanceMatrix:
        """The mean squares; source: the name that the matrix goes by."""
        means = {name: _means(total, self.counts[name]) for name, total in self.sums.items()}
        return ImportanceMatrix(source, means, self.datasets, self.chunks)


def write_imatrix(sums: ImportanceSums, out: str | Path | Destination) -> None:
    """Write an importance matrix file in llama-imatrix's GGUF form, byte for byte as it does.

    The file is written beside its final name and renamed. Raises JobError where it cannot be written, or would replace
    a file that is no importance matrix.
    Source: IMatrixCollector::save_imatrix() in llama.cpp's tools/imatrix.
    """
    metadata = {
        "general.type": MetadataValue("string", "imatrix"),
        "imatrix.datasets": MetadataValue("array[string]", sums.datasets),
        "imatrix.chunk_count": MetadataValue("uint32", sums.chunks),
        "imatrix.chunk_size": MetadataValue("uint32", sums.chunk_size),
    }
    tensors = []
    for name in sorted(sums.sums):
        total, count = sums.sums[name], sums.counts[name].reshape(-1, 1)
        tensors += [((name + SUMS, total.shape, "FP32"), [total.astype("<f4")])]
        tensors += [((name + COUNTS, count.shape, "FP32"), [count.astype("<f4")])]
    place = out if isinstance(out, Destination) else destination(out, IMATRIX)
    with place.replacing() as file:
        write_gguf(file, metadata, tensors)


def read_imatrix(path: str | Path) -> ImportanceMatrix:
    """Read an importance matrix file in either form. Raises CheckpointError where it is not one."""
    path = Path(path)
    try:
        if path.exists() and not path.is_file():  # a pipe would block, or end after the first look
            raise fault(path, "is not a regular file, so it cannot be read as an importance matrix.")
        with open(path, "rb") as file:
            head = file.read(4)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"The importance matrix {path} cannot be read: {reason(error)}.") from None
    matrix = _read_gguf(path) if head == b"GGUF" else _read_dat(path)
    for name, values in matrix.entries.items():
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise fault(path, f"holds a value for {name} that is negative or not finite, which no mean square is.")
    return matrix


def _read_gguf(path: Path) -> ImportanceMatrix:
    with open_gguf(path) as file:
        if not {"imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size"} <= set(file.metadata):
            raise fault(path, "is a GGUF file but no importance matrix: it has none of the imatrix keys.")
        names = [name.removesuffix(SUMS) for name in file.tensors if name.endswith(SUMS)]
        entries = {name: _mean_squares(path, file, name) for name in sorted(names)}
        if not entries:
            raise fault(path, "is an importance matrix without entries.")
        datasets = file.value("imatrix.datasets")
        chunks = file.value("imatrix.chunk_count")
        return ImportanceMatrix(
            str(path),
            entries,
            tuple(str(d) for d in datasets) if not isinstance(datasets, str | int | float) else (),
            chunks if isinstance(chunks, int) else 0,
        )


def _mean_squares(path: Path, file: Checkpoint, name: str) -> np.ndarray:
    sums, counts = file.tensors[name + SUMS], file.tensors.get(name + COUNTS)
    if counts is None or sums.format != "FP32" or counts.format != "FP32":
        raise fault(path, f"lacks the counts of {name}, or keeps them in another format than FP32.")
    count, total = counts.rows(), sums.rows()
    if count.size == 0 or total.size % count.size:
        raise fault(path, f"has {total.size} sums and {count.size} counts for {name}, which do not fit.")
    return _means(total, count)


def _means(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Sums over counts, expert by expert; an expert that saw no token counts all its channels alike."""
    count = np.rint(count.reshape(-1, 1))  # (experts, 1)
    with np.errstate(all="ignore"):
        mean = total.reshape(count.size, -1) / count.astype(np.float32)
    return np.where(count > 0, mean, np.float32(1))


def _read_dat(path: Path) -> ImportanceMatrix:
    """int32 entries; each: int32 length, name, int32 calls, int32 values, float32[values]; then chunks and dataset."""
    if path.stat().st_size > MAX_BYTES:
        raise fault(path, "is too large for an importance matrix.")
    data = path.read_bytes()
    at = 0

    def take(count: int) -> bytes:
        nonlocal at
        if count < 0 or count > len(data) - at:
            raise fault(path, "is no importance matrix: it is neither GGUF nor a whole file of the older form.")
        at += count
        return data[at - count : at]

    def number() -> int:
        return struct.unpack("<i", take(4))[0]

    entries = {}
    count = number()
    if count < 1 or count > len(data) // 12:
        raise fault(path, "is no importance matrix: it is neither GGUF nor a whole file of the older form.")
    for _ in range(count):
        name = take(number()).decode("utf-8", errors="replace")
        calls, size = number(), number()
        values = np.frombuffer(take(4 * size), np.float32)
        entries[name] = (values / np.float32(calls) if calls > 0 else values).reshape(1, -1)
    chunks = 0
    datasets: tuple[str, ...] = ()
    if at < len(data):
        chunks = number()
        if at < len(data):
            datasets = (take(number()).decode("utf-8", errors="replace"),)
    return ImportanceMatrix(str(path), dict(sorted(entries.items())), datasets, chunks)
