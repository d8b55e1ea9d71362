"""A server of one's own for a measurement, on loopback, and what it takes of memory."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Server:
    """Its port, its process, and the folder that holds all it writes."""

    port: int
    process: subprocess.Popen
    folder: Path

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def memory(self) -> int:
        """Resident bytes that are its own: what is mapped from files is the system's to take back."""
        said = Path(f"/proc/{self.process.pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in said.splitlines())
        return 1024 * int(fields["RssAnon"].split()[0])

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def resident(self) -> int:
        """All resident bytes, those of mapped files included."""
        said = Path(f"/proc/{self.process.pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in said.splitlines())
        return 1024 * int(fields["VmRSS"].split()[0])


SMALL = "ulimit -n 1024; ulimit -d 4000000; exec"  # descriptors, and kB of memory that is its own


@contextmanager
def running(folder: Path, *options: str, small: bool = False, **settings: str) -> Iterator[Server]:
    """A fresh server for as long as the block lasts; a `small` one has 4 GB and 1,024 descriptors."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.address", "127.0.0.1", *options]
    if small:
        command = ["sh", "-c", f'{SMALL} "$@"', "sh", *command]
    with open(folder / "server.log", "w") as log:
        process = subprocess.Popen(
            [*command, "--server.port", str(port)], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(folder), **settings},
        )  # fmt: skip
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1)
                break
            except OSError:
                time.sleep(0.2)
        yield Server(port, process, folder)
    finally:
        process.terminate()
        process.wait(20)
