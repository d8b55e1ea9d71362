"""Quantized checkpoints whose parts do not fit each other: decoded or refused, never anything else."""

import json

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from quantlib.checkpoints import open_checkpoint
from quantlib.checkpoints.prequantized import SCHEMES
from quantlib.errors import CheckpointError

DTYPES = (np.int32, np.uint8, np.int8, np.float16, np.float32, np.int64, ml_dtypes.float8_e4m3fn, np.bool_)
STATES = (b"{}", b'{"shape": [8, 8]}', b'{"shape": [8, 8], "blocksize": 16}', b"[", b'{"shape": [0, 1]}', b"\xff")
SIZES = (0, 1, 2, 4, 8, 16, 32, 64)
SETTINGS = {
    "bits": (2, 3, 4, 8, 5, -1, "4", None),
    "group_size": (-1, 0, 1, 8, 128, 2**40),
    "checkpoint_format": ("gptq", "gptq_v2", "x", 1),
    "weight_block_size": ([8, 8], [1], [0, 1], "x", None, [2**40, 1]),
    "version": ("gemm", "GEMM", 0),
    "sparsity_config": ({}, {"format": "sparse-24"}, []),
}


def drawn(rng: np.random.Generator, values: tuple) -> object:
    return values[rng.integers(0, len(values))]


def part(rng: np.random.Generator, suffix: str) -> np.ndarray:
    if "quant_state" in suffix:
        return np.frombuffer(drawn(rng, STATES), np.uint8)
    shape = tuple(int(drawn(rng, SIZES)) for _ in range(rng.integers(0, 4)))
    if "shape" in suffix and rng.random() < 0.7:
        return rng.integers(0, 20, rng.integers(1, 4)).astype(np.int64)
    return rng.integers(0, 256, shape).astype(drawn(rng, DTYPES))


def valid(rng: np.random.Generator) -> dict[str, tuple[str, dict[str, np.ndarray]]]:
    """One good module of each kind: its method and its parts."""

    def words(*shape: int) -> np.ndarray:
        return rng.integers(-(2**31), 2**31, shape).astype(np.int32)

    def floats(*shape: int, dtype=np.float16) -> np.ndarray:
        return rng.random(shape).astype(dtype)

    def octets(*shape: int, dtype=np.uint8) -> np.ndarray:
        return rng.integers(0, 100, shape).astype(dtype)

    f8, f32 = ml_dtypes.float8_e4m3fn, np.float32
    state = b'{"shape": [8, 64], "blocksize": 16, "nested_blocksize": 16}'
    order = np.repeat(np.arange(2), 32).astype(np.int32)
    gptq = {"qweight": words(8, 32), "qzeros": words(2, 4), "scales": floats(2, 32), "g_idx": order}
    awq = {"qweight": words(64, 4), "qzeros": words(2, 4), "scales": floats(2, 32)}
    nf4 = {
        "weight": octets(256, 1), "weight.absmax": octets(32), "weight.quant_map": floats(16, dtype=f32),
        "weight.nested_absmax": floats(2, dtype=f32), "weight.nested_quant_map": floats(256, dtype=f32),
        "weight.quant_state.bitsandbytes__nf4": np.frombuffer(state, np.uint8),
    }  # fmt: skip
    packed = {
        "weight_packed": words(16, 8), "weight_scale": floats(16, 2), "weight_shape": np.array([16, 64]),
        "weight_zero_point": words(2, 2), "weight_g_idx": order,
    }  # fmt: skip
    four = {
        "weight_packed": octets(8, 16),
        "weight_scale": octets(8, 2, dtype=f8),
        "weight_global_scale": floats(1, dtype=f32),
    }
    both = {"weight": octets(8, 16), "weight_scale": octets(8, 2, dtype=f8), "weight_scale_2": floats(1)}
    eight = {
        "weight": octets(8, 16, dtype=np.int8),
        "weight_scale": floats(8, 1),
        "weight_zero_point": octets(8, 1, dtype=np.int8),
    }
    return {
        "gptq": ("gptq", gptq),
        "awq": ("awq", awq),
        "nf4": ("bitsandbytes", nf4),
        "int8": ("bitsandbytes", {"weight": octets(8, 8, dtype=np.int8), "SCB": floats(8, dtype=f32)}),
        "packed": ("compressed-tensors", packed),
        "nvfp4": ("compressed-tensors", four),
        "scaled": ("compressed-tensors", eight),
        "fp8": ("fp8", {"weight": octets(16, 16, dtype=f8), "weight_scale_inv": floats(2, 2, dtype=f32)}),
        "modelopt": ("modelopt", both),
    }  # fmt: skip


def check(folder, parts: dict[str, np.ndarray], settings: dict) -> list[str]:
    """Opens and reads it all: the sentence of a refusal, or none."""
    save_file({f"m.{suffix}": np.ascontiguousarray(x) for suffix, x in parts.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"quantization_config": settings}))
    try:
        with open_checkpoint(folder) as checkpoint:
            for tensor in checkpoint:
                if tensor.decodable:
                    assert tensor.rows().shape == (tensor.nrows, tensor.n)
    except CheckpointError as error:
        assert str(error).isprintable() and str(error).endswith(".")
        return [str(error)]
    except Exception as error:
        shapes = {suffix: (x.dtype, x.shape) for suffix, x in parts.items()}
        raise AssertionError(f"{settings}, {shapes}") from error
    return []


@pytest.mark.parametrize("kind", valid(np.random.default_rng(0)))
def test_a_part_changed_in_any_way_is_decoded_or_refused(tmp_path, kind):
    rng = np.random.default_rng(1)
    method, good = valid(rng)[kind]
    settings = {"quant_method": method, "bits": 4, "group_size": 32} | (
        {"weight_block_size": [8, 8]} if kind == "fp8" else {}
    )
    assert check(tmp_path, good, settings) == []
    refusals = []
    for _ in range(60):
        which = drawn(rng, tuple(good))
        x, how = good[which], rng.integers(0, 5)
        new = (
            part(rng, which),
            x.reshape(-1)[: rng.integers(0, x.size + 1)],
            x.astype(np.float32).astype(drawn(rng, DTYPES)),
            np.concatenate([x, x]) if x.ndim else x,
            x[..., :0] if x.ndim else x,
        )[how]
        refusals += check(tmp_path, good | {which: new}, settings)
    assert len(refusals) > 20


@pytest.mark.parametrize("method", SCHEMES)
def test_parts_of_any_kind_are_decoded_or_refused(tmp_path, method):
    rng = np.random.default_rng(0)
    for _ in range(100):
        kept = [suffix for suffix in SCHEMES[method].parts if rng.random() < 0.7]
        settings = {key: drawn(rng, values) for key, values in SETTINGS.items() if rng.random() < 0.5}
        check(tmp_path, {suffix: part(rng, suffix) for suffix in kept}, {"quant_method": method} | settings)
