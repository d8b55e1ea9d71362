"""What an export stores of one matrix."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Stored:
    """tensors: by what follows the module's name in the file. decoded: what a loader makes of them, float32."""

    tensors: Mapping[str, np.ndarray]
    decoded: np.ndarray
