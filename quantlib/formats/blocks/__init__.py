"""ggml's block formats, one file a family."""

from quantlib.formats.blocks.activations import Q8_1, Q8_K
from quantlib.formats.blocks.block import EFFORTS, BlockFormat, Formula, Trace
from quantlib.formats.blocks.iquants import IQ2_S, IQ2_XS, IQ2_XXS, IQ3_S, IQ3_XXS
from quantlib.formats.blocks.iquants_ternary import IQ1_M, IQ1_S
from quantlib.formats.blocks.kquants import Q4_K, Q5_K, Q6_K
from quantlib.formats.blocks.legacy import Q4_0, Q4_1, Q5_0, Q5_1, Q8_0
from quantlib.formats.blocks.low_bits import Q1_0, Q2_0
from quantlib.formats.blocks.microscaling import MXFP4, NVFP4
from quantlib.formats.blocks.nonlinear import IQ4_NL, IQ4_XS
from quantlib.formats.blocks.q2_q3 import Q2_K, Q3_K
from quantlib.formats.blocks.ternary import TQ1_0, TQ2_0

BLOCKS = (
    *(Q1_0, Q2_0, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0),
    *(Q2_K, Q3_K, Q4_K, Q5_K, Q6_K),
    *(IQ1_S, IQ1_M, IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S, IQ4_NL, IQ4_XS),
    *(TQ1_0, TQ2_0, MXFP4, NVFP4),
)
ACTIVATIONS = (Q8_1, Q8_K)

__all__ = ["ACTIVATIONS", "BLOCKS", "EFFORTS", "BlockFormat", "Formula", "Trace"]
