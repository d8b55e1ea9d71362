"""The parts of image and video models by the names of their tensors, and what each is for in plain words."""

from __future__ import annotations

import re

from quantlib.architectures.diffusion import PREFIXES, WHOLE_PREFIX

IN, TIME, MODULATION, OUT = "into the model", "time and guidance", "modulation", "out of the model"
DOUBLE, SINGLE, BLOCKS = "double blocks", "single blocks", "blocks"
DOWN, UP = "blocks going down", "blocks going up"

# By the start of a name, without the prefix of a whole checkpoint; the first that fits decides.
PARTS = (
    (OUT, r"(final_layer|proj_out|norm_out|norm_final|head|final_linear|modF|conv_out|conv_norm_out|out)\."),
    (TIME, r"(time_in|guidance_in|vector_in|t_embedder|t_embedding_norm|time_embed|time_embedding|time_projection"
           r"|time_text_embed|adaln_single|label_emb|y_embedder|p_embedder|add_embedding|class_embedding|t_block"
           r"|distilled_guidance_layer)\."),
    (IN, r"(img_in|txt_in|txt_norm|x_embedder|context_embedder|patch_embedding|vace_patch_embedding|patchify_proj"
         r"|text_embedding|conv_in|caption_projection|cap_embedder|img_emb|init_x_linear|cond_seq_linear"
         r"|vision_in|byt5_in|cond_type_embedding|llm_adapter|pos_embedder|input_blocks\.0\.0|context_refiner"
         r"|noise_refiner)\.|(pos_embed|positional_encoding|register_tokens|x_pad_token|cap_pad_token)$"),
    (MODULATION, r".*(modulation|_mod\.|\.mod[CX]?\.|adaLN|emb_layers|time_emb_proj|scale_shift_table)"),
    (DOUBLE, r"(double_blocks|joint_blocks|double_layers|double_stream_blocks)\."),
    (SINGLE, r"(single_blocks|single_layers|single_stream_blocks)\."),
    (DOWN, r"(input_blocks|down_blocks)\."),
    (UP, r"(output_blocks|up_blocks)\."),
    (BLOCKS, r"(transformer_blocks|blocks|layers|middle_block|mid_block|audio_\w+|\w+_adapter)\."),
)  # fmt: skip
_PARTS = tuple((part, re.compile(pattern)) for part, pattern in PARTS)
NAMES = tuple(dict.fromkeys([IN, TIME, MODULATION, DOUBLE, SINGLE, BLOCKS, DOWN, UP, OUT]))  # in the order of legends

PATCHES = r"(img_in|x_embedder|patch_embedding|patchify_proj|conv_in|init_x_linear|input_blocks\.0\.0)\b"
PROMPT = r"(txt_in|context_embedder|text_embedding|cap_embedder|caption_projection|cond_seq_linear)\b"
NOISE = r"(time_in|t_embedder|time_embed(ding)?|time_projection|time_text_embed\.timestep|adaln_single|t_block)\b"
WHOLE = r"(vector_in|y_embedder|p_embedder|label_emb|add_embedding|time_text_embed)\b"
# What a tensor is for, by its name within the model; the first that fits decides.
GLOSSES = (
    (r"(final_layer|norm_out|modF)\b.*(modulation|norm_out|modF)|head\.modulation",
     "shifts and scales what leaves the last block, by how much noise is left"),
    (r"(final_layer|proj_out|head|final_linear|conv_out|out)\b",
     "turns rows of numbers back into patches of a picture"),
    (r".*norm", "evens out the size of the numbers that come in"),
    (NOISE, "tells every block how much noise is left in the image"),
    (r"guidance_in\b", "tells every block how closely to follow the prompt"),
    (WHOLE, "tells every block what the prompt asks for as a whole"),
    (r"distilled_guidance_layer\b", "makes the shifts and scales of all blocks out of time and guidance"),
    (r".*(pos_embed|positional_encoding|emb_pos)", "tells the model where in the image each patch is"),
    (r"(register_tokens|x_pad_token|cap_pad_token)", "rows of numbers that stand where there is no patch and no word"),
    (PATCHES, "turns each patch of the noisy image into a row of numbers"),
    (PROMPT, "brings what the text encoder made of the prompt to the width of the model"),
    (r"(img_emb|vision_in)\b", "brings what an image encoder made of a picture to the width of the model"),
    (r".*(modulation|_mod\.|\.mod[CX]?\.|adaLN|emb_layers|time_emb_proj|scale_shift_table)",
     "modulation: shifts, scales and gates a block by how much noise is left"),
    (r"single_blocks\.\d+\.linear1", "attention's queries, keys and values and the first half of feed-forward, in one"),
    (r"single_blocks\.\d+\.linear2", "attention's output and the second half of feed-forward, in one"),
    (r".*(attn|attention)\S*qkv", "attention: what each patch or word asks for, offers and passes on, in one"),
    (r".*(attn|attention)\S*[._](to_)?(q|add_q_proj|q_proj|w[12]q)(_t|_img)?\.",
     "attention: what a patch or a word asks the others for"),
    (r".*(attn|attention)\S*[._](to_)?(k|add_k_proj|k_proj|w[12]k)(_t|_img)?\.",
     "attention: what a patch or a word can be found by"),
    (r".*(attn|attention)\S*[._](to_)?(v|add_v_proj|v_proj|w[12]v)(_t|_img)?\.",
     "attention: what a patch or a word passes on to those that find it"),
    (r".*(attn|attention)", "attention: puts what was found back into the patch or the word"),
    (r".*ff_i\.gate", "chooses which experts work on a patch"),
    (r".*(mlp|ffn|ff|ff_context|feed_forward|ff_i|ff_t)\S*[._](0|1|net\.0\.proj|w1|w3|layer1|fc1|c_fc\d)\.",
     "feed-forward: looks for patterns in a patch or a word"),
    (r".*(mlp|ffn|ff|ff_context|feed_forward|ff_i|ff_t)\S*[._](2|net\.2|w2|layer2|fc2|c_proj)\.",
     "feed-forward: writes what the patterns mean back"),
    (r".*(\.op\.|downsamplers|upsamplers)", "makes the picture smaller or larger between two stages"),
    (r".*(in_layers|out_layers|resnets|skip_connection|\.conv)",
     "convolution: looks at each place of the picture and its neighbours"),
    (r".*(proj_in|proj_out)\b", "leads into and out of the attention of a stage"),
)  # fmt: skip
_GLOSSES = tuple((re.compile(pattern), words) for pattern, words in GLOSSES)

_STACK = re.compile(
    r"(double_blocks|single_blocks|joint_blocks|double_layers|single_layers|double_stream_blocks|single_stream_blocks"
    r"|transformer_blocks|blocks|layers|context_refiner|noise_refiner|input_blocks|output_blocks|down_blocks|up_blocks)"
    r"\.(\d+)\.(.+)"
)


def own_name(name: str) -> str:
    """A tensor's name within the model, without the prefix that only image models have in whole checkpoints."""
    return next((name.removeprefix(p) for p in (PREFIXES[0], WHOLE_PREFIX) if name.startswith(p)), name)


def part_of(name: str) -> str | None:
    """The part of an image model that a tensor of this name belongs to: one of NAMES; None where nothing tells."""
    own = own_name(name)
    return next((part for part, pattern in _PARTS if pattern.match(own)), None)


def gloss(name: str) -> str:
    """What a tensor of an image model is for; empty where the name says nothing known."""
    own = own_name(name)
    if part_of(own) is None:
        return ""
    return next((words for pattern, words in _GLOSSES if pattern.match(own)), "")


def block_of(name: str) -> tuple[str, int, str] | None:
    """(stack, number, rest of the name) of a tensor within a block of an image model; None for the others."""
    found = _STACK.match(own_name(name))
    return (found[1], int(found[2]), found[3]) if found else None
