"""What this server allows: every limit and setting of the app, in this one place.

Each field is read from the environment variable beside it when the server starts. Sizes are written as 500MB, 16GB or
a plain number of bytes. SERVING.md shows the table.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from pages.server import memory

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
SITE = re.compile(r"https?://[A-Za-z0-9.*-]+(:\d{1,5})?")


def setting(variable: str, default, says: str):
    """A field with its variable and what it means, which `table` shows."""
    return field(default=default, metadata={"variable": variable, "says": says})


@dataclass(frozen=True)
class Limits:
    """The limits of one server. Raises ValueError, naming the variable, where the environment holds no such value."""

    folder: Path | None = setting("QUANTLIB_FOLDER", None, "where uploads and results live; default: the system's own")
    directories: tuple[Path, ...] = setting(
        "QUANTLIB_DIRECTORIES", (), "directories whose checkpoints anyone may open, separated as in PATH"
    )
    hub: bool = setting("QUANTLIB_HUB", True, "whether names of the hub may be opened (on, off)")
    hub_token: bool = setting("QUANTLIB_HUB_TOKEN", False, "whether visitors open what your own token of the hub opens")
    visits: int = setting(
        "QUANTLIB_VISITS", 250, "browser pages that are connected at once; one address gets at most half of them"
    )
    upload_bytes: int = setting("QUANTLIB_UPLOAD", 20 * 10**9, "largest upload: all files of one checkpoint together")
    uploads_per_session: int = setting("QUANTLIB_UPLOADS_PER_SESSION", 4, "checkpoints that one session may hold")
    disk_bytes: int = setting("QUANTLIB_DISK", 100 * 10**9, "all uploads and results together")
    spare_bytes: int = setting("QUANTLIB_SPARE_DISK", 10**9, "left free on that disk whatever people do")
    rehearse: bool = setting(
        "QUANTLIB_REHEARSE", False, "whether the server tries every choice of every page at its start"
    )
    frames: tuple[str, ...] = setting(
        "QUANTLIB_FRAMES", (), "sites that may show the app in a frame, such as https://huggingface.co"
    )
    run_bytes: int = setting(
        "QUANTLIB_MODEL_MEMORY",
        min(10**9, memory.found() // 4),
        "largest model, as 32-bit floats, that is run on a page; at most a quarter of the memory that is found",
    )
    jobs_at_once: int = setting("QUANTLIB_JOBS", 1, "jobs that run at once; the others wait in line")
    jobs_waiting: int = setting("QUANTLIB_JOBS_WAITING", 40, "jobs that wait in line, of everyone together")
    jobs_per_session: int = setting("QUANTLIB_JOBS_PER_SESSION", 2, "unfinished jobs of one session")
    threads: int = setting("QUANTLIB_THREADS", max(1, (os.cpu_count() or 2) - 1), "cores that a job may use")
    away_seconds: int = setting("QUANTLIB_AWAY", 300, "seconds that files outlive the browser they belong to")
    keep_seconds: int = setting("QUANTLIB_KEEP", 2 * 3600, "seconds that a finished job's file is kept at most")

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Limits":
        """The limits that an environment sets; what it does not mention keeps its default."""
        said = {}
        for entry in fields(cls):
            text = environment.get(entry.metadata["variable"], "").strip()
            if text:
                said[entry.name] = _read(entry.name, entry.metadata["variable"], entry.default, text)
        return cls(**said)


def _read(name: str, variable: str, default, text: str):
    if name == "folder":
        return Path(text)
    if name == "directories":
        return tuple(Path(part).expanduser().resolve() for part in text.split(os.pathsep) if part)
    if name == "frames":
        if odd := [site for site in text.split() if not SITE.fullmatch(site)]:
            raise ValueError(
                f"{variable} holds {odd[0]!r}; write sites as https://huggingface.co, with spaces between."
            )
        return tuple(text.split())
    if isinstance(default, bool):
        if text.lower() not in ("on", "off"):
            raise ValueError(f"{variable} is {text!r}; write on or off.")
        return text.lower() == "on"
    found = re.fullmatch(r"(\d{1,15})(\.\d{1,3})? ?([KMGT]?B?)", text.upper())
    unit = found and found.group(3).rstrip("B") + ("B" if found.group(3) else "")
    if not found or unit not in UNITS:
        raise ValueError(f"{variable} is {text!r}; write a number, such as 4, 500MB or 16GB.")
    return int(float(found.group(1) + (found.group(2) or "")) * UNITS[unit])


def table() -> str:
    """Every setting as a table in Markdown: what SERVING.md shows."""
    rows = ["| variable | default | what it sets |", "|---|---|---|"]
    for entry in fields(Limits):
        rows.append(f"| `{entry.metadata['variable']}` | {_said(entry)} | {entry.metadata['says']} |")
    return "\n".join(rows)


def _said(entry) -> str:
    """A default as people write it."""
    if isinstance(entry.default, bool):
        return "on" if entry.default else "off"
    if entry.name == "threads":
        return "all but one"
    if entry.name == "run_bytes":
        return "1GB"
    if entry.name.endswith("_bytes"):
        return f"{entry.default // UNITS['GB']}GB"
    return str(entry.default) if isinstance(entry.default, int) else ""


LIMITS = Limits.of(os.environ)
