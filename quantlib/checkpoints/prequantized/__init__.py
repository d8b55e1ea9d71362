"""Checkpoints whose weights are already quantized: decoded lazily into ordinary tensors under their original names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from quantlib.checkpoints.base import Tensor, shown
from quantlib.checkpoints.prequantized.autoround import autoround
from quantlib.checkpoints.prequantized.beside import beside, unused_scales
from quantlib.checkpoints.prequantized.bitsandbytes import KINDS, STATE, bitsandbytes
from quantlib.checkpoints.prequantized.gptq import awq, gptq, version_note
from quantlib.checkpoints.prequantized.mlx import mlx
from quantlib.checkpoints.prequantized.others import unpacked_by
from quantlib.checkpoints.prequantized.scaled import compressed, fp8, modelopt
from quantlib.checkpoints.prequantized.scheme import Scheme, Undecodable
from quantlib.checkpoints.prequantized.torchao import NAMED, torchao
from quantlib.checkpoints.untrusted import Fields, read_json_if_there

# Suffixes that no weight needs: scales of activations and of the key-value cache.
ACTIVATIONS = (
    "input_scale", "input_zero_point", "input_global_scale", "output_scale", "activation_scale",
    "k_scale", "v_scale", "q_scale", "prob_output_scale",
)  # fmt: skip
SCALED = ("weight", "weight_packed", "weight_scale", "weight_scale_inv", "weight_scale_2", "weight_shape")
GPTQ = Scheme("GPTQ", ("qweight", "qzeros", "scales", "g_idx"), gptq, version_note)
AUTOROUND = Scheme("AutoRound", ("qweight", "qzeros", "scales", "g_idx"), autoround)
MLX = "mlx"  # which its config.json does not name
FP8 = Scheme("FP8", (*SCALED, *ACTIVATIONS), fp8)

# quant_method in config.json -> how its weights are stored.
SCHEMES = {
    "gptq": GPTQ,
    "awq": Scheme("AWQ", ("qweight", "qzeros", "scales"), awq),
    "bitsandbytes": Scheme(
        "bitsandbytes",
        (
            "weight", "weight.absmax", "weight.quant_map", "weight.nested_absmax", "weight.nested_quant_map",
            *(STATE + kind for kind in KINDS), "SCB", "weight_format",
        ),
        bitsandbytes,
    ),
    "compressed-tensors": Scheme(
        "compressed-tensors",
        (*SCALED, "weight_zero_point", "weight_g_idx", "weight_global_scale", *ACTIVATIONS),
        compressed,
    ),
    "fp8": FP8,
    "fbgemm_fp8": FP8,
    "modelopt": Scheme("ModelOpt", (*SCALED, *ACTIVATIONS), modelopt),
    "torchao": Scheme("torchao", NAMED, torchao),
    "auto-round": AUTOROUND,
    "intel/auto-round": AUTOROUND,
    MLX: Scheme("MLX", ("weight", "scales", "biases"), mlx),
}  # fmt: skip


@dataclass(frozen=True)
class Decoded:
    """The tensors of a checkpoint after decoding, what to tell about it, and why it was not decoded, if it was not."""

    tensors: Mapping[str, Tensor]
    warnings: tuple[str, ...] = ()
    refused: str | None = None


def decoded(path: Path, config: Mapping[str, object], tensors: Mapping[str, Tensor]) -> Decoded:
    """The tensors with quantized weights replaced by FP32 ones that are computed when they are read.

    path: of config.json, whose quantization_config says how they are stored. Where that is nothing that is decoded the
    tensors stay as they are, and `refused` says why. Raises CheckpointError where parts contradict each other.
    """
    stated = Fields(path, dict(config)).mapping("quantization_config")
    older = None if stated else read_json_if_there(path.with_name("quantize_config.json"))
    if older is not None:  # where the first tools for GPTQ wrote it
        stated = {"quant_method": "gptq", **older}
    beside_it = path.with_name("hf_quant_config.json")  # where ModelOpt writes it
    if not stated and (newer := read_json_if_there(beside_it)) is not None:
        stated = {**Fields(beside_it, newer).mapping("quantization"), "quant_method": "modelopt"}
    its_own = Fields(path, dict(config)).values.get("quantization")  # where MLX writes it, and in newer files twice
    if isinstance(its_own, dict) and "quant_method" not in stated and "bits" in its_own:
        stated = {**its_own, "quant_method": MLX}
    settings = Fields(path, stated, "in its quantization that ")
    if not settings.values:
        return with_scales_beside(path, tensors)
    method = settings.string("quant_method", "", limit=256)
    scheme = SCHEMES.get(method)
    if scheme is None:
        return _refused(tensors, unpacked_by(method, path.parent))
    try:
        return _taken_apart(path, settings, scheme, tensors)
    except Undecodable as error:
        return _refused(tensors, f"its weights are stored as {error}, which is not decoded")


def _taken_apart(path: Path, settings: Fields, scheme: Scheme, tensors: Mapping[str, Tensor]) -> Decoded:
    """The tensors with those that the scheme knows decoded. Raises Undecodable for a variant that it does not."""
    modules = _modules(tensors, scheme.parts)
    made = scheme.decode(path, settings, modules)
    used = {
        part.name
        for name, parts in modules.items()
        if f"{name}.weight" in made or all(suffix in ACTIVATIONS for suffix in parts)
        for part in parts.values()
    }
    # A tensor takes the place of the first of its parts.
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name not in used:
            out[name] = tensor
            continue
        whole = next((f"{module}.weight" for module in _prefixes(name) if f"{module}.weight" in made), None)
        if whole is not None and whole not in out:
            out[whole] = made[whole]
    note = scheme.note(settings, modules)
    left = {name: tensor for name, tensor in tensors.items() if name not in used}
    return Decoded(out, (*_warnings(scheme.title, len(made), tensors, left), *filter(None, [note])))


def with_scales_beside(path: Path, tensors: Mapping[str, Tensor], stated: object = None) -> Decoded:
    """The tensors of a checkpoint that says nothing of quantization, told by what lies beside the weights.

    Scales beside 8-bit weights are applied, and what describes itself is decoded as its config would say.
    stated: what the header of the file says under beside.NOTES, if it does.
    Raises CheckpointError where a scale does not fit its weight.
    """
    try:
        found = beside(path, tensors, stated)
        scheme = _described(tensors)
        if scheme is not None:
            return _taken_apart(path, Fields(path, {}), scheme, tensors)
    except Undecodable as error:
        return _refused(tensors, f"its weights are stored as {error}, which is not decoded")
    out = {name: found.made.get(name, tensor) for name, tensor in tensors.items() if name not in found.used}
    left = {name: tensor for name, tensor in out.items() if name not in found.made}
    return Decoded(out, _warnings("FP8 with scales beside it", len(found.made), tensors, left))


def _described(tensors: Mapping[str, Tensor]) -> Scheme | None:
    """The scheme whose parts say themselves how they are meant; None where there are none of such.

    Raises Undecodable for packed codes of which only a config could say how they are packed.
    """
    for name, tensor in tensors.items():
        last = name.rpartition(".")[2]
        if STATE.removeprefix("weight.") in name or last == "SCB":
            return SCHEMES["bitsandbytes"]
        if last == "weight_packed":
            return SCHEMES["compressed-tensors"]
        if last == "weight_scale_2" and tensors.get(name.removesuffix("_scale_2"), tensor).format == "U8":
            return SCHEMES["modelopt"]
        if last == "qweight" and tensor.format in ("I32", "I8"):
            raise Undecodable(f"packed codes ({shown(name)}) without the config.json that says how")
    return None


def _warnings(title: str, made: int, tensors: Mapping[str, Tensor], left: Mapping[str, Tensor]) -> tuple[str, ...]:
    """left: the tensors whose place nothing has taken."""
    warnings = []
    if made:
        warnings.append(
            f"The weights are quantized already ({title}, {made:,} of the tensors) and are decoded here: quantizing "
            "them again adds their errors up; start from the original weights where you can."
        )
    if unused := unused_scales(tensors, left):
        warnings.append(
            f"{len(unused):,} scales were not applied to the weights beside them, {shown(unused[0])} the first: it is "
            "not known how they are meant, so those weights are probably wrong."
        )
    return tuple(warnings)


def _refused(tensors: Mapping[str, Tensor], why: str) -> Decoded:
    return Decoded(tensors, (f"The tensors are shown as they are stored: {why}.",), why)


def _prefixes(name: str) -> list[str]:
    """What may be the module of a tensor: all before each of its dots, the longest first."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(len(parts) - 1, 0, -1)]


def _modules(tensors: Mapping[str, Tensor], suffixes: tuple[str, ...]) -> dict[str, dict[str, Tensor]]:
    """Module -> its parts by suffix."""
    out: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        for suffix in suffixes:
            module = name.removesuffix(f".{suffix}")
            if module != name:
                out.setdefault(module, {})[suffix] = tensor
                break
    return out
