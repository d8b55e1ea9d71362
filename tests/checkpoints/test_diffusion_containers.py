"""Image models come as single files, folders of shards, parts of pipelines and nameless GGUF files: all are opened."""

import json

import numpy as np
import pytest
import synthetic
from safetensors.numpy import save_file

import quantlib as ql
from quantlib.architectures.diffusion import BY_NAME, FAMILIES, OTHER_LAYOUT, UNPACKED_FAST
from quantlib.checkpoints import MetadataValue
from quantlib.checkpoints.gguf_writer import write_gguf
from quantlib.errors import CheckpointError

STEM = "diffusion_pytorch_model"
MATRIX = [256, 256]


def names_of(family) -> list[str]:
    """The fewest tensors that tell a family, and one beside them."""
    return [*sorted(family.told_by[0]), "blocks.7.attn.to_v.weight"]


def save(path, names, dtype="BF16", shape=MATRIX):
    path.parent.mkdir(parents=True, exist_ok=True)
    synthetic.save(path, [(name, dtype, shape) for name in names])
    return path


def quantized(source, folder, recipe="Q8_0") -> ql.Checkpoint:
    ql.run(ql.plan(ql.open_checkpoint(source), recipe), folder / "out.gguf")
    return ql.open_checkpoint(folder / "out.gguf")


def single(folder, names):
    return save(folder / "model.safetensors", names)


def beside_a_config(folder, names):
    path = save(folder / f"{STEM}.safetensors", names)
    (folder / "config.json").write_text('{"_class_name": "AnyModel"}')
    return path


def part(folder, names):
    beside_a_config(folder, names)
    return folder


def variant(folder, names):
    part(folder, names)
    (folder / f"{STEM}.safetensors").rename(folder / f"{STEM}.fp16.safetensors")
    return folder


def loose(folder, names):
    """Numbered shards alone, without an index and a config.json."""
    for number in (1, 2):
        save(folder / f"model-{number:05}-of-00002.safetensors", names[number - 1 :: 2])
    return folder


def sharded(folder, names):
    shards = {name: f"{STEM}-{i % 2 + 1:05}-of-00002.safetensors" for i, name in enumerate(names)}
    for shard in set(shards.values()):
        save(folder / shard, [name for name in names if shards[name] == shard])
    (folder / f"{STEM}.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    (folder / "config.json").write_text('{"_class_name": "AnyModel"}')
    return folder


def pipeline(folder, names):
    sharded(folder / "transformer", names)
    (folder / "model_index.json").write_text('{"_class_name": "AnyPipeline"}')
    return folder


def beside_another_model(folder, names):
    """Downloads of two models in one folder."""
    (folder / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    return save(folder / "model.safetensors", names)


CONTAINERS = (single, beside_a_config, part, variant, loose, sharded, pipeline, beside_another_model)


@pytest.mark.parametrize(
    "family, container",
    [(family, pipeline) for family in FAMILIES] + [(BY_NAME["qwen_image"], container) for container in CONTAINERS],
    ids=lambda value: getattr(value, "name", None) or value.__name__,
)
def test_every_family_and_every_container(family, container, tmp_path):
    names = names_of(family)
    file = quantized(container(tmp_path, names), tmp_path)
    assert file.architecture == family.name and set(file.tensors) == set(names)
    assert file.tensors[names[-1]].format == "Q8_0"
    assert all(t.format in ("BF16", "FP32") for t in file if family.keeps(t.name))


@pytest.mark.parametrize("named, family", [(None, "wan"), ("pig", "flux"), ("cow", "sdxl")])
def test_a_gguf_file_that_names_no_family(family, named, tmp_path):
    family = BY_NAME[family]
    names = names_of(family)
    metadata = {} if named is None else {"general.architecture": MetadataValue("string", named)}
    values = np.linspace(-1, 1, 256 * 256, dtype=np.float32).reshape(256, 256).astype(np.float16)
    prefix = "model.diffusion_model." if named is None else ""
    with open(tmp_path / "in.gguf", "wb") as out:
        write_gguf(out, metadata, [((prefix + name, (256, 256), "FP16"), [values]) for name in names])
    file = quantized(tmp_path / "in.gguf", tmp_path)
    assert file.architecture == family.name and set(file.tensors) == set(names)


def test_a_nameless_gguf_file_of_something_else_stays_what_it_is(tmp_path):
    with open(tmp_path / "in.gguf", "wb") as out:
        write_gguf(out, {}, [(("a.weight", (256, 256), "FP32"), [np.ones((256, 256), np.float32)])])
    file = quantized(tmp_path / "in.gguf", tmp_path)
    assert file.architecture is None and file.tensors["a.weight"].format == "Q8_0"


@pytest.mark.parametrize("name", OTHER_LAYOUT)
def test_other_layouts_are_named(name, tmp_path):
    save(tmp_path / "model.safetensors", [name])
    with pytest.raises(CheckpointError, match=f"holds {OTHER_LAYOUT[name]} in the layout of the Diffusers library"):
        ql.plan(ql.open_checkpoint(tmp_path / "model.safetensors"))


@pytest.mark.parametrize(
    "part_name, words", [("AutoencoderKL", "nothing to quantize"), ("SomeNewModel", "'SomeNewModel' in the layout")]
)
def test_parts_that_are_not_known_are_named(part_name, words, tmp_path):
    save(tmp_path / f"{STEM}.safetensors", ["encoder.conv_in.weight"])
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": part_name}))
    with pytest.raises(CheckpointError, match=words):
        ql.plan(ql.open_checkpoint(tmp_path))


def test_a_shard_alone_is_no_model(tmp_path):
    shard = sharded(tmp_path, names_of(BY_NAME["flux"])) / f"{STEM}-00001-of-00002.safetensors"
    with pytest.raises(CheckpointError, match="one of 2 shards"):
        ql.plan(ql.open_checkpoint(shard))


# What the loader does not unpack: parameters that are no layer's weight, and convolutions over one or three dimensions.
ALONE = {
    "sd3": [("pos_embed", [1, 64, 256])],
    "aura": [("positional_encoding", [1, 64, 256]), ("register_tokens", [1, 8, 256])],
    "hyvid": [("cond_type_embedding.weight", [8, 256]), ("img_in.proj.weight", [8, 16, 1, 2, 2])],
    "wan": [
        ("img_emb.emb_pos", [1, 8, 256]), ("blocks.0.modulation", [1, 6, 256]), ("head.modulation", [1, 2, 1024]),
        ("face_encoder.padding_tokens", [1, 1, 1, 2048]), ("face_encoder.conv2.conv.weight", [64, 64, 3]),
        ("motion_encoder.enc.fc.0.weight", MATRIX), ("vace_patch_embedding.weight", [8, 16, 1, 2, 2]),
        ("motion_encoder.enc.net_app.convs.1.conv1.0.weight", [32, 32, 3, 3]), ("trainable_cond_mask.weight", [8, 256]),
    ],
    "ltxv": [("scale_shift_table_a2v_ca_audio", [8, 256]), ("audio_embeddings_connector.learnable_registers", MATRIX)],
    "lumina2": [("x_pad_token", [1, 2048]), ("cap_pad_token", [1, 2048])],
    "hidream": [("double_stream_blocks.0.block.ff_i.gate.weight", [8, 256]), ("img_emb.emb_pos", [1, 8, 256])],
    "cosmos": [("pos_embedder.seq", [2048])],
}  # fmt: skip


@pytest.mark.parametrize("source", ["BF16", "F16", "F32"])
@pytest.mark.parametrize("family", ALONE)
def test_what_no_layer_unpacks_is_stored_as_floats_that_need_no_unpacking(family, source, tmp_path):
    names = [(name, source, MATRIX) for name in names_of(BY_NAME[family])]
    alone = [(name, source, shape) for name, shape in ALONE[family]]
    names = [entry for entry in names if entry[0] not in dict(ALONE[family])]
    synthetic.save(tmp_path / "m.safetensors", names + alone)
    file = quantized(tmp_path / "m.safetensors", tmp_path, "Q4_K_S")
    assert {file.tensors[name].format for name, _, _ in alone} <= {"FP16", "FP32"}
    assert [list(file.tensors[name].shape) for name, _, _ in alone] == [shape for _, _, shape in alone]


def test_a_dropped_state_is_left_out(tmp_path):
    extra = ["blocks.0._extra_state", "net.accum_video_sample_counter"]
    save(tmp_path / "m.safetensors", names_of(BY_NAME["cosmos"]) + extra)
    assert not set(extra) & set(quantized(tmp_path / "m.safetensors", tmp_path).tensors)


def test_the_adapter_of_a_text_model_is_kept_whole(tmp_path):
    name = "llm_adapter.blocks.0.cross_attn.q_proj.weight"
    save(tmp_path / "m.safetensors", [*names_of(BY_NAME["cosmos"]), name])
    assert quantized(tmp_path / "m.safetensors", tmp_path).tensors[name].format == "BF16"


def test_the_settings_that_a_loader_needs_go_along(tmp_path):
    ltx2 = sorted(BY_NAME["ltxv"].told_by[1])
    arrays = {name: np.ones((8, 256), np.float16) for name in ltx2}
    save_file(arrays, tmp_path / "m.safetensors", metadata={"config": '{"transformer": {}}'})
    assert quantized(tmp_path / "m.safetensors", tmp_path).value("config") == '{"transformer": {}}'


def test_slow_formats_are_said_and_budgets_leave_them(tmp_path):
    checkpoint = ql.open_checkpoint(save(tmp_path / "m.safetensors", names_of(BY_NAME["flux"])))
    assert any("IQ3_S" in w and "many times slower" in w for w in ql.plan(checkpoint, "IQ3_S").warnings)
    assert not any("slower" in w for w in ql.plan(checkpoint, "IQ4_XS").warnings)
    budget = ql.plan(checkpoint, "auto:4.3bpw")
    assert {t.target for t in budget.tensors} <= set(UNPACKED_FAST)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_codes_of_other_methods_are_refused_by_name(dtype, tmp_path):
    arrays = {name: np.ones((32, 256), np.float16) for name in BY_NAME["flux"].told_by[0]}
    packed = {"single_blocks.0.linear1.weight": np.ones((4096, 1), dtype)}
    save_file(arrays | packed, tmp_path / "m.safetensors")
    with pytest.raises(CheckpointError, match=r"'single_blocks\.0\.linear1\.weight' as integers"):
        ql.plan(ql.open_checkpoint(tmp_path / "m.safetensors"))


@pytest.mark.parametrize(
    "stated, words",
    [
        ('{"layers": {"img_in": {"format": "float8_e4m3fn"}}}', None),
        ('{"layers": {"img_in": {"format": "nvfp4"}}}', "nvfp4"),
        ('{"layers": {"img_in": {"format": "mxfp8"}}}', "mxfp8"),
        ('{"layers": 3}', "cannot be read"),
        ("not JSON", "cannot be read"),
    ],
)
def test_what_a_header_says_of_its_format_is_heeded(stated, words, tmp_path):
    arrays = {name: np.ones((32, 256), np.float16) for name in BY_NAME["flux"].told_by[0]}
    save_file(arrays, tmp_path / "m.safetensors", metadata={"_quantization_metadata": stated})
    if words is None:
        assert ql.plan(ql.open_checkpoint(tmp_path / "m.safetensors")).tensors
    else:
        with pytest.raises(CheckpointError, match=words):
            ql.plan(ql.open_checkpoint(tmp_path / "m.safetensors"))


def test_a_shard_that_is_not_there_is_named(tmp_path):
    loose(tmp_path, names_of(BY_NAME["flux"]))
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"lacks one of them, 'model-00002-of-00002\.safetensors'"):
        ql.open_checkpoint(tmp_path)
