"""What an action costs the server on each page: its CPU time, and the bytes it sends. One person, one server.

    python tests/load/cost.py                       # every page
    python tests/load/cost.py --pages codebooks     # one

CPU time hardly depends on what else the machine does, so these figures may be compared from one change to the next.
"first" is an action whose state nobody has asked for before, "again" the same actions a second time.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from drive import USED, rehearsed  # noqa: E402
from person import Person  # noqa: E402
from server import Server, running  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")


def cpu(server: Server) -> float:
    """CPU seconds that the server has used, all its threads together."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def pass_over(server: Server, page: str, actions: int, seed: int) -> tuple[float, float, int, int]:
    """Visit a page and change it so many times: CPU s of the visit, of an action, bytes of the visit, of an action."""
    async with Person(server.address, seed=seed) as person:
        await person.visit("")
        started, sent = cpu(server), person.received
        await person.visit(page)
        visited, seen = cpu(server), person.received
        done = 0
        for _ in range(actions):
            if await person.change_something() is None:
                break
            done += 1
        used, bytes_ = cpu(server) - visited, person.received - seen
        if person.errors:
            print(page, person.errors)
        return visited - started, used / max(1, done), seen - sent, bytes_ // max(1, done)


async def main(options) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="quantlib-load-") as name,
        running(Path(name), QUANTLIB_REHEARSE="on") as server,
    ):
        await rehearsed(server, options.warm)
        async with Person(server.address, seed=0) as person:
            await person.visit("")
            pages = options.pages or sorted(page for page in person.pages if page not in USED)
        print(f"{'page':26} {'visit ms':>9} {'first ms':>9} {'again ms':>9} {'visit kB':>9} {'action kB':>9}")
        for page in pages:
            _, first, _, _ = await pass_over(server, page, options.actions, 1)
            visit, again, seen, sent = await pass_over(server, page, options.actions, 1)
            times = f"{1e3 * visit:9.0f} {1e3 * first:9.0f} {1e3 * again:9.0f}"
            print(f"{page or 'home':26} {times} {seen / 1e3:9.0f} {sent / 1e3:9.0f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", nargs="*", default=[], help="addresses of pages, instead of all chapters")
    parser.add_argument("--actions", type=int, default=24)
    parser.add_argument("--warm", type=float, default=1800, help="seconds that the rehearsal may take")
    asyncio.run(main(parser.parse_args()))
