"""ggml's block formats, one file a family."""

from quantlib.formats.blocks.block import BlockFormat, Formula, Trace
from quantlib.formats.blocks.kquants import Q4_K, Q6_K
from quantlib.formats.blocks.legacy import Q8_0

BLOCKS = (Q8_0, Q4_K, Q6_K)

__all__ = ["BLOCKS", "Q4_K", "Q6_K", "Q8_0", "BlockFormat", "Formula", "Trace"]
