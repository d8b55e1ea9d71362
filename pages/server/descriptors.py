"""How many file descriptors this process has, and who may hold how many: without one, nobody gets in.

A page that is connected holds four: its socket, and the event loop that Streamlit makes for each session.
"""

from dataclasses import dataclass
from functools import cache

from pages.server.limits import LIMITS

WANTED = 1 << 16


@dataclass(frozen=True)
class Budget:
    """Shares of all descriptors; `of_one` are the connections that one address may hold, a room behind one router."""

    descriptors: int

    @property
    def visits(self) -> int:
        return min(LIMITS.visits, self.descriptors // 8)

    @property
    def away(self) -> int:
        """Sessions that are kept for browsers whose connection was lost."""
        return self.descriptors // 32

    @property
    def connections(self) -> int:
        return self.descriptors * 3 // 8

    @property
    def of_one(self) -> int:
        return self.descriptors // 4

    @property
    def files(self) -> int:
        """Files of opened checkpoints, of everyone together."""
        return self.descriptors // 8


@cache
def budget() -> Budget:
    """The budget of this server, for which the system is asked for as many descriptors as it gives."""
    return Budget(raise_limit())


def raise_limit() -> int:
    """Ask for more descriptors; returns how many there are now."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return WANTED
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft == resource.RLIM_INFINITY:
        return WANTED
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(soft, wanted)
