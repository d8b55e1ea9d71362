"""What a format is: the properties and functions that all formats have, whatever stores their numbers."""

from typing import Protocol

import numpy as np

from quantlib.formats.layout import Layout


class Rows(Protocol):
    """What is needed to measure rows: `values` weights are stored in `nbytes` bytes."""

    @property
    def name(self) -> str: ...

    @property
    def values(self) -> int:
        """Weights that are stored together: of a block, of a group, or in whole bytes."""

    @property
    def nbytes(self) -> int:
        """Bytes of `values` stored weights."""


class Format(Rows, Protocol):
    """What a stored number can be.

    A format is a frozen value. Its rows follow each other without padding: n weights take row_bytes(n) bytes.
    """

    @property
    def kind(self) -> str:
        """ "float", "integer", "codebook", "block", or "activation": of a block that no file stores."""

    @property
    def summary(self) -> str:
        """One plain sentence."""

    @property
    def ggml_type(self) -> int | None:
        """ggml's id, None where ggml has no such type."""

    @property
    def bpw(self) -> float:
        """Bits per weight as stored, everything counted."""

    @property
    def layout(self) -> Layout:
        """Where every bit of every code lies in `nbytes` bytes."""

    @property
    def uses_importance(self) -> bool:
        """Whether importance changes which codes are chosen."""

    @property
    def requires_importance(self) -> bool:
        """Whether nothing can be stored without importance."""

    def row_bytes(self, n: int) -> int:
        """Bytes of a row of n weights; FormatError where n is not a multiple of `values`."""

    def quantize(self, x: np.ndarray, importance: np.ndarray | None = None, effort: str = "standard") -> np.ndarray:
        """Store rows: float (..., n) -> uint8 (..., row_bytes(n)). importance: float32 (n,), not negative, or None.

        effort: "standard", or "best" for a longer search where the format has one.
        Raises FormatError on rows, importance and efforts that the format cannot take.
        """

    def dequantize(self, data: np.ndarray, n: int | None = None) -> np.ndarray:
        """Decode stored rows: uint8 (..., row_bytes) -> float32 (..., n). Raises FormatError on a broken row."""
