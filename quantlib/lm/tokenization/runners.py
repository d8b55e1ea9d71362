"""Who runs a tokenizer: the library in this process for our own, or in a process that may die for those of files."""

from __future__ import annotations

import array
import hashlib
import os
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from quantlib.errors import CheckpointError
from quantlib.lm.tokenization.worker import ANSWER, REQUEST

PROCESSES = 8  # that run at a time; the one that waited longest makes room for another
INHERITED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")  # of the environment; no secrets
IDLE = 60.0  # seconds without work after which a process ends itself
TRIES = 5  # to reach a process that did not just end because it had nothing to do
WAIT = 60.0  # seconds that a request waits for its turn
# Limits of one request, generous for what published tokenizers need on a busy machine. Measured: 15 bytes of memory for
# a byte of a BPE's file, 60 for one of a Unigram's, 270 for a byte of text; 0.1 s to read 1 MB, 0.9 s to encode 1 MB.
MEMORY, MEMORY_OF_FILE, MOST_FOR_FILE, MEMORY_OF_TEXT = 2**29, 96, 2**32, 1024  # bytes
SECONDS, SECONDS_OF_FILE, SECONDS_OF_TEXT = 10.0, 1e-6, 20e-6  # of processor time; a byte's of the two
PER_TOKEN = 64  # bytes of text that a token to decode counts as


class Runner(Protocol):
    """Text to tokens and back; raises CheckpointError where the tokenizer fails at it."""

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...


class Here:
    """A tokenizer of our own, run in this process. Raises CheckpointError where the file cannot be read."""

    def __init__(self, path: Path):
        import tokenizers

        self.name = str(path)
        with _panics_told(f"{path} cannot be read as a tokenizer: "):
            self.inner = tokenizers.Tokenizer.from_file(str(path))

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without the tokens that are put around it."""
        with _panics_told(f"The tokenizer of {self.name} fails at this text: "):
            return self.inner.encode_batch_fast([text], add_special_tokens=False)[0].ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens, without the special ones."""
        with _panics_told(f"The tokenizer of {self.name} fails at these tokens: "):
            return self.inner.decode(list(ids), skip_special_tokens=True)


@contextmanager
def _panics_told(what: str) -> Iterator[None]:
    """The library's errors, and its panics, which are no Exceptions, as a CheckpointError that begins like this."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise CheckpointError(f"{what}{_sentence(str(error))}") from None
        raise


def _sentence(text: str) -> str:
    """The library's words, short and on one line, with one full stop at the end."""
    line = "".join(char if char.isprintable() else " " for char in text[:200])
    return f"{' '.join(line.split()).rstrip('.')}."


@dataclass(frozen=True)
class Isolated:
    """A tokenizer of a file, run in a process of its own; `spec` is its bounded tokenizer.json, `name` the file's.

    Files come from anywhere, on one's own machine too, and the library ends the process that it runs in where it gets
    no memory: it is the process that is lost, not the run. The process starts with the first request, is shared by
    all who have the same tokenizer open, and is started again when it has ended. What is kept here is a value: it can
    be sent to other processes.
    """

    spec: bytes = field(repr=False)
    name: str

    @cached_property
    def digest(self) -> bytes:
        """What tells tokenizers apart."""
        return hashlib.blake2b(self.spec, digest_size=16).digest()

    def load(self) -> Isolated:
        """Itself, once the library has read it. Raises CheckpointError where it cannot."""
        self._ask(b"L", b"", 0)
        return self

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without the tokens that are put around it."""
        content = text.encode("utf-8")
        return _numbers(self._ask(b"E", content, len(content))).tolist()

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens, without the special ones."""
        content = array.array("I", ids).tobytes()
        return self._ask(b"D", content, PER_TOKEN * len(ids)).decode("utf-8")

    def _ask(self, kind: bytes, content: bytes, size: int) -> bytes:
        """The process's answer to one request, whose text has, or will have, about `size` bytes."""
        memory = MEMORY + min(MEMORY_OF_FILE * len(self.spec), MOST_FOR_FILE)
        for _ in range(TRIES):
            with suppress(_Retired), _process_of(self) as process:
                if not process.loaded:
                    process.ask(b"L", self.spec, SECONDS + SECONDS_OF_FILE * len(self.spec), memory, self.name)
                    process.loaded = True
                if kind == b"L":
                    return b""
                limits = SECONDS + SECONDS_OF_TEXT * size, memory + MEMORY_OF_TEXT * size
                return process.ask(kind, content, *limits, self.name)
        raise _busy()


def _numbers(data: bytes) -> array.array:
    out = array.array("I")
    out.frombytes(data)
    return out


@cache
def _command() -> tuple[str, ...]:
    """How the process is started: isolated, without site packages but for the library's folder."""
    found = find_spec("tokenizers")  # where it is; this process does not load it
    if found is None or found.origin is None:
        raise CheckpointError("The package tokenizers is not installed, without which no text can be cut into tokens.")
    library, script = Path(found.origin).parents[1], Path(__file__).with_name("worker.py")
    return sys.executable, "-I", "-S", str(script), str(library), str(IDLE)


class _Retired(Exception):
    """A process that ended because there was nothing to do, just when it was asked: another is to be started."""


class _Process:
    """One process with one tokenizer; who holds the lock may ask."""

    def __init__(self):
        environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
        environment |= {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}
        try:
            self._popen = subprocess.Popen(
                _command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        except OSError as error:
            reason = _sentence(str(error))
            raise CheckpointError(f"The process that runs the model's tokenizer cannot be started: {reason}") from None
        self.lock, self.loaded, self.waiting = threading.Lock(), False, 0

    @property
    def alive(self) -> bool:
        return self._popen.poll() is None

    def ask(self, kind: bytes, content: bytes, seconds: float, memory: int, name: str) -> bytes:
        """The answer. Raises CheckpointError where the library refuses, or the process ends."""
        try:
            self._popen.stdin.write(REQUEST.pack(kind, seconds, memory, len(content)))
            self._popen.stdin.write(content)
            self._popen.stdin.flush()
            sign, size = ANSWER.unpack(self._read(ANSWER.size))
            said = self._read(size)
        except (OSError, EOFError):
            if self.end() == 0:
                raise _Retired from None
            raise CheckpointError(
                f"The tokenizer of {name} was stopped: it took more than {seconds:,.0f} s of processor time or "
                f"{memory / 1e9:,.1f} GB of memory, or its library broke down over it."
            ) from None
        except BaseException:  # whoever waits for the answer was interrupted; it would be taken for the next one's
            self.end()
            raise
        if sign == b"+":
            return said
        what = "cannot be read" if kind == b"L" else "fails at this text" if kind == b"E" else "fails at these tokens"
        raise CheckpointError(f"The tokenizer of {name} {what}: {_sentence(said.decode('utf-8', 'replace'))}")

    def _read(self, size: int) -> bytes:
        data = self._popen.stdout.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def end(self) -> int:
        """Ends it; what it ended with."""
        with suppress(OSError):  # what was not yet sent
            self._popen.stdin.close()
        self._popen.stdout.close()
        with suppress(subprocess.TimeoutExpired):
            return self._popen.wait(0.2)  # it ends by itself where it was idle, or has ended
        self._popen.kill()
        return self._popen.wait()


_running: OrderedDict[tuple[int, bytes], _Process] = OrderedDict()
_change = threading.Condition()


@contextmanager
def _process_of(tokenizer: Isolated) -> Iterator[_Process]:
    """The process that has this tokenizer, for one request at a time; started where there is none."""
    key = os.getpid(), tokenizer.digest  # after a fork, the pipes of the process before are not for us
    process = _taken(key)
    try:
        if not process.lock.acquire(timeout=WAIT):
            raise _busy()
        try:
            yield process
        finally:
            process.lock.release()
    finally:
        with _change:
            process.waiting -= 1
            _change.notify_all()


def _taken(key: tuple[int, bytes]) -> _Process:
    """The process under this key, counted as waited for, so that it is not ended to make room."""
    with _change:
        if not _change.wait_for(lambda: _room(key), WAIT):
            raise _busy()
        process = _running.get(key)
        if process is None:
            process = _running[key] = _Process()
        _running.move_to_end(key)
        process.waiting += 1
        return process


def _room(key: tuple[int, bytes]) -> bool:
    """Whether there is a process under this key, or room for one, which is made where that can be."""
    for other, process in list(_running.items()):
        if not process.alive and not process.waiting:
            del _running[other]
            process.end()
    if key in _running:
        return _running[key].alive
    if len(_running) >= PROCESSES:
        unused = next((other for other, process in _running.items() if not process.waiting), None)
        if unused is None:
            return False
        _running.pop(unused).end()
    return True


def _busy() -> CheckpointError:
    return CheckpointError(f"All {PROCESSES} processes that run tokenizers are busy; try again in a minute.")
