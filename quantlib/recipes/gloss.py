"""What a tensor is for, in plain words, for readers to whom `attn_q` says nothing."""

import re

from quantlib.architectures import diffusion_parts

# By the words in a tensor's name, as GGUF and as Hugging Face write it; the first that is found decides.
GLOSSES = (
    (r"norm|\bln_", "evens out the size of the numbers that come in"),
    (r"token_embd|embed_tokens|\bwte\b", "turns each token into a row of numbers"),
    (r"attn_qkv|qkv_proj|c_attn|query_key_value", "attention: what tokens ask for, offer and pass on, in one"),
    (r"attn_q\b|q_proj", "attention: what each token asks the others for"),
    (r"attn_k\b|k_proj", "attention: what each token can be found by"),
    (r"attn_v\b|v_proj", "attention: what a token passes on to those that find it"),
    (r"attn_output|o_proj|attn\.c_proj", "attention: puts what was found back into the token"),
    (r"ffn_gate|gate_proj", "feed-forward: how far each pattern is let through"),
    (r"ffn_up|up_proj|\bc_fc\b", "feed-forward: looks for patterns in the token"),
    (r"ffn_down|down_proj|mlp\.c_proj", "feed-forward: writes what the patterns mean back into the token"),
    (r"^output\b|lm_head", "scores every token of the vocabulary as the next one"),
)


def gloss(name: str) -> str:
    """What the tensor of this name is for; empty where the name says nothing known."""
    return diffusion_parts.gloss(name) or next((words for pattern, words in GLOSSES if re.search(pattern, name)), "")


def glossed(name: str) -> str:
    """The name and, behind a colon, what it is for."""
    return f"{name}: {words}" if (words := gloss(name)) else name
