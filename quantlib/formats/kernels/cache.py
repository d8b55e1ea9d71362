"""Where numba keeps compiled kernels: a folder for exactly these sources, in the first place that can be written.

Numba compiles a kernel again when its own file changes, but not when a function it calls from another file does, so
the folder's name has a digest of all kernel sources and of the tables they take. And numba refuses to import cached
functions where it finds no place to write, as in a read-only installation without a home: then the folder is a private
temporary one.
"""

import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PREFIX = "quantlib-kernels-"


def prepare_cache() -> None:
    """Name the folder in NUMBA_CACHE_DIR, below the one that the user named there, if any."""
    folder = _base() / (PREFIX + _digest())
    if not folder.is_dir():
        for old in folder.parent.glob(PREFIX + "*"):
            shutil.rmtree(old, ignore_errors=True)
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    if "numba" in sys.modules:  # it has read the environment already
        sys.modules["numba"].config.CACHE_DIR = str(folder)


def _digest() -> str:
    paths = sorted([*HERE.glob("*.py"), *(HERE.parent / "blocks").glob("*.py")])  # kernels take tables from blocks
    sources = (path.read_bytes() for path in paths)
    return hashlib.blake2b(b"\0".join(sources), digest_size=8).hexdigest()


def _base() -> Path:
    named = os.environ.get("NUMBA_CACHE_DIR")
    if named:  # by the user, or by the process that started this one
        return Path(named).parent if Path(named).name.startswith(PREFIX) else Path(named)
    home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "numba"
    return next((folder for folder in (HERE / "__pycache__", home) if _writable(folder)), None) or _private_folder()


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _private_folder() -> Path:
    """A folder only this user can read and write: cached code is executed, so nobody else may have put it there."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    folder = Path(tempfile.gettempdir()) / f"quantlib-numba-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if folder.is_dir() and not folder.is_symlink() and status.st_uid == user and not status.st_mode & 0o077:
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="quantlib-numba-"))
