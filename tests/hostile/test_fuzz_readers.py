"""Thousands of mutants of valid files: each opens or is refused in a sentence, and nothing else ever happens.

QUANTLIB_MUTANTS=70000 makes 300,000 of them, of eight kinds of file; -s shows what the slowest took, and the memory.
"""

import json
import os
import resource
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from array_files import Initializer, Npy, Torch, archive, chunk, onnx, program, saved, varint
from hostile_files import MEMORY, Gguf, Safetensors

from quantlib.checkpoints import open_checkpoint
from quantlib.errors import CheckpointError
from quantlib.formats import FORMATS

MUTANTS = int(os.environ.get("QUANTLIB_MUTANTS", 2000))
SECONDS = 1.0  # of processor time that one file may take
GROWTH = 200_000_000  # bytes by which all of them together may raise the memory that the process held at most
NUMBERS = (0, 1, 2**7, 2**15, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """One to three changes: bytes flipped, set, cut, repeated or swapped, numbers overwritten by extreme ones."""
    out = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, max(1, len(out))))
        match rng.integers(0, 7):
            case 0 if out:
                out[at] ^= 1 << int(rng.integers(0, 8))
            case 1 if out:
                out[at] = int(rng.integers(0, 256))
            case 2:
                del out[at:]
            case 3:
                del out[at : at + int(rng.integers(1, 16))]
            case 4:
                out[at:at] = out[at : at + int(rng.integers(1, 32))]
            case 5:
                width = int(rng.choice([4, 8]))
                number = NUMBERS[rng.integers(0, len(NUMBERS))] % 2 ** (8 * width)
                out[at : at + width] = number.to_bytes(width, "little")
            case 6:
                out[at:at] = bytes(rng.integers(0, 256, rng.integers(1, 12), dtype=np.uint8))
    return bytes(out)


def mutate_json(file: Safetensors, rng: np.random.Generator) -> bytes:
    """A change to the header's text that keeps its length field true, so that it reaches the JSON checks."""
    words = [b"[", b"]", b"{", b"}", b'"', b",", b":", b"-1", b"1e999", b"NaN", b"true", b"null", b'"F64"', b"\\u0000"]
    text = bytearray(json.dumps(file.entries).encode())
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, len(text)))
        text[at : at + int(rng.integers(0, 5))] = words[rng.integers(0, len(words))]
    return Safetensors(header=bytes(text), data=file.data).encode()


def use(path) -> bool:
    """Opens a file and reads all there is; False when it is refused."""
    try:
        with open_checkpoint(path) as checkpoint:
            for tensor in checkpoint:
                tensor.raw()
                if tensor.decodable:
                    with np.errstate(all="ignore"):
                        assert tensor.rows().shape == (tensor.nrows, tensor.n)
            for key in checkpoint.metadata:
                value = checkpoint.value(key)
                assert isinstance(value, str) or len(list(np.atleast_1d(value) if np.isscalar(value) else value)) >= 0
    except CheckpointError as error:
        assert str(error).isprintable()
        assert str(error).endswith(".")
        assert len(str(error)) < 400
        return False
    return True


def load_decoders() -> None:
    """A mutant may be of any format; what the first of them loads, or compiles, is not its fault."""
    for form in FORMATS.values():
        form.dequantize(np.zeros((1, form.row_bytes(form.values)), np.uint8))


NPZ = archive(
    {"a.npy": saved(np.arange(900.0)), "b.npy": saved(np.asfortranarray(np.ones((3, 5), ">f4")))}, zipfile.ZIP_DEFLATED
)
MODEL = onnx(Initializer("a"), Initializer("b", type=7, values=chunk(7, b"".join(map(varint, range(6))))))
METADATA = {"__metadata__": {"format": "pt", "ü": "é"}}
FILES = {
    "safetensors": ("x.safetensors", lambda rng: mutate(Safetensors().encode(), rng)),
    "safetensors header": (
        "x.safetensors",
        lambda rng: mutate_json(Safetensors(entries=METADATA | Safetensors().entries), rng),
    ),
    "gguf": ("x.gguf", lambda rng: mutate(Gguf().encode(), rng)),
    "torch": ("x.pt", lambda rng: mutate(Torch().encode(), rng)),
    "pickle in torch": ("x.pt", lambda rng: Torch(pickled=mutate(program(Torch().value), rng)).encode()),
    "npy": ("x.npy", lambda rng: mutate(Npy().encode(), rng)),
    "npz": ("x.npz", lambda rng: mutate(NPZ, rng)),
    "onnx": ("x.onnx", lambda rng: mutate(MODEL, rng)),
}


BEFORE_ALL = ("safetensors", "safetensors header", "gguf")  # kinds of which there are most files, and most mutants


def _most_memory() -> int:
    """The most memory that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("kind", FILES)
def test_mutants_open_or_are_refused(tmp_path, kind):
    name, mutant = FILES[kind]
    rng = np.random.default_rng(len(kind))
    path = tmp_path / name
    load_decoders()
    refused, slowest, before = 0, 0.0, _most_memory()
    count = MUTANTS if kind in BEFORE_ALL else MUTANTS // 4
    for i in range(count):
        data = mutant(rng)
        path.write_bytes(data)
        started = time.process_time()
        try:
            refused += not use(path)
        except Exception as error:
            raise AssertionError(f"mutant {i}: {data!r}") from error
        slowest = max(slowest, time.process_time() - started)
        assert slowest < SECONDS, f"mutant {i}: {data!r}"
    grown = _most_memory() - before
    assert grown < GROWTH
    print(f"\n{count:,} of {kind}, {refused:,} refused; {slowest:.3f} s the slowest, {grown / 1e6:.1f} MB more in all")
    assert refused > count // 4  # the mutations do reach the checks


@pytest.mark.parametrize("kind", FILES)
def test_mutants_allocate_next_to_nothing(tmp_path, kind):
    name, mutant = FILES[kind]
    rng = np.random.default_rng(100 + len(kind))
    path = tmp_path / name
    load_decoders()
    tracemalloc.start()
    try:
        for _ in range(min(MUTANTS, 200)):
            path.write_bytes(mutant(rng))
            tracemalloc.reset_peak()
            use(path)
            assert tracemalloc.get_traced_memory()[1] < MEMORY, path.read_bytes()
    finally:
        tracemalloc.stop()
