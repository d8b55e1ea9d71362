"""How far a run is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a run is, and which tensor it writes.

    weights_done and nbytes_done count what is done of all; bytes are the output's. seconds: since the run began.
    resumed: weights that an earlier, killed run had done already.
    """

    tensor: str
    index: int
    count: int
    weights_done: int
    weights: int
    seconds: float
    nbytes_done: int = 0
    nbytes: int = 0
    resumed: int = 0

    @property
    def fraction(self) -> float:
        return self.weights_done / self.weights if self.weights else 1.0

    @property
    def speed(self) -> float:
        """Weights a second, of this run's own work."""
        return (self.weights_done - self.resumed) / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """At the speed so far; None before there is one."""
        return (self.weights - self.weights_done) / self.speed if self.speed else None
