"""Makes `methods/bitsandbytes.npz` and `methods/llm_int8.npz` again: what bitsandbytes makes of the inputs in them.

    pip install bitsandbytes==0.50.2 torch==2.13.0
    python tests/golden/make_bitsandbytes.py [--check]

W and A, W_f16 and X_f16 are inputs, and so are the largest values of W's blocks: the file keeps the first rows of W
and all of those. Names that end in `_exact` are codes of the nearest entry, which the library's lookup table misses now
and then; they come from the values themselves. --check writes nothing and says whether anything would differ.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from bitsandbytes import functional
from making_again import Arrays, make_again

OPERATIONS = torch.ops.bitsandbytes
DECODED = 1500  # so many values of A, the last ones, are kept as the library decodes them


def nearest(x: torch.Tensor, block: int, absmax: torch.Tensor) -> np.ndarray:
    """Codes of the nearest of the 256 entries; halves between two are computed in float32, and go down."""
    entries = functional.create_dynamic_map()
    halves = (entries[1:] + entries[:-1]) / 2
    scaled = x * (1 / absmax).repeat_interleave(block)[: len(x)]
    return torch.bucketize(scaled, halves).numpy().astype(np.uint8)


def four_bits(given: Arrays) -> Arrays:
    weight = torch.from_numpy(given["W"])
    made: Arrays = {"W": given["W"], "code_dynamic8": functional.create_dynamic_map().numpy()}
    for kind in ("nf4", "fp4"):
        for block in (64, 128):
            packed, state = functional.quantize_4bit(weight, blocksize=block, quant_type=kind)
            made |= {f"{kind}_b{block}_packed": packed.numpy().ravel(), f"code_{kind}": state.code.numpy()}
    for block in (64, 128):
        absmax = torch.from_numpy(given[f"b{block}_absmax"])
        offset = absmax.mean()
        codes, state = functional.quantize_blockwise(absmax - offset, blocksize=256)
        made |= {
            f"b{block}_absmax": absmax.numpy(),
            f"b{block}_dq_offset": offset.numpy(),
            f"b{block}_dq_absmax_u8": codes.numpy(),
            f"b{block}_dq_absmax_u8_exact": nearest(absmax - offset, 256, state.absmax),
            f"b{block}_dq_nested_absmax": state.absmax.numpy(),
            f"b{block}_dq_absmax_deq": (functional.dequantize_blockwise(codes, state) + offset).numpy(),
        }
    for name, dtype in (("f16", torch.float16), ("bf16", torch.bfloat16)):
        packed, state = functional.quantize_4bit(weight.to(dtype), blocksize=64, quant_type="nf4")
        decoded = functional.dequantize_4bit(packed, state).view(torch.int16)
        made |= {
            f"nf4_b64_{name}in_packed": packed.numpy().ravel(),
            f"nf4_b64_{name}in_absmax": state.absmax.float().numpy(),
            f"nf4_b64_{name}in_dequant_bits": decoded.numpy().view(np.uint16),
        }
    return made


def eight_bits(given: Arrays) -> Arrays:
    values = torch.from_numpy(given["A"])
    made: Arrays = {"A": given["A"]}
    for block in (256, 4096):
        codes, state = functional.quantize_blockwise(values, blocksize=block)
        made |= {
            f"b{block}_q": codes.numpy(),
            f"b{block}_q_exact": nearest(values, block, state.absmax),
            f"b{block}_A_absmax": state.absmax.numpy(),
            f"b{block}_A_deq": functional.dequantize_blockwise(codes, state).numpy()[-DECODED:],
        }
    return made


def llm_int8(given: Arrays) -> Arrays:
    weight, x = torch.from_numpy(given["W_f16"]), torch.from_numpy(given["X_f16"])
    codes, largest, _ = functional.int8_vectorwise_quant(weight)
    made: Arrays = {"W_f16": given["W_f16"], "X_f16": given["X_f16"], "CB": codes.numpy(), "SCB": largest.numpy()}
    made["W_deq_f32"] = functional.int8_vectorwise_dequant(codes, largest).numpy()
    for threshold in (0, 6):
        of_x, largest_of_x, columns = functional.int8_vectorwise_quant(x, threshold=float(threshold))
        made |= {f"thr{threshold}_CA": of_x.numpy(), f"thr{threshold}_SCA": largest_of_x.numpy()}
        for name, dtype in (("f16", torch.float16), ("f32in", torch.float32)):
            if threshold:
                made["thr6_cols"] = columns.numpy()
                arguments = (x.to(dtype), of_x, codes, largest_of_x, largest, columns, None)
                product = OPERATIONS.int8_mixed_scaled_mm.default(*arguments)[0]
            else:
                product = OPERATIONS.int8_scaled_mm.default(of_x, codes, largest_of_x, largest, bias=None, dtype=dtype)
            made[f"thr{threshold}_Y_{name}"] = product.numpy()
    return made


MADE = {"bitsandbytes.npz": lambda given: four_bits(given) | eight_bits(given), "llm_int8.npz": llm_int8}

if __name__ == "__main__":
    raise SystemExit(make_again(Path(__file__).with_name("methods"), MADE, check="--check" in sys.argv[1:]))
