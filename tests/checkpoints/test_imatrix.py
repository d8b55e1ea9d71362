"""Importance matrices: the two forms of one file say the same, and what is wrong is told."""

import struct
from pathlib import Path

import numpy as np
import pytest

from quantlib.checkpoints import ImportanceSums, open_gguf, read_imatrix, write_imatrix
from quantlib.errors import CheckpointError, JobError

GOLDEN = Path(__file__).parents[1] / "golden" / "imatrix"


def dat(entries: dict[str, np.ndarray], calls: int = 4, tail: bytes = b"") -> bytes:
    parts = [struct.pack("<i", len(entries))]
    for name, values in entries.items():
        head = struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", calls, values.size)
        parts.append(head + values.astype("<f4").tobytes())
    return b"".join(parts) + tail


def test_both_forms_of_one_matrix_agree():
    """llama-imatrix wrote both; the older form rounds once more."""
    new, old = read_imatrix(GOLDEN / "llama_bpe.imatrix.gguf"), read_imatrix(GOLDEN / "llama_bpe.imatrix.dat")
    assert set(old.entries) - set(new.entries) == {"output.weight"}, "collected in the run for the older form only"
    assert (new.chunks, len(new.datasets)) == (old.chunks, 1)
    for name in new.entries:
        np.testing.assert_allclose(new.entries[name], old.entries[name], rtol=1e-6)


def test_a_file_is_written_as_llama_imatrix_writes_it(tmp_path):
    """The golden file, taken apart and written again: the same bytes."""
    golden = GOLDEN / "llama_bpe.imatrix.gguf"
    with open_gguf(golden) as file:
        names = [name.removesuffix(".in_sum2") for name in file.tensors if name.endswith(".in_sum2")]
        sums = ImportanceSums(
            {name: file.tensors[name + ".in_sum2"].rows() for name in names},
            {name: file.tensors[name + ".counts"].rows() for name in names},
            tuple(file.value("imatrix.datasets")),
            file.value("imatrix.chunk_count"),
            file.value("imatrix.chunk_size"),
        )
    write_imatrix(sums, tmp_path / "again.gguf")
    assert (tmp_path / "again.gguf").read_bytes() == golden.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["again.gguf"]
    read, held = read_imatrix(golden), sums.matrix(str(golden))
    assert (read.datasets, read.chunks) == (held.datasets, held.chunks)
    for name in read.entries:
        np.testing.assert_array_equal(held.entries[name], read.entries[name])


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(JobError, match="does not exist"):
        write_imatrix(ImportanceSums({}, {}, (), 0, 512), tmp_path / "none" / "m.gguf")


def test_the_older_form_divides_by_its_calls(tmp_path):
    (tmp_path / "m.dat").write_bytes(dat({"a.weight": np.array([4.0, 8.0])}, calls=4))
    matrix = read_imatrix(tmp_path / "m.dat")
    assert matrix.entries["a.weight"].tolist() == [[1.0, 2.0]]
    assert matrix.of("a.weight", (7, 2)).tolist() == [[1.0, 2.0]]
    assert matrix.of("b.weight", (7, 2)) is None


def test_of_another_model(tmp_path):
    (tmp_path / "m.dat").write_bytes(dat({"a.weight": np.ones(2)}))
    with pytest.raises(CheckpointError, match="another model"):
        read_imatrix(tmp_path / "m.dat").of("a.weight", (7, 3))


WHOLE = dat({"a.weight": np.array([1.0, 2.0]), "b.weight": np.array([3.0])}, tail=struct.pack("<ii", 3, 4) + b"text")


@pytest.mark.parametrize("cut", [n for n in range(len(WHOLE)) if n not in (len(WHOLE) - 8, len(WHOLE) - 12)])
def test_every_truncation_is_told(tmp_path, cut):
    (tmp_path / "m.dat").write_bytes(WHOLE[:cut])
    with pytest.raises(CheckpointError):
        read_imatrix(tmp_path / "m.dat")


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<i", 2**31 - 1),
        struct.pack("<ii", 1, -5),
        dat({"a": np.array([np.nan])}),
        dat({"a": np.array([-1.0])}),
        b"GGUF\x03\x00\x00\x00" + bytes(16),
    ],
)
def test_what_is_no_importance_matrix(tmp_path, data):
    (tmp_path / "m").write_bytes(data)
    with pytest.raises(CheckpointError):
        read_imatrix(tmp_path / "m")


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_imatrix(tmp_path / "none.gguf")
