"""Measurements kept on disk by the content and the code that made them, so that nothing is measured twice."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from quantlib.checkpoints import Checkpoint, ImportanceMatrix

PACKAGE = Path(__file__).parents[1]
SHOWING = frozenset({"cli", "figures"})  # packages that show what was measured, and change none of it
CHUNK = 1 << 24  # weights hashed at once


def folder() -> Path:
    """Where measurements are kept: QUANTLIB_CACHE, or the user's cache folder."""
    named = os.environ.get("QUANTLIB_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    return Path(named) if named else base / "quantlib" / "measurements"


def digest_of_model(checkpoint: Checkpoint) -> str:
    """A hash of every tensor's name, shape, format and bytes: 32 hexadecimal digits."""
    state = hashlib.blake2b(digest_size=16)
    for tensor in checkpoint:
        state.update(repr((tensor.name, tuple(tensor.shape), tensor.format)).encode())
        step = max(1, CHUNK // max(1, tensor.n))
        for start in range(0, tensor.nrows, step):
            state.update(np.ascontiguousarray(tensor.raw(start, min(start + step, tensor.nrows))))
        checkpoint.forget()
    return state.hexdigest()


def digest_of_matrix(matrix: ImportanceMatrix) -> str:
    """A hash of an importance matrix's values."""
    state = hashlib.blake2b(digest_size=16)
    for name, values in sorted(matrix.entries.items()):
        state.update(name.encode() + b"\0")
        state.update(np.ascontiguousarray(values))
    return state.hexdigest()


@functools.cache
def digest_of_code(package: Path = PACKAGE) -> str:
    """A hash of the source that measures, so that nothing is kept longer than the code that found it."""
    state = hashlib.blake2b(digest_size=16)
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package)
        if name.parts[0] not in SHOWING:
            state.update(name.as_posix().encode() + b"\0" + hashlib.blake2b(path.read_bytes()).digest())
    return state.hexdigest()


def digest_of(*parts: object) -> str:
    """A hash of plain values and of the code: the key of what that code measures of them."""
    return hashlib.blake2b(json.dumps([digest_of_code(), *parts]).encode(), digest_size=16).hexdigest()


def kept(key: str, measure: Callable[[], dict]) -> dict:
    """What is kept under this key, or what `measure` finds, kept from then on where the folder can be written."""
    path = folder() / f"{key}.json"
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_text(encoding="utf-8"))
    found = measure()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(found, file)
        os.replace(partial, path)
    return found
