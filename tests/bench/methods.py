"""How long the methods take on one large layer, all cores: python tests/bench/methods.py [inputs] [outputs].

Prints seconds and the layer's output error as a share of that of round to nearest on the same grid.
"""

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from quantlib.formats import IntegerFormat
from quantlib.methods.gptq import Settings, gptq
from quantlib.methods.grids import IntegerGrids
from quantlib.methods.hessian import Gram, output_error
from quantlib.methods.rtn import PerGroup, round_to_nearest

TOKENS = 4096


def layer(inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """A heavy-tailed weight, and activations with correlated channels of different size."""
    rng = np.random.default_rng(0)
    weight = (rng.standard_t(5, (outputs, inputs)) * 0.02).astype(np.float32)
    shared = rng.standard_normal((TOKENS, 64)).astype(np.float32) @ rng.standard_normal((64, inputs)).astype(np.float32)
    x = rng.standard_normal((TOKENS, inputs)).astype(np.float32) + shared / 8
    return weight, x * np.exp(rng.standard_normal(inputs)).astype(np.float32)


def main() -> None:
    inputs, outputs = (int(text) for text in (*sys.argv[1:], 4096, 4096)[:2])
    weight, x = layer(inputs, outputs)
    form = IntegerFormat(4, symmetric=False)
    grids = IntegerGrids(form, 128)
    gptq(weight[:8], Gram.of(x).hessian, grids)  # compiles
    start = time.perf_counter()
    hessian = Gram.of(x).hessian
    print(f"Hessian of {TOKENS} tokens: {time.perf_counter() - start:.1f} s")
    nearest = output_error(weight - round_to_nearest(weight, form, PerGroup(128)).decoded, hessian)
    for act_order in (False, True):
        start = time.perf_counter()
        done = gptq(weight, hessian, grids, Settings(act_order=act_order))
        seconds = time.perf_counter() - start
        share = output_error(weight - done.dequantized(), hessian) / nearest
        order = ", act-order" if act_order else ""
        print(f"GPTQ of {outputs} × {inputs}, 4 bits, groups of 128{order}: {seconds:.1f} s, error {share:.3f}")


if __name__ == "__main__":
    main()
