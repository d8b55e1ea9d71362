"""Where compiled kernels are kept: a folder for exactly these sources, in the first place that is ours to write.

numba compiles a kernel again when its own file changes, but not when a function it calls from another file does, so
the folder's name has a digest of all sources that kernels are made of. Cached code is executed: a folder that belongs
to somebody else, or that others can write to, is passed over wherever its name came from. Where no place is left the
folder is a temporary one of this process.
"""

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
import time
from functools import cache
from pathlib import Path

from quantlib.numba_runtime.settings import PLAIN

PACKAGE = Path(__file__).parents[1]
SOURCES = [PACKAGE / "numba_runtime", *(PACKAGE / "formats" / name for name in ("tables", "blocks", "kernels"))]
PREFIX = "quantlib-kernels-"
STALE = 30 * 24 * 3600  # seconds after which the folder of other sources is deleted, unless it was used meanwhile


@cache
def cache_folder() -> Path:
    """The folder, made if need be. The first place of: NUMBA_CACHE_DIR, this package, the user's cache folder, /tmp."""
    name = PREFIX + _digest() + "-plain" * PLAIN
    for base in _places():
        folder = base / name
        if _is_ours(folder):
            _delete_stale(base, folder)
            return folder
    return Path(tempfile.mkdtemp(prefix=PREFIX))


def _digest() -> str:
    paths = sorted(path for folder in SOURCES for path in folder.glob("*.py"))
    return hashlib.blake2b(b"\0".join(path.read_bytes() for path in paths), digest_size=8).hexdigest()


def _places() -> list[Path]:
    if named := os.environ.get("NUMBA_CACHE_DIR"):
        return [Path(named), _in_temporary_folder()]
    home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    return [Path(__file__).parent / "__pycache__", home / "numba", _in_temporary_folder()]


def _in_temporary_folder() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"quantlib-numba-{user}"


def _is_ours(folder: Path) -> bool:
    """Whether this folder, made if it was not there, belongs to this user, who can write to it and nobody else can."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode):
            return False
        if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o022):
            return False
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _delete_stale(base: Path, used: Path) -> None:
    """Delete folders of other sources that were not used for a month: another version may run from the rest."""
    with contextlib.suppress(OSError):
        os.utime(used)
        for other in base.glob(PREFIX + "*"):
            if other != used and other.stat().st_mtime < time.time() - STALE:
                shutil.rmtree(other, ignore_errors=True)
