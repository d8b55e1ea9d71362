"""Real models that are opened with one press: those that packages on this server bring, and small ones of the hub."""

from dataclasses import dataclass
from pathlib import Path

from pages.server.limits import LIMITS
from quantlib.checkpoints.packaged import PACKAGED, packaged
from quantlib.errors import CheckpointError
from quantlib.fit.catalogue import KNOWN

# Small, and open to everybody without a form to sign.
SMALL = ("SmolLM2-135M", "SmolLM2-360M", "Qwen2.5-0.5B", "Qwen3-0.6B", "SmolLM2-1.7B")
STORED = 2  # bytes of a weight as these are published, in BF16


@dataclass(frozen=True)
class Offered:
    """A model by name. nbytes: of its file here, or about those of its weights on the hub, whose name `hub` is."""

    name: str
    nbytes: int
    path: Path | None = None
    hub: str = ""

    @property
    def runs(self) -> bool:
        """Whether pages may run it, or only show and quantize it; of files here that is seen when they are open."""
        return self.path is not None or 4 * self.nbytes // STORED <= LIMITS.run_bytes


def offered() -> tuple[Offered, ...]:
    """What this server has and may fetch, what is at hand first."""
    return (*_installed(), *(_of_hub(name) for name in SMALL * LIMITS.hub))


def _installed() -> list[Offered]:
    found = []
    for name in PACKAGED:
        try:
            path = packaged(name)
            found.append(Offered(path.name, path.stat().st_size, path))
        except (CheckpointError, OSError):
            continue  # not installed
    return found


def _of_hub(name: str) -> Offered:
    model = KNOWN[name]
    return Offered(model.hub.rpartition("/")[2], STORED * model.parameters, hub=model.hub)
