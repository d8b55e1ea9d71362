"""Quantizing a checkpoint to a file, in three stages: plan what goes where, run it, verify what was written."""

from quantlib.jobs.measuring import Measured, measure
from quantlib.jobs.planning import Plan, PlannedTensor, plan
from quantlib.jobs.progress import Progress
from quantlib.jobs.running import RunResult, TensorResult, run

__all__ = ["Measured", "Plan", "PlannedTensor", "Progress", "RunResult", "TensorResult", "measure", "plan", "run"]
