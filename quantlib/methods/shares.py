"""What each way of choosing a format's codes leaves of the output error, and how long it takes: measured."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Shares:
    """Of one format, as `tests/bench/ways.py` measured it on the demo model.

    weighed, best, weighed_best, fitted: the squared error of what matrices put out, on texts that were not calibrated
    on, as a share of that with ggml's plain codes: with an importance matrix, with best effort, with both, and with
    blocks chosen on a text. plain_ns, best_ns, fitted_ns: nanoseconds of one core for each weight.
    """

    weighed: float
    best: float
    weighed_best: float
    fitted: float
    plain_ns: float
    best_ns: float
    fitted_ns: float

    def of(self, method: str, weighed: bool) -> float:
        """The share of one way ("ggml", "best", "gptq"), with an importance matrix or without."""
        plain = self.weighed if weighed else 1.0
        best = self.weighed_best if weighed else self.best
        return {"ggml": plain, "best": best, "gptq": self.fitted}[method]

    def nanoseconds(self, method: str) -> float:
        """Of one core for each weight."""
        return {"ggml": self.plain_ns, "best": self.best_ns, "gptq": self.fitted_ns}[method]


PLAIN = Shares(1.0, 1.0, 1.0, 1.0, 2, 2, 2)  # a format whose codes nothing chooses otherwise
SHARES: Mapping[str, Shares] = {
    "Q4_0": Shares(0.89, 0.90, 0.86, 0.49, 14, 119, 2794),
    "Q4_1": Shares(0.74, 0.75, 0.70, 0.44, 7, 141, 4049),
    "Q5_0": Shares(0.88, 0.90, 0.87, 0.49, 5, 108, 2923),
    "Q5_1": Shares(0.76, 0.77, 0.72, 0.44, 5, 136, 4268),
    "Q8_0": Shares(1.00, 1.00, 1.00, 0.51, 6, 4, 2853),
    "IQ4_NL": Shares(0.93, 0.92, 0.87, 0.52, 52, 294, 2368),
    "Q2_0": Shares(1.00, 1.00, 1.00, 0.34, 7, 5, 2375),
    "Q1_0": Shares(1.00, 1.00, 1.00, 0.55, 10, 5, 2674),
    "TQ1_0": Shares(1.00, 1.00, 1.00, 0.31, 6, 8, 2936),
    "TQ2_0": Shares(1.00, 1.00, 1.00, 0.31, 6, 5, 3093),
    "Q2_K": Shares(0.77, 0.80, 0.73, 0.45, 27, 199, 4571),
    "Q3_K": Shares(0.90, 0.95, 0.90, 0.50, 25, 131, 3321),
    "Q4_K": Shares(0.92, 0.95, 0.88, 0.56, 30, 245, 5192),
    "Q5_K": Shares(0.93, 0.89, 0.83, 0.52, 32, 234, 4849),
    "Q6_K": Shares(0.92, 0.93, 0.87, 0.52, 31, 132, 3436),
    "IQ4_XS": Shares(0.95, 0.92, 0.90, 0.53, 51, 244, 3307),
    "MXFP4": Shares(1.00, 1.00, 1.00, 0.49, 10, 5, 1869),
    "NVFP4": Shares(1.00, 1.00, 1.00, 0.46, 9, 6, 2350),
    "IQ2_XXS": Shares(0.97, 1.00, 0.97, 0.54, 291, 300, 3562),
    "IQ2_XS": Shares(0.96, 1.00, 0.96, 0.53, 488, 530, 5180),
    "IQ2_S": Shares(0.83, 1.00, 0.83, 0.46, 210, 205, 3401),
    "IQ3_XXS": Shares(0.67, 1.00, 0.67, 0.38, 369, 368, 4913),
    "IQ3_S": Shares(0.64, 1.00, 0.64, 0.34, 250, 268, 4966),
}
# What is left of the squared output error that the same format has with an importance matrix.
LEFT: Mapping[str, float] = {name: shares.fitted / shares.weighed for name, shares in SHARES.items()}
