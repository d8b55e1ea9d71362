"""Ways of quantizing that are not decoded here: what they are, and what to take instead."""

from __future__ import annotations

from pathlib import Path

from quantlib.checkpoints.base import shown

# quant_method in config.json -> what it is.
OTHERS = {
    "exl2": "EXL2, codes of mixed widths that only ExLlamaV2 unpacks",
    "exl3": "EXL3, trellis codes that only ExLlamaV3 unpacks",
    "aqlm": "AQLM, sums of codebook vectors that only its own kernels unpack",
    "hqq": "HQQ, half-quadratic codes that the package hqq unpacks",
    "vptq": "VPTQ, codebook vectors that only its own kernels unpack",
    "quip": "QuIP#, lattice codes that only its own kernels unpack",
    "higgs": "HIGGS, codebook vectors that only its own kernels unpack",
    "spqr": "SpQR, codes with outliers beside them that only its own kernels unpack",
    "eetq": "EETQ, 8-bit codes in an order that only its own kernels read",
    "quanto": "Quanto, whose package optimum-quanto unpacks them",
    "quark": "Quark, AMD's formats",
    "fp_quant": "FP-Quant, 4-bit floats that are rotated",
    "bitnet": "BitNet, three levels packed for its own kernels",
    "mxfp4": "MXFP4, which is kept as it is for the architectures that come so",
}


def unpacked_by(method: str, folder: Path) -> str:
    """Why a checkpoint of this quant_method is shown as it is stored: part of a sentence, with the original's name."""
    how = OTHERS.get(method) or (shown(method) if method else "a method that it does not name")
    return f"its weights are quantized by {how}, which is not decoded{original_of(folder)}"


def original_of(folder: Path) -> str:
    """The model that it was made from, where its card names it: the end of a sentence, or nothing."""
    from quantlib.checkpoints.convert.model_card import read_card

    base = read_card(folder).get("base_model")
    first = base[0] if isinstance(base, list) and base else base
    if not isinstance(first, str) or not first.isprintable() or len(first) > 200:
        return ""
    return f" (its card says that it was made from {shown(first)})"
