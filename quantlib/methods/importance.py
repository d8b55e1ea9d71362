"""What an importance matrix changes, weight by weight: the same rows in the same block format, with and without it."""

from dataclasses import dataclass

import numpy as np

from quantlib.errors import MethodError
from quantlib.formats.blocks.block import BlockFormat
from quantlib.formats.rows import check_importance, check_rows

CODES = ("code", "sign", "exponent", "fraction")  # roles of fields that say of one weight, or a few, where it lies


@dataclass(frozen=True, eq=False)
class ImportanceChange:
    """Rows x (rows, n) stored plainly and with importance (n,).

    plain, important: what each is read back as, float32 (rows, n). code_changed: bool (rows, n), whether a code of the
    weight itself differs; scale_changed: whether a scale, minimum or the like of its block does.
    """

    format: BlockFormat
    x: np.ndarray
    importance: np.ndarray
    plain: np.ndarray
    important: np.ndarray
    code_changed: np.ndarray
    scale_changed: np.ndarray

    @property
    def weighted_errors(self) -> tuple[float, float]:
        """Σ importance · (x − x̂)², without and with importance: what it is there to lower."""
        return self._errors(self.importance)

    @property
    def plain_errors(self) -> tuple[float, float]:
        """Σ (x − x̂)², without and with importance: what that costs where nothing is more important."""
        return self._errors(np.ones_like(self.importance))

    def by_importance(self, bins: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Channels in bins from least to most important: mean importance, and mean squared error without and with,
        float64 (bins,) each. Raises MethodError for more bins than channels.
        """
        if not 1 <= bins <= len(self.importance):
            raise MethodError(f"{len(self.importance):,} channels cannot be put into {bins} bins.")
        parts = np.array_split(np.argsort(self.importance, kind="stable"), bins)
        squares = [np.square(self.x - y, dtype=np.float64).mean(0) for y in (self.plain, self.important)]
        counted, plain, important = (
            np.array([v[part].mean() for part in parts]) for v in (self.importance.astype(float), *squares)
        )
        return counted, plain, important

    def _errors(self, weights: np.ndarray) -> tuple[float, float]:
        plain, important = (np.square(self.x - y, dtype=np.float64) * weights for y in (self.plain, self.important))
        return float(plain.sum()), float(important.sum())


def importance_change(x: np.ndarray, form: BlockFormat, importance: np.ndarray) -> ImportanceChange:
    """Store rows x (..., n) of a block format with importance (n,) and without, and compare every weight.

    A format that needs importance is given an even one for "without". Raises FormatError where x or importance do not
    fit the format, and MethodError for a format whose codes importance does not change.
    """
    if not isinstance(form, BlockFormat) or not form.uses_importance:
        raise MethodError(f"Importance has no say in {form.name}; choose a block format that a search encodes.")
    x = check_rows(form, x)
    x = x.reshape(-1, x.shape[-1])  # (rows, n)
    importance = check_importance(importance, x.shape[-1])
    even = np.ones_like(importance) if form.requires_importance else None
    stored = [form.quantize(x, weights) for weights in (even, importance)]
    codes = [form.unpack(data.reshape(-1, form.nbytes)) for data in stored]  # {field: (blocks, count)}
    own, shared = np.zeros((2, x.size // form.values, form.values), bool)
    for field in form.layout.fields:
        differs = np.not_equal(*(c[field.name].view(field.unsigned) for c in codes))  # (blocks, count)
        weights = [form.layout.element(field.name, weight) for weight in range(form.values)]
        target = own if field.role in CODES else shared
        target |= differs[:, weights]
    plain, important = (form.dequantize(data) for data in stored)
    return ImportanceChange(form, x, importance, plain, important, own.reshape(x.shape), shared.reshape(x.shape))
