"""The parts of an image model are told by names: on the strip of bytes, on the map of formats, in plain words."""

import gzip
import json
import re
from pathlib import Path

import pytest
import synthetic

import quantlib as ql
from quantlib.architectures.diffusion import own_names
from quantlib.architectures.diffusion_parts import NAMES, block_of, part_of
from quantlib.figures import runs, strip
from quantlib.recipes import gloss

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "diffusion"
MODELS = sorted(p for p in GOLDEN.glob("*.json.gz") if not p.name.startswith("edge_"))


def names_of(path: Path) -> list[str]:
    named = own_names([name for name, _ in json.loads(gzip.decompress(path.read_bytes()))["tensors"]])
    return list(named.values())


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.name.removesuffix(".json.gz"))
def test_every_tensor_of_every_model_has_a_part_and_words(path):
    names = names_of(path)
    assert [n for n in names if part_of(n) not in NAMES] == []
    assert [n for n in names if not gloss(n)] == []
    assert {"into the model", "time and guidance", "out of the model"} <= {part_of(n) for n in names}


@pytest.mark.parametrize(
    "name, part, words",
    [
        ("img_in.weight", "into the model", "patch"),
        ("txt_in.weight", "into the model", "prompt"),
        ("time_in.in_layer.weight", "time and guidance", "noise"),
        ("guidance_in.in_layer.weight", "time and guidance", "how closely"),
        ("double_blocks.3.img_mod.lin.weight", "modulation", "modulation"),
        ("double_blocks.3.txt_attn.qkv.weight", "double blocks", "attention"),
        ("double_blocks.3.txt_mlp.2.weight", "double blocks", "writes what the patterns mean"),
        ("single_blocks.7.linear1.weight", "single blocks", "first half of feed-forward"),
        ("model.diffusion_model.final_layer.linear.weight", "out of the model", "back into patches"),
        ("blocks.0.cross_attn.v_img.weight", "blocks", "passes on"),
        ("middle_block.1.transformer_blocks.0.ff.net.2.weight", "blocks", "feed-forward"),
    ],
)  # fmt: skip
def test_parts_and_words(name, part, words):
    assert part_of(name) == part and words in gloss(name)


def test_names_of_a_language_model_are_none():
    demo = ql.open_checkpoint(ROOT / "assets" / "demo_model")
    names = [*demo.tensors, *(t.name for t in ql.plan(demo).tensors), "lm_head.weight"]
    assert [n for n in names if part_of(n) or block_of(n)] == []
    assert gloss("model.layers.3.self_attn.q_proj.weight") == "attention: what each token asks the others for"


def test_the_strip_and_the_map_of_an_image_model(tmp_path):
    case = json.loads(gzip.decompress((GOLDEN / "flux-dev.json.gz").read_bytes()))
    synthetic.save(tmp_path / "m.safetensors", [(name, case["dtype"], shape) for name, shape in case["tensors"]])
    checkpoint = ql.open_checkpoint(tmp_path / "m.safetensors")
    legend = re.findall(r"</i>(.*?) [\d.]+ \w+</span>", strip.strip_svg(checkpoint))
    assert legend[:5] == ["into the model", "time and guidance", "modulation", "double blocks", "single blocks"]
    drawn = runs.format_map(ql.plan(checkpoint, "Q4_K_M"))
    rows = re.findall(r'<text class="name" x="\d+" y="\d+">(.*?)</text>', drawn)
    assert len(rows) < 30 and "double_blocks img_attn.qkv" in rows  # 19 blocks in a row each, not a row for each block
