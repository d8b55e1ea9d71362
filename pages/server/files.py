"""Files of the app: one private folder for this server, a sub-folder of our naming for each upload and each job.

The folder is locked while its server lives, so the next start knows which ones are debris of servers that were killed.
"""

import os
import re
import shutil
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from pages.server.limits import LIMITS, Limits
from quantlib import tables
from quantlib.errors import JobError

try:
    import fcntl
except ImportError:  # Windows keeps open files from being deleted by itself
    fcntl = None

ABANDONED_SECONDS = 24 * 3600  # where no lock can tell, and for folders that nobody owns


def base() -> Path:
    """The folder of all servers of this user: readable by nobody else."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    path = (LIMITS.folder or Path(tempfile.gettempdir())) / f"quantlib-app-{user}"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.is_symlink() or (hasattr(os, "getuid") and path.stat().st_uid != os.getuid()):
        raise RuntimeError(f"{path} belongs to somebody else")
    return path


def complaint() -> str | None:
    """A sentence for the operator, if nothing can be kept in the folder that the settings name."""
    try:
        folder = base()
        with tempfile.TemporaryFile(dir=folder):
            return None
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        where = LIMITS.folder or tempfile.gettempdir()
        return (
            f"Nothing can be kept under {where} ({why}): let QUANTLIB_FOLDER name a folder that the app may write to."
        )


def root() -> Path:
    """The private folder of this server process."""
    return _locked(base())


@cache
def _locked(parent: Path) -> Path:
    while True:
        path = Path(tempfile.mkdtemp(prefix="server-", dir=parent))
        with suppress(FileNotFoundError):  # another server that starts now takes a folder without a lock for debris
            if (_lock(path) or fcntl is None) and path.exists():
                return path


_LOCKS: list[int] = []  # held open for as long as the process lives


def _lock(path: Path) -> bool:
    """Try to take the lock of a server's folder; it is taken by whoever still lives."""
    if fcntl is None:
        return time.time() - path.stat().st_mtime > ABANDONED_SECONDS
    descriptor = os.open(path / ".lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return False
    _LOCKS.append(descriptor)
    return True


def clear_debris() -> None:
    """Remove what servers that no longer run have left: called when a server starts."""
    own = root()
    for path in base().iterdir():
        if path == own or not path.is_dir() or path.is_symlink():
            continue
        with suppress(FileNotFoundError):  # another server that starts now may clear it, too
            if _lock(path):
                shutil.rmtree(path, ignore_errors=True)
                if fcntl is not None:
                    os.close(_LOCKS.pop())


def clear_own() -> None:
    """Remove this server's folder: called when it stops in an orderly way."""
    shutil.rmtree(root(), ignore_errors=True)


def new_folder() -> Path:
    """A fresh folder of our own naming."""
    return Path(tempfile.mkdtemp(dir=root()))


def remove(folder: Path | None) -> None:
    """Remove a folder that new_folder made, with all that is in it."""
    if folder is not None and folder.parent == root():
        shutil.rmtree(folder, ignore_errors=True)


def told(error: Exception) -> str:
    """An error as visitors read it: files that lie here are named without the server's folders."""
    own = re.escape(str(base())) + r"/server-\w+"  # and in it folders, each as mkdtemp names it
    return re.sub(rf"{own}(/\w+)?", "this upload", re.sub(rf"{own}/\w+/(?=\S)", "", str(error)))


def used() -> int:
    """Bytes of all uploads and results."""
    return size_of(root())


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder, which may go while they are counted."""
    total = 0
    for here, _, names in os.walk(folder):  # which passes over folders that are gone; Path.rglob fails on them
        for name in names:
            with suppress(OSError):
                total += os.stat(os.path.join(here, name)).st_size
    return total


def check_room(needed: int, promised: int = 0, limits: Limits = LIMITS) -> None:
    """Raise JobError unless `needed` more bytes fit beside what lies here and what was promised to others."""
    free = min(shutil.disk_usage(root()).free - limits.spare_bytes, limits.disk_bytes - used()) - promised
    if needed > free:
        raise JobError(
            f"The server has no room for {tables.size(needed)} now ({tables.size(max(0, free))} are left); "
            "try a smaller file, or later."
        )
