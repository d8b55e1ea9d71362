"""Hundreds of damaged files through the upload page: each gets a sentence or opens, and nobody else notices.

python tests/load/hostile.py --files 500
"""

import argparse
import asyncio
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "hostile"), str(HERE.parents[1])]

import numpy as np  # noqa: E402
from bringing import bring  # noqa: E402
from person import Person  # noqa: E402
from server import running  # noqa: E402
from test_fuzz_readers import FILES  # noqa: E402


async def attack(address: str, folder: Path, count: int, seed: int = 0) -> Counter:
    """Bring `count` mutants one after the other, each in a visit of its own every now and then; what became of them."""
    rng, became = np.random.default_rng(seed), Counter()
    kinds = list(FILES.values())
    bystander = Person(address, seed=1)
    async with bystander:
        await bystander.visit("what-a-float-stores")
        for start in range(0, count, 10):
            async with Person(address, seed=start) as person:
                for number in range(start, min(start + 10, count)):
                    name, mutant = kinds[number % len(kinds)]
                    path = folder / name
                    path.write_bytes(mutant(rng))
                    await person.visit("open")
                    refused = await bring(person, path)
                    became["refused" if refused else "opened"] += 1
                    for page in ("inspect", random.Random(number).choice(["inside-a-super-block", "quantize"])):
                        if not refused:
                            await person.visit(page, person.query)
                    if person.errors:
                        raise AssertionError(f"file {number}: {person.errors}: {path.read_bytes()!r}")
            assert await bystander.change_something() is not None
            assert not bystander.errors, bystander.errors
    return became


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quantlib-load-") as name, running(Path(name)) as server:
        became = asyncio.run(attack(server.address, Path(name), options.files))
        print(f"{sum(became.values())} files: {dict(became)}; the server and the other visit went on")
    return 0


if __name__ == "__main__":
    sys.exit(main())
