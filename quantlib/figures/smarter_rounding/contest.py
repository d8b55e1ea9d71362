"""Methods against each other on the whole model: GPTQ inside k-quant blocks, and where two measures disagree."""

from dataclasses import dataclass
from itertools import combinations
from math import hypot

from quantlib.lm.contest import Contest, MeasuredMethod

K_QUANTS = ("Q4_K", "Q3_K", "Q2_K")


@dataclass(frozen=True)
class Filled:
    """One k-quant of the whole model, its blocks filled in three ways: relative error of the output, and KL in nats."""

    name: str
    bpw: float
    output: tuple[float, float, float]
    kl: tuple[float, float, float]


def filled(contest: Contest) -> list[Filled]:
    """The k-quants that were measured plain, with an importance matrix and with GPTQ."""
    by_name = {m.method: m for m in contest.measured}
    found = []
    for name in K_QUANTS:
        three = [by_name.get(name + after) for after in ("", " + imatrix", " + GPTQ")]
        if None not in three:
            output, kl = (tuple(of(m) for m in three) for of in (_output, _kl))
            found.append(Filled(name, three[0].bpw, output, kl))
    return found


def _output(measured: MeasuredMethod) -> float:
    return measured.output_error


def _kl(measured: MeasuredMethod) -> float:
    return measured.total.kl


@dataclass(frozen=True)
class Disagreement:
    """Two methods of the same bits of which one is closer to the original (KL) and worse by perplexity."""

    closer: MeasuredMethod
    other: MeasuredMethod

    @property
    def apart(self) -> float:
        """By how much more perplexity the closer one adds."""
        return self.closer.total.difference - self.other.total.difference

    @property
    def errors(self) -> float:
        """The same in standard errors of such a difference, as if both were measured on texts of their own."""
        noise = hypot(self.closer.total.difference_stderr, self.other.total.difference_stderr)
        return self.apart / noise if noise else 0.0


def disagreements(contest: Contest, bits: int) -> list[Disagreement]:
    """Pairs in the order of KL whose perplexity goes the other way, the farthest apart by KL first."""
    found = (Disagreement(a, b) for a, b in combinations(sorted(contest.at(bits), key=_kl), 2))
    return sorted((d for d in found if d.apart > 0), key=lambda d: _kl(d.closer) / max(_kl(d.other), 1e-30))


def rows(contest: Contest, bits: int) -> list[dict]:
    """Methods at so many bits of a code, the least divergence first."""
    return [
        {
            "method": m.method, "bits per weight": round(m.bpw, 3), "relative output error": m.output_error,
            "KL, nats": m.total.kl, "changed tokens": m.total.changed_top, "perplexity added": m.total.difference,
            "±": m.total.difference_stderr, "seconds": m.seconds,
        }
        for m in sorted(contest.at(bits), key=_kl)
    ]  # fmt: skip
