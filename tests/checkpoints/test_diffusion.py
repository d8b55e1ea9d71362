"""Image and video models become the files that ComfyUI-GGUF's own tools write: names, shapes, formats, keys, bytes."""

import gzip
import hashlib
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import synthetic
from safetensors.numpy import save_file

import quantlib as ql
from quantlib.architectures.diffusion import BY_NAME, FAMILIES, ORIGINAL_SHAPE, family_of, own_names
from quantlib.errors import CheckpointError
from quantlib.recipes.diffusion import MIXTURES

GOLDEN = Path(__file__).parents[1] / "golden" / "diffusion"
MODELS = sorted(p.name.removesuffix(".json.gz") for p in GOLDEN.glob("*.json.gz") if not p.name.startswith("edge_"))
EDGES = sorted(p.name.removesuffix(".json.gz") for p in GOLDEN.glob("edge_*.json.gz"))
RECIPES = (
    "Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_0", "Q4_1", "Q4_K_S", "Q4_K_M", "Q5_0", "Q5_1", "Q5_K_S", "Q5_K_M",
    "Q6_K", "Q8_0",
)  # fmt: skip
SHORT = {"FP32": "F32", "FP16": "F16"}


@cache
def golden(name: str) -> dict:
    return json.loads(gzip.decompress((GOLDEN / f"{name}.json.gz").read_bytes()))


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """The checkpoint of a model or an edge case, made once."""
    folder = tmp_path_factory.mktemp("diffusion")

    @cache
    def of(name: str) -> ql.Checkpoint:
        case, path = golden(name), folder / f"{name}.safetensors"
        if "source" in case:
            tensors, prefix = case["source"], "model.diffusion_model." if "sd1.5" in name else ""
        else:
            tensors, prefix = [(name, case["dtype"], shape) for name, shape in case["tensors"]], ""
        synthetic.save(path, [(n, d, s) for n, d, s in tensors], prefix)
        return ql.open_checkpoint(path)

    return of


@pytest.mark.parametrize("recipe", (*RECIPES, "intermediate"))
@pytest.mark.parametrize("model", MODELS)
def test_every_tensor_gets_the_format_of_the_real_tools(opened, model, recipe):
    case = golden(model)
    made = ql.plan(opened(model), recipe=case["dtype"] if recipe == "intermediate" else recipe)
    assert [t.name for t in made.tensors] == case["order"]
    expected = [case["formats"][ord(letter) - ord("A")] for letter in case["plan"][recipe]]
    assert [SHORT.get(t.target, t.target) for t in made.tensors] == expected


def written(checkpoint: ql.Checkpoint, recipe: str, path: Path) -> ql.Checkpoint:
    ql.run(ql.plan(checkpoint, recipe=recipe), path)
    return ql.open_checkpoint(path)


def fingerprint(tensor: ql.Tensor) -> str:
    return hashlib.sha256(tensor.raw().tobytes()).hexdigest()[:16]


@pytest.mark.parametrize("recipe", ["Q4_K_M", "Q2_K"])
@pytest.mark.parametrize("model", MODELS)
def test_the_file_is_that_of_the_real_tools(opened, model, recipe, tmp_path):
    case = golden(model)
    file = written(opened(model), recipe, tmp_path / "out.gguf")
    assert list(file.tensors) == case["order"]
    assert [list(t.shape) for t in file] == case["shapes"]
    assert "".join(fingerprint(t) for t in file) == case["sha256"][recipe]
    keys = {key: value.value for key, value in file.metadata.items()}
    shapes = {key.removeprefix(ORIGINAL_SHAPE): list(keys.pop(key)) for key in list(keys) if ORIGINAL_SHAPE in key}
    assert shapes == case["original_shapes"]
    assert keys == {
        "general.architecture": case["architecture"],
        "general.quantization_version": 2,
        "general.file_type": case["file_type"][recipe],
    }
    kinds = {value.type for key, value in file.metadata.items() if ORIGINAL_SHAPE in key}
    assert kinds <= {"array[int32]"}  # the loader refuses other integers


@pytest.mark.parametrize("recipe", ["Q4_K_M", "Q5_1"])
@pytest.mark.parametrize("case", [name for name in EDGES if "recipes" in golden(name) and "scaled" not in name])
def test_edge_cases_are_those_of_the_real_tools(opened, case, recipe, tmp_path):
    file = written(opened(case), recipe, tmp_path / "out.gguf")
    found = [[t.name, list(t.shape), SHORT.get(t.format, t.format), fingerprint(t)] for t in file]
    # The real tools write a tensor of five dimensions in a second step, at another place of the file.
    assert sorted(found) == sorted(golden(case)["recipes"][recipe])


def save_scaled(case: dict, path: Path) -> None:
    """Matrices of 8-bit floats, beside each the number that it is multiplied with, and an empty marker."""
    arrays = {}
    for name, dtype, shape in case["source"]:
        module, _, last = name.rpartition(".")
        if last == "scale_weight":
            arrays[name] = np.array(case["scales"][name], np.uint32).view(np.float32)
        elif last in ("scale_input", "scaled_fp8"):
            arrays[name] = np.ones(shape, synthetic.DTYPES[dtype])
        else:
            scale = np.uint32(case["scales"].get(f"{module}.scale_weight", 0)).view(np.float32)
            x = synthetic.values(name, shape)
            arrays[name] = (x / scale if last == "weight" and scale else x).astype(synthetic.DTYPES[dtype])
    save_file(arrays, path)


@pytest.mark.parametrize("recipe", ["Q4_K_M", "Q5_1"])
def test_scaled_8_bit_weights_give_the_file_of_the_same_weights_in_32_bits(recipe, tmp_path):
    """The real tools lose the scales; the golden file is theirs of the weights that were multiplied beforehand."""
    case = golden("edge_flux-fp8-scaled-empty-marker")
    save_scaled(case, tmp_path / "scaled.safetensors")
    file = written(ql.open_checkpoint(tmp_path / "scaled.safetensors"), recipe, tmp_path / "out.gguf")
    found = [[t.name, list(t.shape), SHORT.get(t.format, t.format), fingerprint(t)] for t in file]
    assert sorted(found) == sorted(case["recipes"][recipe])


def test_the_layout_of_the_diffusers_library_is_refused(opened):
    with pytest.raises(CheckpointError, match="layout of the Diffusers library"):
        ql.plan(opened("edge_flux-diffusers-layout"))


def test_a_language_model_is_none(opened):
    assert family_of(own_names(opened("edge_llm-not-a-diffusion-model").tensors).values()) is None


def test_other_tensors_of_a_whole_checkpoint_are_left_out_and_said(opened):
    made = ql.plan(opened("edge_sd1.5-full-checkpoint-f16"), "Q8_0")
    assert any("left out" in warning for warning in made.warnings)
    assert not any(t.name.startswith(("first_stage_model", "cond_stage_model")) for t in made.tensors)


@pytest.mark.parametrize("prefix", ["model.diffusion_model.", "model.", "net."])
def test_a_prefix_is_taken_off(prefix):
    names = {f"{prefix}double_blocks.0.img_attn.proj.weight", f"{prefix}img_in.weight"}
    assert set(own_names(names).values()) == {"double_blocks.0.img_attn.proj.weight", "img_in.weight"}
    assert family_of(own_names(names).values()).name == "flux"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_a_family_is_told_by_each_of_its_groups(family):
    assert BY_NAME[family.name] is family
    for group in family.told_by:
        assert family_of(group) is family


def test_a_video_model_with_new_names_is_not_taken_for_an_image_model():
    names = {
        "double_blocks.0.img_attn.proj.weight",
        "txt_in.individual_token_refiner.blocks.0.self_attn.qkv.weight",
    }
    assert family_of(names).name == "hyvid"


def test_every_mixture_is_one_of_a_recipe():
    assert set(MIXTURES) <= set(RECIPES)


def test_a_grid_format_falls_back_to_a_block_that_fits(opened):
    made = ql.plan(opened("sd3.5-medium"), "IQ4_XS")
    targets = {t.target for t in made.tensors if t.shape[-1] % 256 and t.target.startswith(("IQ", "FP"))}
    assert "IQ4_XS" not in targets
    assert not made.lacking


def test_a_budget_is_kept(opened):
    made = ql.plan(opened("lumina-image-2.0"), "auto:9bpw")
    assert made.bpw <= 9 and len({t.target for t in made.tensors}) > 2
    kept = [t for t in made.tensors if BY_NAME["lumina2"].keeps(t.name)]
    assert kept and all(t.target in ("BF16", "FP32") for t in kept)


def test_a_gguf_file_of_an_image_model_is_quantized_by_the_same_rules(opened, tmp_path):
    """A GGUF file of floats to a recipe: the same file as from the safetensors file."""
    checkpoint = opened("wan2.1-t2v-1.3B")
    half = written(checkpoint, golden("wan2.1-t2v-1.3B")["dtype"], tmp_path / "half.gguf")
    again, direct = (
        written(half, "Q4_K_S", tmp_path / "again.gguf"),
        written(checkpoint, "Q4_K_S", tmp_path / "one.gguf"),
    )
    assert [(t.name, t.shape, t.format, fingerprint(t)) for t in again] == [
        (t.name, t.shape, t.format, fingerprint(t)) for t in direct
    ]
