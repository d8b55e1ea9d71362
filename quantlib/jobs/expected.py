"""What a format should lose, and which tensors of a run lost far more: a wrong scale, rows out of order, zeros."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from quantlib.metrics import Loss

# The relative error of independent weights in each format: the larger of normal and Laplace distributed ones, with an
# importance matrix and without. Heavier tails add at most a fifth; tests/jobs/test_expected.py measures it again.
TYPICAL = {
    "FP32": 1e-7, "FP64": 1e-7, "BF16": 0.00167, "FP16": 0.00021, "Q8_0": 0.0067,
    "Q4_0": 0.109, "Q4_1": 0.092, "Q5_0": 0.0545, "Q5_1": 0.0445,
    "Q2_K": 0.346, "Q3_K": 0.186, "Q4_K": 0.091, "Q5_K": 0.0447, "Q6_K": 0.0234,
    "IQ1_S": 0.603, "IQ1_M": 0.584, "IQ2_XXS": 0.535, "IQ2_XS": 0.412, "IQ2_S": 0.345,
    "IQ3_XXS": 0.27, "IQ3_S": 0.197, "IQ4_NL": 0.092, "IQ4_XS": 0.092,
    "TQ1_0": 0.833, "TQ2_0": 0.833, "Q1_0": 0.705, "Q2_0": 0.725, "MXFP4": 0.127, "NVFP4": 0.095,
}  # fmt: skip
GENEROUS = 2.5  # times the typical error that a correct tensor may lose
FEW = 256  # weights: of fewer, the error of a correct tensor is too much a matter of chance


@dataclass(frozen=True)
class Outlier:
    """A tensor that lost far more than its format should. relative, typical: errors as shares of the weights' RMS."""

    name: str
    target: str
    relative: float
    typical: float

    @property
    def words(self) -> str:
        return (
            f"{self.name} lost {self.relative:.1%} in {self.target}, where about {self.typical:.1%} is usual: "
            "compare it with the source before you use the file."
        )


def limit(target: str) -> float:
    """The relative error beyond which a tensor in this format is an outlier; always below that of zeros, 1."""
    return min(GENEROUS * TYPICAL[target], (1 + TYPICAL[target]) / 2)


def outlier(name: str, target: str, loss: Loss) -> Outlier | None:
    """The tensor as an outlier, or None where its loss is what its format can be expected to lose."""
    if target not in TYPICAL or loss.count < FEW or loss.relative <= limit(target):
        return None
    return Outlier(name, target, loss.relative, TYPICAL[target])


def outliers(results: Iterable[Any]) -> tuple[Outlier, ...]:
    """Those among a run's results (.name, .target, .loss)."""
    found = (outlier(r.name, r.target, r.loss) for r in results)
    return tuple(o for o in found if o is not None)
