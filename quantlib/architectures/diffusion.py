"""Families of image and video models, each a value: what tells it, what stays as it is, what must be 32-bit floats.

These files keep the names of the original checkpoint; `general.architecture` is what ComfyUI-GGUF's loader expects.
Source: city96/ComfyUI-GGUF, branch auto_convert, tools/convert.py and its patch of llama.cpp, by what they do.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

ORIGINAL_SHAPE = (
    "comfy.gguf.orig_shape."  # a key for each tensor that is stored in another shape: int32, as torch has it
)
SMALL = 1024  # a tensor of so many values is kept in 32-bit floats
FOLDED = 256  # columns of a convolution that is stored as a matrix
LEAST_FOLDED = 512  # values of the smallest one
MAX_NAME, MAX_DIMS = 127, 5  # of a tensor, as this loader reads them
# What its layers unpack as they multiply. Every other format is unpacked by numpy on the processor, at each use.
UNPACKED_FAST = (
    "FP32", "FP16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL",
    "IQ4_XS",
)  # fmt: skip
# What some files say in place of an architecture, or nothing: the loader then tells the family by the names.
UNNAMED = (None, "pig", "cow")
# The float format of what is not quantized, by that of its source; FP32 for all others.
SIXTEEN = {"BF16": "BF16", "FP16": "FP16", "FP8_E4M3": "FP16", "FP8_E5M2": "FP16"}


@dataclass(frozen=True)
class Family:
    """One family of diffusion models.

    name: GGUF's general.architecture. told_by: groups of names; a checkpoint that has all of a group is of the family.
    kept: parts of names that no recipe touches. kept_names: whole names. in_32: parts of names of weights that the
    loader does not unpack, so that they are floats that need none. dropped: parts of names that are left out.
    folds: whether convolutions are stored as matrices of 256 columns, so that they can be quantized.
    careful: parts of names of layers that get more bits than the recipe's default.
    """

    name: str
    title: str
    told_by: tuple[frozenset[str], ...]
    kept: tuple[str, ...] = ()
    kept_names: frozenset[str] = frozenset()
    in_32: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    folds: bool = False
    careful: tuple[str, ...] = ()

    def tells(self, names: Collection[str]) -> bool:
        return any(group <= set(names) for group in self.told_by)

    def keeps(self, name: str) -> bool:
        """Whether no recipe touches this tensor."""
        return name in self.kept_names or any(part in name for part in self.kept)

    def drops(self, name: str) -> bool:
        return any(part in name for part in self.dropped)

    def quantizes(self, name: str, shape: Sequence[int]) -> bool:
        """Whether recipes choose a format for this tensor: a matrix named `...weight`, no norm, and not kept."""
        dimensions = len(shape)
        while dimensions and shape[len(shape) - dimensions] == 1:
            dimensions -= 1
        return dimensions == 2 and name.endswith("weight") and "_norm.weight" not in name and not self.keeps(name)

    def stored_as(self, name: str, shape: Sequence[int], format: str) -> str:
        """The float format of a tensor that is not quantized, by the format of its source.

        The loader unpacks BF16 where a layer multiplies with it or convolves over two dimensions: the rest is FP32.
        """
        if len(shape) > 4:
            return "FP32"  # the loader unpacks no convolution over three dimensions
        half = SIXTEEN.get(format, "FP32")
        small = len(shape) < 2 or prod(shape) <= SMALL
        layer = name.endswith(".weight") and len(shape) in (2, 4) and not any(part in name for part in self.in_32)
        return "FP32" if half == "BF16" and (small or not layer) else half

    def folded(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape in which a tensor is stored: rows of 256 values where its own are not a multiple of that."""
        size = prod(shape)
        if self.folds and len(shape) > 1 and size >= LEAST_FOLDED and not size % FOLDED and shape[-1] % FOLDED:
            return (size // FOLDED, FOLDED)
        return tuple(shape) or (1,)


def _names(*names: str) -> frozenset[str]:
    return frozenset(names)


_FLUX_KEPT = ("txt_in.", "img_in.", "time_in.", "vector_in.", "guidance_in.", "final_layer.")
_UNET_KEPT = (
    "class_embedding.", "time_embedding.", "add_embedding.", "time_embed.", "label_emb.", "conv_in.", "conv_out.",
)  # fmt: skip
_UNET_NAMES = _names("input_blocks.0.0.weight", "out.2.weight")
_COSMOS = _names("blocks.0.mlp.layer1.weight", "blocks.0.adaln_modulation_cross_attn.1.weight")
_DOWNSAMPLER = "down_blocks.0.downsamplers.0.conv.weight"
_LTX = "adaln_single.emb.timestep_embedder.linear_2.weight"

# In the order of telling: the first that tells is meant.
FAMILIES = (
    Family(
        "hyvid", "HunyuanVideo or HunyuanImage",
        tuple(
            _names(f"double_blocks.0.{image}.weight", f"txt_in.individual_token_refiner.blocks.{block}.{text}.weight")
            for image in ("img_attn_proj", "img_attn.proj")
            for block, text in product((0, 1), ("self_attn_qkv", "self_attn.qkv"))
        ),
        kept=(*_FLUX_KEPT, "byt5_in."), kept_names=_names("cond_type_embedding.weight"),
        in_32=("cond_type_embedding.weight",),
    ),
    Family(
        "flux", "FLUX.1, FLUX.2 or Chroma", (_names("double_blocks.0.img_attn.proj.weight"),),
        kept=(*_FLUX_KEPT, "single_stream_modulation.", "double_stream_modulation_"),
    ),
    Family(
        "sd3", "Stable Diffusion 3 or 3.5", (_names("joint_blocks.0.x_block.attn.qkv.weight"),),
        kept=("final_layer.", "time_text_embed.", "context_embedder.", "t_embedder.", "y_embedder.", "x_embedder."),
        kept_names=_names("proj_out.weight", "pos_embed"),
    ),
    Family(
        "aura", "AuraFlow", (_names("double_layers.3.modX.1.weight"),), kept=("t_embedder.", "init_x_linear."),
        kept_names=_names(
            "modF.1.weight", "cond_seq_linear.weight", "final_linear.weight", "positional_encoding", "register_tokens"
        ),
    ),
    Family(
        "hidream", "HiDream",
        (
            _names(
                "caption_projection.0.linear.weight", "double_stream_blocks.0.block.ff_i.shared_experts.w3.weight"
            ),
        ),
        kept=("p_embedder.", "t_embedder.", "x_embedder.", "final_layer.", ".ff_i.gate.weight", "caption_projection."),
        in_32=(".ff_i.gate.weight",),
    ),
    Family(
        "cosmos", "Cosmos Predict2 or Anima", (_COSMOS,),
        kept=(
            "p_embedder.", "t_embedder.", "t_embedding_norm.", "x_embedder.", "pos_embedder.", "final_layer.",
            "llm_adapter.",
        ),
        in_32=("pos_embedder",), dropped=("_extra_state", "accum_"),
    ),
    Family(
        "qwen_image", "Qwen-Image",
        (
            _names(
                "time_text_embed.timestep_embedder.linear_2.weight",
                "transformer_blocks.0.attn.norm_added_q.weight",
                "transformer_blocks.0.img_mlp.net.0.proj.weight",
            ),
        ),
        kept=("img_in.", "txt_in.", "time_text_embed.", "proj_out.", "norm_out."),
        careful=("transformer_blocks.0.", "transformer_blocks.59."),
    ),
    Family(
        "ltxv", "LTX-Video",
        (
            _names(_LTX, "transformer_blocks.27.scale_shift_table", "caption_projection.linear_2.weight"),
            _names(_LTX, "transformer_blocks.47.scale_shift_table", "patchify_proj.weight"),
        ),
        kept=("adaln_single.", "caption_projection.", "patchify_proj.", "proj_out.", "scale_shift_table"),
    ),
    Family(
        "wan", "Wan", (_names("blocks.0.self_attn.norm_q.weight", "text_embedding.2.weight", "head.modulation"),),
        kept=(
            "modulation.", "patch_embedding.", "text_embedding.", "time_projection.", "time_embedding.", "img_emb.",
            "head.", "cond_encoder.", "frame_packer.", "audio_injector.", "casual_audio_encoder.",
            "trainable_cond_mask.", "motion_encoder.",
        ),
        in_32=("motion_encoder.", "trainable_cond_mask"),
    ),
    Family(
        "sdxl", "Stable Diffusion XL",
        (
            _names("label_emb.0.0.weight"),
            _names(
                "input_blocks.3.0.op.weight", "input_blocks.6.0.op.weight", "output_blocks.2.2.conv.weight",
                "output_blocks.5.2.conv.weight",
            ),
            _names(_DOWNSAMPLER, "add_embedding.linear_1.weight"),
        ),
        kept=_UNET_KEPT, kept_names=_UNET_NAMES, folds=True,
    ),
    Family(
        "sd1", "Stable Diffusion 1 or 2",
        (
            _names(
                "input_blocks.3.0.op.weight", "input_blocks.6.0.op.weight", "input_blocks.9.0.op.weight",
                "output_blocks.2.1.conv.weight", "output_blocks.5.2.conv.weight", "output_blocks.8.2.conv.weight",
            ),
            _names(_DOWNSAMPLER),
        ),
        kept=_UNET_KEPT, kept_names=_UNET_NAMES, folds=True,
    ),
    Family(
        "lumina2", "Lumina-Image 2.0 or Z-Image",
        (_names("cap_embedder.1.weight", "context_refiner.0.attention.qkv.weight"),),
        kept=("t_embedder.", "x_embedder.", "final_layer.", "cap_embedder.", "context_refiner.", "noise_refiner."),
    ),
)  # fmt: skip
BY_NAME = {family.name: family for family in FAMILIES}

# Names that only the Diffusers library gives, the first that tells is meant: its layout cuts or names matrices
# differently from the original.
OTHER_LAYOUT = {
    "context_embedder.token_refiner.refiner_blocks.0.attn.to_q.weight": "HunyuanVideo",
    "single_transformer_blocks.0.attn.to_qkv_mlp_proj.weight": "FLUX.2",
    "single_transformer_blocks.0.attn.norm_k.weight": "FLUX",
    "transformer_blocks.0.ff_context.net.0.proj.weight": "Stable Diffusion 3",
    "joint_transformer_blocks.3.ff_context.out_projection.weight": "AuraFlow",
    "condition_embedder.time_embedder.linear_1.weight": "Wan",
    "time_caption_embed.caption_embedder.1.weight": "Lumina-Image 2.0",
    "all_final_layer.2-1.linear.weight": "Z-Image",
}
PREFIXES = ("model.diffusion_model.", "model.")  # of the model among a text encoder's and an image decoder's tensors
WHOLE_PREFIX = "net."  # where all names have it


def own_names(names: Collection[str]) -> dict[str, str]:
    """The diffusion model's tensors of a checkpoint: name in the file -> name of its own."""
    for prefix in PREFIXES:
        if any(name.startswith(prefix) for name in names):
            return {name: name.replace(prefix, "", 1) for name in names if prefix in name}
    if names and all(name.startswith(WHOLE_PREFIX) for name in names):
        return {name: name.removeprefix(WHOLE_PREFIX) for name in names}
    return {name: name for name in names}


def family_of(names: Collection[str]) -> Family | None:
    """The family that tensors of these names of their own are of; None where none is known."""
    names = frozenset(names)
    return next((family for family in FAMILIES if family.tells(names)), None)


def other_layout_of(names: Collection[str]) -> str | None:
    """The model that these names are of, where they are those of the Diffusers library and not the original's."""
    return next((model for name, model in OTHER_LAYOUT.items() if name in names), None)
