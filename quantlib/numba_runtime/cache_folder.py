"""Where compiled kernels are kept: a folder for exactly these sources, in the first place that is ours to write.

numba compiles a kernel again when its own file changes, but not when a function it calls from another file does, so
the folder's name has a digest of all sources that kernels are made of and of numba's version: two versions that run at
once never write to each other's files. Cached code is executed: a folder that belongs to somebody else, that others can
write to, or whose parent somebody else could exchange it in, is passed over wherever its name came from. Where no place
is left (a read-only home, say) the folder is a temporary one of this process.
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
SOURCES = [
    *(f"numba_runtime/{name}.py" for name in ("linked_functions", "quick_loading", "vectors")),
    *(f"formats/{name}/*.py" for name in ("tables", "blocks", "kernels")),
]
PREFIX = "quantlib-kernels-"
PYCACHE = Path(__file__).parent / "__pycache__"
STALE = 30 * 24 * 3600  # seconds after which `delete_stale` takes the folder of other sources


@cache
def cache_folder(numba_version: str) -> Path:
    """The folder, made if need be. The first place of: NUMBA_CACHE_DIR, this package, the user's cache folder, /tmp."""
    name = folder_name(numba_version)
    for base in _places():
        if _is_ours(base / name):
            return base / name
    return Path(tempfile.mkdtemp(prefix=PREFIX))


def folder_name(numba_version: str) -> str:
    """What the folder of these sources is called."""
    paths = sorted(path for pattern in SOURCES for path in PACKAGE.glob(pattern))
    parts = [numba_version.encode(), *(path.read_bytes() for path in paths)]
    return PREFIX + hashlib.blake2b(b"\0".join(parts), digest_size=8).hexdigest() + "-plain" * PLAIN


def _places() -> list[Path]:
    if named := os.environ.get("NUMBA_CACHE_DIR"):
        return [Path(named), _in_temporary_folder()]
    home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    return [PYCACHE, home / "numba", _in_temporary_folder()]


def _in_temporary_folder() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"quantlib-numba-{user}"


def _is_ours(folder: Path) -> bool:
    """Whether this folder, made if it was not there, belongs to this user, who can write to it and nobody else can.

    Nor may anybody else rename it: the folder that it lies in is this user's or the system's, and others cannot write
    to it unless they can only remove what is their own (the sticky bit, as /tmp has it). The package's own folder is
    not asked: who can write there can change the sources as well.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode):
            return False
        if hasattr(os, "getuid"):
            around = folder.parent.stat()
            if status.st_uid != os.getuid() or status.st_mode & 0o022:
                return False
            if folder.parent != PYCACHE and not _keeps_others_out(around):
                return False
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _keeps_others_out(status: os.stat_result) -> bool:
    shared = status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX
    return status.st_uid in (0, os.getuid()) and not shared


def delete_stale(used: Path) -> None:
    """Delete the folders of other sources, beside the one in use, that nobody compiled into or warmed up for a month.

    Another version may be running from a younger one. Should it be running from one that goes, it compiles again.
    """
    with contextlib.suppress(OSError):
        os.utime(used)
        for other in used.parent.glob(PREFIX + "*"):
            if other != used and other.lstat().st_mtime < time.time() - STALE:
                shutil.rmtree(other, ignore_errors=True)
