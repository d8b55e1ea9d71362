"""Machines that models run on: the memory that is really there for a model, and how fast it is read.

Memory is sold in GB and counted in GiB: a card of 24 GB has 24 · 2³⁰ bytes, less what its driver, its screen and
llama.cpp's own margin take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

GIB = 1 << 30
# llama.cpp leaves so much of each card free when it chooses what to offload (--fit-target, common/common.h): the
# driver, a screen and the allocator share it.
CARD_KEEPS = GIB
# What the system and a browser hold of a computer's memory: 3 GiB of 8, and a quarter of what is above, up to 4.
SYSTEM_KEEPS, MOST_KEPT, SMALL = 3 * GIB, 4 * GIB, 8 * GIB
# The share of a Mac's memory that its GPU may use, up to 32 GiB and above: Metal's recommendedMaxWorkingSetSize, as
# llama.cpp prints it (11,453 MB of 16 GB, 51,540 MB of 64 GB).
APPLE_SHARE, LARGE_APPLE_SHARE, LARGE_APPLE = 2 / 3, 3 / 4, 32 * GIB
# What it prints on later versions of macOS, by memory up to so many GiB: 12,713 MB of 16 GB, 19,070 of 24, 26,801 of
# 32, 40,201 of 48, 55,663 of 64, 115,449 of 128. A Mac of 8 GB has the earlier share there too.
LATER_APPLE_SHARES = ((8, APPLE_SHARE), (24, 0.74), (48, 0.78), (96, 0.81))
LATER_APPLE_SHARE = 0.84
# `sudo sysctl iogpu.wired_limit_mb=N` sets another limit; the system then needs an eighth, from 3 to 8 GiB.
LEAST_FOR_MACOS, MOST_FOR_MACOS = 3 * GIB, 8 * GIB

# How fast a card unpacks codes, over the one of llama.cpp's table of recipes: in proportion to its TFLOPS in FP32, by
# the RTX 3090's and the RX 7900 XTX's published speeds (`speed.CARDS`).
UNPACKED_NVIDIA, UNPACKED_AMD = 0.085, 0.0115

Kind = Literal["card", "mac", "computer"]


@dataclass(frozen=True)
class Memory:
    """One memory. total: bytes that are sold; kept: bytes that others hold of it; bandwidth: bytes a second."""

    name: str
    total: int
    kept: int
    bandwidth: float

    @property
    def usable(self) -> int:
        """Bytes for a model, its cache and its working memory."""
        return max(0, self.total - self.kept)


@dataclass(frozen=True)
class Machine:
    """Cards, if there are any, and the computer's own memory, if a model may use it too.

    kind: "card" for graphics cards, "mac" for one memory that a GPU shares, "computer" for one that only the processor
    uses. slow: the computer's own memory beside cards. limit: MiB that a Mac's owner allows its GPU, 0 where macOS
    decides. like: the known machine whose bandwidth was taken, where none was given. unpacking: how fast codes are
    unpacked, over the card of llama.cpp's table of recipes; 0 where nothing is known of it.
    """

    name: str
    kind: Kind
    fast: tuple[Memory, ...]
    slow: Memory | None = None
    limit: int = 0
    like: str = ""
    unpacking: float = 0.0

    @property
    def total(self) -> int:
        """Bytes of the memory that the model should fit in."""
        return sum(memory.total for memory in self.fast)

    @property
    def usable(self) -> int:
        """Bytes of it that a model may take."""
        return sum(memory.usable for memory in self.fast)

    @property
    def kept(self) -> int:
        """Bytes of it that others hold."""
        return sum(min(memory.kept, memory.total) for memory in self.fast)

    @property
    def bandwidth(self) -> float:
        """Bytes a second of its first memory: cards work one after the other."""
        return self.fast[0].bandwidth

    def with_memory(self, gib: float, bandwidth: float = 50e9) -> Machine:
        """The same cards in a computer of so much memory; other machines have no second one."""
        if self.kind != "card":
            return self
        return replace(self, slow=computer_memory("the computer's memory", gib, bandwidth) if gib else None)


def computer_memory(name: str, gib: float, bandwidth: float) -> Memory:
    """A computer's memory less the system."""
    total = round(gib * GIB)
    return Memory(name, total, min(MOST_KEPT, SYSTEM_KEEPS + max(0, total - SMALL) // 4), bandwidth)


def cards(name: str, gib: float, bandwidth: float, count: int = 1, mib: int = 0, tflops: float = 0) -> Machine:
    """So many equal graphics cards. mib: what the driver reports, where that is less. tflops: in FP32, if known."""
    total = mib << 20 if mib else round(gib * GIB)
    each = Memory(name, total, CARD_KEEPS, bandwidth)
    label = f"{name}, {gib:g} GB" if count == 1 else f"{count} × {name}, {gib:g} GB each"
    unpacking = round(tflops * (UNPACKED_AMD if name.startswith("Radeon") else UNPACKED_NVIDIA), 2)
    slow = computer_memory("the computer's memory", 32, 50e9)
    return Machine(label, "card", (each,) * count, slow, unpacking=unpacking)


def mac(name: str, gib: float, bandwidth: float, limit: int = 0) -> Machine:
    """An Apple machine, whose GPU may use a share of the memory. limit: its iogpu.wired_limit_mb, 0 as it is made."""
    total = round(gib * GIB)
    share = LARGE_APPLE_SHARE if total > LARGE_APPLE else APPLE_SHARE
    allowed = min(limit << 20, total) if limit else int(total * share)
    return Machine(f"{name}, {gib:g} GB", "mac", (Memory(name, total, total - allowed, bandwidth),), limit=limit)


def limited(machine: Machine, limit: int) -> Machine:
    """The same Mac with another limit of its GPU, in MiB; other machines have none."""
    if machine.kind != "mac" or not limit:
        return machine
    memory = machine.fast[0]
    kept = memory.total - min(limit << 20, memory.total)
    return replace(machine, fast=(replace(memory, kept=kept),), limit=limit)


def later_share(total: int) -> int:
    """Bytes of a Mac's memory that later versions of macOS allow its GPU."""
    share = next((share for gib, share in LATER_APPLE_SHARES if total <= gib * GIB), LATER_APPLE_SHARE)
    return int(total * share)


def highest_limit(total: int) -> int:
    """The iogpu.wired_limit_mb, in MiB, that leaves macOS what it needs."""
    return (total - min(MOST_FOR_MACOS, max(LEAST_FOR_MACOS, total // 8))) >> 20


def computer(name: str, gib: float, bandwidth: float) -> Machine:
    """A computer without a graphics card of use."""
    return Machine(f"{name}, {gib:g} GB", "computer", (computer_memory(name, gib, bandwidth),))


def own(
    kind: Kind,
    gib: float,
    bandwidth: float = 0,
    count: int = 1,
    ram: float = 0,
    ram_bandwidth: float = 50e9,
    limit: int = 0,
) -> Machine:
    """A machine by its numbers.

    bandwidth, ram_bandwidth: bytes a second; of a known machine of that size where it is 0. ram: GiB of the computer
    beside cards. limit: MiB that a Mac's GPU may use.
    """
    like = None if bandwidth else nearest(kind, gib)
    known = like.bandwidth if like else bandwidth
    match kind:
        case "mac":
            found = mac("Mac", gib, known, limit)
        case "computer":
            found = computer("Computer", gib, known)
        case "card":
            found = cards("Card", gib, known, count).with_memory(ram, ram_bandwidth)
    return replace(found, like=like.name, unpacking=like.unpacking) if like else found


def nearest(kind: Kind, gib: float) -> Machine:
    """The first known machine of a kind with so much memory or more; the largest where none has."""
    same = [machine for machine in _ALL if machine.kind == kind and len(machine.fast) == 1]
    large = [machine for machine in same if machine.total >= 0.99 * gib * GIB]
    return min(large, key=lambda machine: round(machine.total / GIB), default=same[-1])


def _dimms(transfers: float) -> float:
    """Two channels of eight bytes, so many million transfers a second."""
    return 2 * 8 * transfers * 1e6


MACHINES_SOURCE = (
    "memory, bandwidth and TFLOPS as the makers' data sheets state them (DDR: two channels of 8 bytes); what cards "
    "report as nvidia-smi shows it"
)
_ALL: Sequence[Machine] = (
    cards("GeForce RTX 4060", 8, 272e9, mib=8188, tflops=15.1),
    cards("GeForce RTX 3060", 12, 360e9, mib=12_288, tflops=12.7),
    cards("GeForce RTX 4070", 12, 504e9, mib=12_282, tflops=29.1),
    cards("GeForce RTX 4060 Ti", 16, 288e9, mib=16_380, tflops=22.1),
    cards("GeForce RTX 5060 Ti", 16, 448e9, mib=16_311, tflops=23.7),
    cards("GeForce RTX 4080", 16, 717e9, mib=16_376, tflops=48.7),
    cards("GeForce RTX 5080", 16, 960e9, mib=16_303, tflops=56.3),
    cards("Radeon RX 7900 XTX", 24, 960e9, tflops=61.4),
    cards("GeForce RTX 3090", 24, 936e9, mib=24_576, tflops=35.6),
    cards("GeForce RTX 4090", 24, 1008e9, mib=24_564, tflops=82.6),
    cards("GeForce RTX 5090", 32, 1792e9, mib=32_607, tflops=104.8),
    cards("GeForce RTX 3090", 24, 936e9, 2, mib=24_576, tflops=35.6),
    cards("RTX 6000 Ada", 48, 960e9, mib=49_140, tflops=91.1),
    cards("RTX PRO 6000", 96, 1792e9, mib=97_887, tflops=125),
    cards("A100 SXM", 80, 2039e9, mib=81_920, tflops=19.5),
    cards("H100 SXM", 80, 3350e9, mib=81_559, tflops=66.9),
    mac("Apple M1", 8, 68.25e9),
    mac("Apple M2", 16, 100e9),
    mac("Apple M3 Pro", 18, 150e9),
    mac("Apple M4", 24, 120e9),
    mac("Apple M3 Pro", 36, 150e9),
    mac("Apple M4 Pro", 48, 273e9),
    mac("Apple M4 Max", 64, 546e9),
    mac("Apple M4 Max", 128, 546e9),
    mac("Apple M2 Ultra", 192, 800e9),
    mac("Apple M3 Ultra", 512, 819e9),
    computer("Laptop, DDR4-3200", 8, _dimms(3200)),
    computer("Laptop, DDR4-3200", 16, _dimms(3200)),
    computer("Laptop, DDR5-5600", 32, _dimms(5600)),
    computer("Desktop, DDR5-5600", 64, _dimms(5600)),
    computer("Ryzen AI Max+ 395", 128, 256e9),
)
MACHINES = {machine.name: machine for machine in _ALL}
