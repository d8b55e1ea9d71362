"""Looking into checkpoints: what one is, what is unusual about its tensors, and how two of them differ."""

from quantlib.inspection.alignment import aligned
from quantlib.inspection.comparison import TensorComparison, comparisons, total_loss
from quantlib.inspection.describing import Description, describe
from quantlib.inspection.statistics import Statistics, all_statistics, statistics
from quantlib.inspection.unusual import MEASURES, Remark, ranked, remarks, seen_of, vocabulary
from quantlib.inspection.verdict import Comparison, compare, judged

__all__ = [
    "MEASURES", "Comparison", "Description", "Remark", "Statistics", "TensorComparison", "aligned", "all_statistics",
    "compare", "comparisons", "describe", "judged", "ranked", "remarks", "seen_of", "statistics", "total_loss",
    "vocabulary",
]  # fmt: skip
