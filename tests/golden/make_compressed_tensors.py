"""Makes `methods/compressed_tensors.npz` again: what compressed-tensors makes of W in groups of 128, and by rows.

    pip install compressed-tensors==0.20.0 torch==2.13.0
    python tests/golden/make_compressed_tensors.py [--check]

--check writes nothing and says whether anything would differ.
"""

import sys
from pathlib import Path

import torch
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.lifecycle.forward import dequantize, quantize
from compressed_tensors.quantization.utils import calculate_qparams
from making_again import Arrays, make_again

GROUP = 128
DECODED = 4  # so many rows are kept as the library decodes them


def quantized(weight: torch.Tensor, size: int, dtype: torch.dtype, **said) -> tuple[torch.Tensor, ...]:
    """Codes, scales and zeros of groups of this size, and what they decode to."""
    strategy = {"strategy": "channel"} if size == weight.shape[1] else {"strategy": "group", "group_size": size}
    args = QuantizationArgs(**said, **strategy)
    groups = weight.reshape(len(weight), -1, size)
    scale, zero = calculate_qparams(groups.amin(-1), groups.amax(-1), args)
    codes = quantize(weight, scale, zero, args, dtype=dtype)
    return codes, scale, zero, dequantize(codes, scale, zero, args)


def compressed_tensors(given: Arrays) -> Arrays:
    weight = torch.from_numpy(given["W"])
    made: Arrays = {"W": given["W"]}
    for bits, symmetric in ((4, True), (8, True), (3, True), (4, False)):
        codes, scale, zero, decoded = quantized(weight, GROUP, torch.int8, num_bits=bits, symmetric=symmetric)
        name = f"w{bits}a16_{'sym' if symmetric else 'asym'}"
        made |= {
            f"{name}_scale": scale.numpy(),
            f"{name}_packed": pack_to_int32(codes, bits).numpy(),
            f"{name}_decompressed": decoded[:DECODED].numpy(),
        }
        if not symmetric:
            made[f"{name}_zero"] = pack_to_int32(zero.to(torch.int8), bits, packed_dim=0).numpy()
    width = weight.shape[1]
    codes, scale, *_ = quantized(weight, width, torch.int8, num_bits=8, symmetric=True)
    made |= {"int8_scale": scale.numpy(), "int8_weight": codes.numpy()}
    codes, scale, *_ = quantized(weight, width, torch.float8_e4m3fn, num_bits=8, symmetric=True, type="float")
    return made | {"fp8_scale": scale.numpy(), "fp8_weight": codes.view(torch.uint8).numpy()}


if __name__ == "__main__":
    makers = {"compressed_tensors.npz": compressed_tensors}
    raise SystemExit(make_again(Path(__file__).with_name("methods"), makers, check="--check" in sys.argv[1:]))
