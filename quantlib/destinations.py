"""Where files may be written: one door for everything that quantlib makes, and the files beside it while it is made.

A destination is refused where writing there would harm something: a file that the run reads (by whatever path or link),
a device or a pipe, a file of another kind. What is there is replaced in one step, once the new file is complete.
"""

import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from quantlib.errors import JobError

HEAD = 1 << 16  # bytes of an existing file that tell its kind
LONGEST = 255  # bytes of a file's name, on every common file system
RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?", re.IGNORECASE)
FORBIDDEN = '<>:"|?*\\'
NO_FOLLOWING = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True)
class Kind:
    """A kind of file that we write: in words, and the expression that the first bytes of every such file match."""

    words: str
    start: re.Pattern[bytes]

    def holds(self, path: Path) -> bool:
        """Whether a file is of this kind, or has nothing in it."""
        with path.open("rb") as file:
            head = file.read(HEAD)
        return not head or self.start.match(head) is not None


IMATRIX = Kind("an importance matrix in a GGUF file", re.compile(rb"GGUF.*\bimatrix\.chunk_count", re.DOTALL))
GGUF = Kind("a GGUF file of a model", re.compile(rb"GGUF(?!.*\bimatrix\.chunk_count)", re.DOTALL))
MADE_BY = "quantlib"  # what our own JSON and HTML files say of themselves, so that they are known again
TABLES = {
    ".json": Kind("a JSON file of quantlib's", re.compile(rb'\{\s*"made_by": "' + MADE_BY.encode() + rb'"')),
    ".html": Kind("a report of quantlib's", re.compile(rb'.{0,400}<meta name="generator" content="quantlib">', re.S)),
    ".csv": Kind("a table of quantlib's", re.compile(rb"(name|recipe|part),[^\r\n]*\b(nbytes|kl|rmse)\b")),
    ".svg": Kind("a picture of quantlib's", re.compile(rb'<svg xmlns="[^"]*" viewBox="[^"]*" role="img" ')),
    ".md": Kind("a table of quantlib's", re.compile(rb"\|[^\r\n]*\bmethod\b")),
}


@dataclass(frozen=True)
class Destination:
    """A file that may be written. Made by `destination`."""

    path: Path

    @contextmanager
    def replacing(self) -> Iterator[BinaryIO]:
        """A new file that takes the destination's place at the end, or goes where something fails.

        Raises JobError where the disk does not take it.
        """
        partial = self.path.with_name(f".{secrets.token_hex(8)}.partial")
        try:
            with open(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | NO_FOLLOWING, 0o666), "w+b") as file:
                yield file
            os.replace(partial, self.path)
        except OSError as error:
            raise JobError(f"{self.path} cannot be written: {reason(error)}.") from None
        finally:
            with suppress(OSError):
                partial.unlink()

    def write_text(self, text: str) -> None:
        """Make it a UTF-8 text file."""
        with self.replacing() as file:
            file.write(text.encode("utf-8", "backslashreplace"))


def destination(
    path: str | Path, kind: Kind, reads: Iterable[Path] = (), folder: Path | None = None, overwrite: bool = False
) -> Destination:
    """A file to be written, where that harms nothing.

    kind: what it will be; a file of another kind stays, unless overwrite. reads: files that the run reads, which stay
    in any case. folder: of a model that the run reads; its files stay too, but those of the kind.
    Raises JobError for a name that some systems do not have, a missing folder, what is no regular file, and all that
    is to stay.
    """
    path = Path(path)
    check_name(path)
    found = _status(path)
    if found is None:
        return Destination(path)
    if stat.S_ISDIR(found.st_mode):
        raise JobError(f"{path} is a folder; name a file, such as {path / 'model.gguf'}.")
    if not stat.S_ISREG(found.st_mode):
        raise JobError(f"{path} is {_special(found.st_mode)}, and only files are written; choose another name.")
    if any(_same(found, other) for other in reads):
        raise JobError(f"{path} is a file that this run reads, and would be lost; choose another name.")
    try:
        own = kind.holds(path)
    except OSError as error:
        raise JobError(f"{path} is there already and cannot be read: {reason(error)}.") from None
    if not own and folder is not None and any(_same(found, other) for other in _files_of(folder)):
        raise JobError(f"{path} belongs to the model that this run reads, and would be lost; choose another name.")
    if not own and not overwrite:
        raise JobError(
            f"{path} is there already, and it is not {kind.words}; choose another name, or allow it with --overwrite."
        )
    return Destination(path)


def new_name(path: Path) -> None:
    """Raises JobError unless something new can be made there: nothing of that name, and a folder around it."""
    check_name(path)
    if os.path.lexists(path):
        raise JobError(f"{path} is there already; name a folder that is not, and it will be made.")


def check_name(path: Path) -> None:
    """Raises JobError for a name that Windows, macOS or Linux cannot have, and where the folder is missing."""
    name = path.name
    if name == "-":
        raise JobError("A result is read back and verified, which standard output does not allow; name a file.")
    if not name or name == "..":
        raise JobError(f"{path} is a folder; name a file, such as {path / 'model.gguf'}.")
    size = len(os.fsencode(name)) if "\0" not in name else 0
    wrong = next((c for c in name if c in FORBIDDEN or ord(c) < 32 or ord(c) == 127), None)
    if wrong is not None or RESERVED.fullmatch(name) or name[-1] in ". ":
        why = f"names with {wrong!r}" if wrong else "such names"
        raise JobError(f"{name!r} cannot be a file's name on every system: Windows has no {why}; choose another.")
    if size > LONGEST:
        raise JobError(f"The name of the file to write has {size} bytes, and file systems take {LONGEST}; shorten it.")
    try:
        is_folder = path.parent.is_dir()
    except (OSError, ValueError) as error:
        raise JobError(f"The folder of {name} cannot be looked into: {reason(error)}.") from None
    if not is_folder:
        raise JobError(f"The folder {path.parent} does not exist; create it or choose another.")


def check_distinct(paths: Iterable[Path]) -> None:
    """Raises JobError where two outputs would be one file, here or on a system that ignores case."""
    seen: dict[tuple[str, str], Path] = {}
    for path in paths:
        key = os.path.realpath(path.parent), path.name.casefold()
        if key in seen:
            raise JobError(f"{seen[key]} and {path} would be one file, on some systems at least; choose two names.")
        seen[key] = path


def portable(name: str, longest: int = 120) -> str:
    """A name like this one that a file can have everywhere, of at most so many bytes."""
    name = "".join("_" if c in FORBIDDEN + "/" or not c.isprintable() else c for c in name)
    name = name.encode("utf-8", "ignore")[:longest].decode("utf-8", "ignore").rstrip(". ")
    name = name if name.strip("-") else "model"
    return f"_{name}" if RESERVED.fullmatch(name) else name


def open_own(path: Path, mode: int = 0o666) -> int:
    """A descriptor of a working file of ours beside an output, for reading and writing; it is made where it is missing.

    No link is followed. Raises JobError where something lies there that this user's run did not make.
    """
    flags = os.O_RDWR | NO_FOLLOWING | getattr(os, "O_NONBLOCK", 0)
    for _ in range(100):  # another run may remove it, or make it, between two of the steps
        with suppress(FileExistsError):
            return os.open(path, flags | os.O_CREAT | os.O_EXCL, mode)
        try:
            linked = stat.S_ISLNK(os.lstat(path).st_mode)
            descriptor = -1 if linked else os.open(path, flags)
        except FileNotFoundError:
            continue
        if descriptor >= 0:
            if _own(os.fstat(descriptor)):
                return descriptor
            os.close(descriptor)
        raise JobError(
            f"{path} is in the way: it is {'a link' if linked else 'no file of an earlier run'}; "
            "remove it, or choose another name."
        )
    raise JobError(f"{path} comes and goes; choose another name.")


def _own(found: os.stat_result) -> bool:
    """Whether an open file is a regular one of this user's, under one name or, removed meanwhile, under none."""
    mine = not hasattr(os, "geteuid") or found.st_uid == os.geteuid()
    return stat.S_ISREG(found.st_mode) and found.st_nlink <= 1 and mine


def reason(error: Exception) -> str:
    """Why the system refused, in its words."""
    return (getattr(error, "strerror", None) or str(error) or "unknown reason").lower()


def _status(path: Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise JobError(f"{path} cannot be written: {reason(error)}.") from None


def _same(found: os.stat_result, other: Path) -> bool:
    with suppress(OSError, ValueError):
        return os.path.samestat(found, os.stat(other))
    return False


def _files_of(folder: Path) -> Iterator[Path]:
    """The files in a model's folder and in the folders in it."""
    with suppress(OSError):
        for entry in os.scandir(folder):
            yield Path(entry)
            with suppress(OSError):
                if entry.is_dir():
                    yield from map(Path, os.scandir(entry))


def _special(mode: int) -> str:
    kinds = {stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket"}
    return next((words for holds, words in kinds.items() if holds(mode)), "a device")
