"""Somebody who wants the server alone: every attack of tests/hostile/attacks.py again and again, from one address.

python tests/load/attacker.py 127.0.0.1:8501 --seconds 60        # drive.py --attack starts it
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "hostile"), str(HERE.parents[1])]

import attacks  # noqa: E402
from bringing import put, uploader  # noqa: E402
from person import Person  # noqa: E402

SENDER = "127.0.0.2"  # on loopback, yet no proxy of this machine's
HELD_SECONDS = 5


def unfinished_messages(address: str) -> list:
    return [attacks.unfinished_message(address, 100 << 20, 8 << 20, SENDER) for _ in range(8)]


def stalled_slices(address: str) -> list:
    async def route() -> str:
        async with Person(address, seed=1) as person:
            await person.visit("open")
            return uploader(person)[1]["address"]

    token = asyncio.run(route())
    put(address, token, json.dumps([["model.gguf", 1 << 30]]).encode())
    return [attacks.stalled_slice(address, token, 16 << 20, 8 << 20, SENDER) for _ in range(40)]


def foreign_origins(address: str) -> list:
    return [attacks.shake_hands(address, attacks.FOREIGN, SENDER)[0] for _ in range(5)]


def silent_connections(address: str) -> list:
    return [attacks.connect(address, SENDER) for _ in range(100)]


def idle_sessions(address: str) -> list:
    return [attacks.shake_hands(address, sender=SENDER)[0] for _ in range(20)]


def deep_announcements(address: str) -> list:
    for _ in range(20):
        attacks.ask(address, "/upload/x", b"[" * 100_000, "PUT")
    return []


ATTACKS: tuple[Callable[[str], list], ...] = (
    unfinished_messages, stalled_slices, foreign_origins, silent_connections, idle_sessions, deep_announcements,
)  # fmt: skip


def repeat(attack: Callable[[str], list], address: str, until: float, done: Counter) -> None:
    """Do it, hold what it opened for a while, and do it again."""
    while time.monotonic() < until:
        held: list = []
        with suppress(OSError, AssertionError, TimeoutError):  # refused: try again
            held = attack(address)
            done[attack.__name__] += 1
        time.sleep(HELD_SECONDS)
        for one in held:
            one.close()


def attack_all(address: str, seconds: float) -> Counter:
    """All attacks at once for so long; how often each was carried out."""
    until, done = time.monotonic() + seconds, Counter()
    with ThreadPoolExecutor(len(ATTACKS)) as threads:
        for one in [threads.submit(repeat, attack, address, until, done) for attack in ATTACKS]:
            one.result()
    return done


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    print("attacks: " + ", ".join(f"{n} x {c}" for n, c in attack_all(options.address, options.seconds).items()))
