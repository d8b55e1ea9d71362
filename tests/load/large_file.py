"""A gigabyte brought, quantized and downloaded: what does it cost the server in memory?

    python tests/load/large_file.py --size 1

Prints the server's own memory (anonymous pages) and all it has resident (mapped files included) above idle.
"""

import argparse
import asyncio
import sys
import tempfile
import threading
import time
from http.client import HTTPConnection
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from bringing import bring  # noqa: E402
from person import Person  # noqa: E402
from random_weights import write_gguf  # noqa: E402
from server import Server, running  # noqa: E402

import quantlib as ql  # noqa: E402


class Watch:
    """The most that the server took while a stage lasted."""

    def __init__(self, server: Server):
        self.server, self.stopped = server, threading.Event()
        self.idle = (server.memory(), server.resident())
        self.most = list(self.idle)
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while not self.stopped.wait(0.1):
            now = (self.server.memory(), self.server.resident())
            self.most = [max(pair) for pair in zip(self.most, now, strict=True)]

    def stage(self, name: str, seconds: float) -> None:
        own, resident = ((most - idle) / 1e6 for most, idle in zip(self.most, self.idle, strict=True))
        print(f"{name:9} {seconds:6.1f} s   own memory {own:+6.0f} MB, resident {resident:+6.0f} MB above idle")
        self.most = [self.server.memory(), self.server.resident()]


def download(address: str, path: str, out: Path) -> None:
    connection = HTTPConnection(address, timeout=60)
    connection.request("GET", path)
    reply = connection.getresponse()
    with open(out, "wb") as file:
        while part := reply.read(1 << 20):
            file.write(part)


async def main(options) -> int:
    with tempfile.TemporaryDirectory(prefix="quantlib-load-") as name:
        folder = Path(name)
        path, out = folder / "large.gguf", folder / "out.gguf"
        size = write_gguf(path, int(options.size * 1e9))
        with running(folder) as server:
            async with Person(server.address, seed=1) as person:
                for page in ("", "quantize", "open"):
                    await person.visit(page)
                await asyncio.sleep(20)
                watch = Watch(server)
                print(f"{size / 1e9:.2f} GB; idle: own memory {watch.idle[0] / 1e6:.0f} MB")
                started = time.monotonic()
                assert await bring(person, path) is None
                watch.stage("upload", time.monotonic() - started)
                started = time.monotonic()
                await person.visit("quantize", person.query)
                await person.press("Quantize")
                while not (found := [t for t in person.texts if "/files/" in t]) and not person.errors:
                    await asyncio.sleep(1)
                    await person.visit("quantize", person.query)
                watch.stage("quantize", time.monotonic() - started)
                started = time.monotonic()
                await asyncio.to_thread(download, server.address, found[0], out)
                watch.stage("download", time.monotonic() - started)
                watch.stopped.set()
        with ql.open_checkpoint(out) as written:
            print(f"the result: {out.stat().st_size / 1e9:.2f} GB, {len(written.tensors)} tensors, opened by quantlib")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=float, default=1.0, help="GB")
    sys.exit(asyncio.run(main(parser.parse_args())))
