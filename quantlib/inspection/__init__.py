"""Looking into checkpoints: what one is, what is unusual about its tensors, and how two of them differ."""

from quantlib.inspection.comparison import TensorComparison, comparisons, total_loss
from quantlib.inspection.describing import Description, describe
from quantlib.inspection.statistics import Statistics, all_statistics, statistics
from quantlib.inspection.unusual import MEASURES, Remark, ranked, remarks, seen_of, vocabulary

__all__ = [
    "MEASURES", "Description", "Remark", "Statistics", "TensorComparison", "all_statistics", "comparisons", "describe",
    "ranked", "remarks", "seen_of", "statistics", "total_loss", "vocabulary",
]  # fmt: skip
