"""Looking into checkpoints: statistics of every tensor, and two checkpoints compared tensor by tensor."""

from quantlib.inspection.comparison import TensorComparison, comparisons, total_loss
from quantlib.inspection.statistics import Statistics, all_statistics, statistics

__all__ = ["Statistics", "TensorComparison", "all_statistics", "comparisons", "statistics", "total_loss"]
