"""Forty people at once: each changes a control every few seconds across all pages; how long until it is redrawn?

    python tests/load/drive.py --people 40 --seconds 600            # prints p50 and p95, errors, memory over time
    python tests/load/drive.py --people 40 --seconds 600 --job      # the same while somebody quantizes a large file
    python tests/load/drive.py --people 40 --seconds 600 --attack   # and once more beside an attacker

It starts a server of its own on loopback and ends it. Both share the machine, so the driver's own work counts against
the figures.
"""

import argparse
import asyncio
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from person import Person  # noqa: E402
from random_weights import write_gguf  # noqa: E402
from server import Server, running  # noqa: E402

ACTIONS_A_PAGE = 6
USED = ("quantize", "open", "evaluate")  # where a click is no picture; the other pages are the chapters and Inspect


async def attend(person: Person, pages: list[str], until: float, think: float, delay: float) -> None:
    """Read the pages one after the other, from a place of one's own, and change something every few seconds."""
    try:
        await asyncio.sleep(delay)
        async with person:
            await person.visit("")
            pages = pages or sorted(page for page in person.pages if page not in USED)
            at = person.seed
            while time.monotonic() < until:
                await person.visit(pages[at % len(pages)])
                at += 1
                for _ in range(ACTIONS_A_PAGE):
                    await asyncio.sleep(think * person.rng.uniform(0.6, 1.4))
                    if time.monotonic() >= until or await person.change_something() is None:
                        break
    except Exception as error:  # one person's end must not hide the others' figures
        person.errors.append(f"{person.page}: {type(error).__name__} {error}"[:200])


async def quantize(server: Server, path: Path, until: float, report: list[str]) -> None:
    """Somebody opens a large file by its path and quantizes it again and again."""
    try:
        async with Person(server.address, seed=0) as person:
            await person.visit("")
            await person.visit("open", "where=On+this+server")
            await person.choose("Path", str(path))
            await person.press("Open")
            while time.monotonic() < until:
                started = time.monotonic()
                await person.visit("quantize")
                await person.press("Quantize")
                while not any(text.endswith(person_token(person)) for text in person.texts if person_token(person)):
                    await asyncio.sleep(2)
                    await person.visit("quantize", person.query)
                    if person.errors or time.monotonic() > until + 120:
                        break
                report.append(f"quantized {path.stat().st_size / 1e9:.1f} GB in {time.monotonic() - started:.0f} s")
                person.query = ""
            report += person.errors
    except Exception as error:
        report.append(f"the job failed: {type(error).__name__} {error}")


def person_token(person: Person) -> str:
    """The token of the job that the address names."""
    return dict(part.split("=", 1) for part in person.query.split("&") if "=" in part).get("job", "")


async def rehearsed(server: Server, most: float) -> None:
    """Wait for the rehearsal, as a room does that comes after it."""
    if not most:
        return
    started = time.monotonic()
    while "ehears" not in (server.folder / "server.log").read_text() and time.monotonic() - started < most:
        await asyncio.sleep(1)
    print(f"the rehearsal took {time.monotonic() - started:.0f} s")


async def watch(server: Server, until: float, seen: list[tuple[float, int, int]]) -> None:
    started = time.monotonic()
    while time.monotonic() < until:
        seen.append((time.monotonic() - started, server.memory(), server.resident()))
        await asyncio.sleep(5)


def share(values: list[float], percent: float) -> float:
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * percent / 100))] if values else 0.0


async def visited(server: Server, path: Path, options, attacked: bool) -> list[Person]:
    """A room of people for a while, beside a job or an attacker; prints what they met."""
    until = time.monotonic() + options.seconds
    people = [Person(server.address, seed=seed) for seed in range(options.people)]
    seen: list[tuple[float, int, int]] = []
    jobs: list[str] = []
    rng = random.Random(1)
    work = [attend(p, options.pages, until, options.think, rng.uniform(0, options.think)) for p in people]
    work += [watch(server, until, seen)] + ([quantize(server, path, until, jobs)] if options.job else [])
    if attacked:
        print("beside an attacker:")
        attacker = [sys.executable, HERE / "attacker.py", server.address, "--seconds", str(options.seconds)]
        work.append(asyncio.to_thread(subprocess.run, attacker, check=True))
    await asyncio.gather(*work)
    print_result(people, seen, jobs)
    return people


async def main(options) -> int:
    folder = Path(tempfile.mkdtemp(prefix="quantlib-load-"))
    path = folder / "large.gguf"
    if options.job:
        write_gguf(path, int(options.size * 1e9))
    settings = {"QUANTLIB_DIRECTORIES": str(folder), "QUANTLIB_REHEARSE": "on" if options.warm else "off"}
    with running(folder, small=options.small, **settings) as server:
        await rehearsed(server, options.warm)
        people = [p for attacked in range(1 + options.attack) for p in await visited(server, path, options, attacked)]
    path.unlink(missing_ok=True)
    return 1 if any(p.errors for p in people) else 0


def print_result(people: list[Person], seen: list[tuple[float, int, int]], jobs: list[str]) -> None:
    times = [t for p in people for t in p.times]
    errors = [e for p in people for e in p.errors]
    print(f"{len(people)} people, {len(times)} actions, {len(errors)} errors")
    print("action to redrawn, s: " + ", ".join(f"p{p} {share(times, p):.2f}" for p in (50, 90, 95, 99, 100)))
    half = seen[len(seen) // 2 :]
    print(
        f"server's own memory, MB: start {seen[0][1] / 1e6:.0f}, half-way {half[0][1] / 1e6:.0f}, "
        f"end {seen[-1][1] / 1e6:.0f}, most {max(m for _, m, _ in seen) / 1e6:.0f}; "
        f"with mapped files at most {max(m for *_, m in seen) / 1e6:.0f}"
    )
    pages: dict[str, list[float]] = {}
    for p in people:
        for seconds, what in p.slowest:
            pages.setdefault(what, []).append(seconds)
    for what, taken in sorted(pages.items(), key=lambda item: -share(item[1], 90))[:12]:
        print(f"  {share(taken, 50):6.2f} {share(taken, 90):6.2f}  {len(taken):4}  {what}")
    for line in [*jobs, *dict.fromkeys(errors)][:20]:
        print(line)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--think", type=float, default=5, help="seconds between a person's actions, on average")
    parser.add_argument("--warm", type=float, default=1800, help="seconds that the rehearsal may take, 0 for none")
    parser.add_argument("--job", action="store_true", help="quantize a large file in the background")
    parser.add_argument("--attack", action="store_true", help="once more, while somebody attacks the server")
    parser.add_argument("--small", action="store_true", help="a server with 4 GB and 1,024 descriptors")
    parser.add_argument("--size", type=float, default=1.0, help="GB of that file")
    parser.add_argument("--pages", nargs="*", default=[], help="addresses of pages, instead of all chapters")
    sys.exit(asyncio.run(main(parser.parse_args())))
