"""An Ollama Modelfile for a GGUF file: where the model is, when to stop, how to sample, and its chat template.

Ollama's templates are Go's and cannot say what Jinja can, so only chat templates that are known to mean the same are
repeated; for all others Ollama goes by the one inside the GGUF file. Source: Ollama's docs/modelfile.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quantlib.checkpoints.base import MetadataValue

CONTROL = 3  # token type of GGUF
MAX_STOP = 64  # characters
# Control tokens that end a turn without being the model's end of text.
TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "<|eom_id|>", "<|endoftext|>")
ENDS = tuple(f"tokenizer.ggml.{kind}_token_id" for kind in ("eos", "eot", "eom"))
# GGUF's defaults for sampling -> Ollama's parameters.
SAMPLING = {
    "temp": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "penalty_repeat": "repeat_penalty",
}

_TURN = "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
_ASK = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
_DEFAULT = "<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n"
_PHI = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>\\n' + message['content'] + "
    "'<|end|>\\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\\n' + message['content'] + '<|end|>\\n'}}"
    "{% elif message['role'] == 'assistant' %}{{'<|assistant|>\\n' + message['content'] + '<|end|>\\n'}}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"
)
_RANGE = "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"

# Chat templates as models publish them -> what means the same in Go.
TEMPLATES = {
    f"{{% for message in messages %}}{_TURN}{{% endfor %}}{_ASK}": _RANGE,
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    f"{{{{ '{_DEFAULT}' }}}}{{% endif %}}{_TURN}{{% endfor %}}{_ASK}": (
        f"{{{{ if not .System }}}}{_DEFAULT}{{{{ end }}}}".replace("\\n", "\n") + _RANGE
    ),
    _PHI: "{{ range .Messages }}<|{{ .Role }}|>\n{{ .Content }}<|end|>\n{{ end }}<|assistant|>\n",
}


def modelfile(metadata: Mapping[str, MetadataValue], gguf_name: str) -> str:
    """The text of a Modelfile for a GGUF file of this name in the same folder, from its metadata."""
    lines = [f"FROM ./{gguf_name}"]
    template = _value(metadata, "tokenizer.chat_template")
    same = TEMPLATES.get(template.strip()) if isinstance(template, str) else None
    if same is not None:
        lines.append(f'TEMPLATE """{same}"""')
    elif template is not None:
        lines.append("# No TEMPLATE: Ollama goes by the chat template inside the GGUF file.")
    lines += [f'PARAMETER stop "{text}"' for text in stop_tokens(metadata)]
    for ours, theirs in SAMPLING.items():
        value = _value(metadata, f"general.sampling.{ours}")
        if value is not None:
            lines.append(f"PARAMETER {theirs} {value:g}")
    return "\n".join(lines) + "\n"


def stop_tokens(metadata: Mapping[str, MetadataValue]) -> list[str]:
    """The texts at which generation stops: ends of text, turn and message that the metadata names or that are usual.

    Texts come from a file, so those that could end the quotation marks around them are left out.
    """
    tokens, types = (_value(metadata, f"tokenizer.ggml.{key}") for key in ("tokens", "token_type"))
    if tokens is None or types is None or len(tokens) != len(types):
        return []
    named = [_value(metadata, key) for key in ENDS]
    found = [tokens[i] for i in named if isinstance(i, int) and 0 <= i < len(tokens)]
    control = {token for token, kind in zip(tokens, types, strict=True) if kind == CONTROL}
    found += [text for text in TURN_ENDS if text in control]
    return [text for text in dict.fromkeys(found) if _quotable(text)]


def _quotable(text: str) -> bool:
    return 0 < len(text) <= MAX_STOP and text.isprintable() and '"' not in text and "\\" not in text


def _value(metadata: Mapping[str, MetadataValue], key: str) -> Any:
    found = metadata.get(key)
    return found.value if isinstance(found, MetadataValue) else None
