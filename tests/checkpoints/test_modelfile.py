"""The Modelfile: templates mean the same in Go and in Jinja, stops come from the vocabulary, nothing breaks out."""

import re

import jinja2
import pytest

from quantlib.checkpoints import MetadataValue, gguf_view, modelfile, open_checkpoint
from quantlib.checkpoints.modelfile import TEMPLATES, stop_tokens

CHATS = {
    "one question": [("user", "How are you?")],
    "with a system message": [("system", "Be brief."), ("user", "Why?"), ("assistant", "Because."), ("user", "And?")],
}


def go(template: str, messages: list[dict[str, str]]) -> str:
    """What Ollama makes of a template: as much of Go's language as ours use."""
    system = any(message["role"] == "system" for message in messages)
    text = re.sub(r"\{\{ if not \.System \}\}(.*?)\{\{ end \}\}", "" if system else r"\1", template, flags=re.DOTALL)

    def turns(found: re.Match) -> str:
        each = (found[1].replace("{{ .Role }}", m["role"]).replace("{{ .Content }}", m["content"]) for m in messages)
        return "".join(each)

    text = re.sub(r"\{\{ range \.Messages \}\}(.*?)\{\{ end \}\}", turns, text, flags=re.DOTALL)
    assert "{{" not in text
    return text


@pytest.mark.parametrize("chat", CHATS)
@pytest.mark.parametrize("template", TEMPLATES, ids=range(len(TEMPLATES)))
def test_both_templates_mean_the_same(template, chat):
    messages = [{"role": role, "content": content} for role, content in CHATS[chat]]
    rendered = jinja2.Template(template).render(messages=messages, add_generation_prompt=True, eos_token="</s>")
    assert rendered == go(TEMPLATES[template], messages)


def metadata(tokens: list[str], types: list[int], **more) -> dict[str, MetadataValue]:
    return {
        "tokenizer.ggml.tokens": MetadataValue("array[string]", tokens),
        "tokenizer.ggml.token_type": MetadataValue("array[int32]", types),
    } | {key.replace("__", "."): value for key, value in more.items()}


def test_what_it_says(tmp_path):
    given = metadata(
        ["a", "<|im_end|>", "</s>"], [1, 3, 3],
        tokenizer__ggml__eos_token_id=MetadataValue("uint32", 2),
        tokenizer__chat_template=MetadataValue("string", next(iter(TEMPLATES))),
        general__sampling__temp=MetadataValue("float32", 0.6),
        general__sampling__top_k=MetadataValue("int32", 40),
    )  # fmt: skip
    text = modelfile(given, "m.gguf")
    assert text.startswith('FROM ./m.gguf\nTEMPLATE """{{ range .Messages }}')
    tail = 'PARAMETER stop "</s>"\nPARAMETER stop "<|im_end|>"\nPARAMETER temperature 0.6\nPARAMETER top_k 40\n'
    assert text.endswith('<|im_start|>assistant\n"""\n' + tail)


def test_another_template_is_left_to_ollama():
    given = metadata([], [], tokenizer__chat_template=MetadataValue("string", "{{ tools }}"))
    assert modelfile(given, "m.gguf").splitlines()[1].startswith("# No TEMPLATE")


def test_texts_cannot_leave_their_quotation_marks():
    names = ['a"\nFROM /etc/passwd', "b\\", "c\nd", "x" * 65, "", "fine"]
    for number, name in enumerate(names):
        given = metadata(names, [3] * len(names), tokenizer__ggml__eos_token_id=MetadataValue("uint32", number))
        assert stop_tokens(given) == (["fine"] if name == "fine" else [])
    beyond = metadata(names, [3] * len(names), tokenizer__ggml__eos_token_id=MetadataValue("uint32", 99))
    assert stop_tokens(beyond) == []


def test_the_demo_models(demo_model):
    with open_checkpoint(demo_model) as checkpoint:
        view = gguf_view(checkpoint)
        eos = view.value("tokenizer.ggml.tokens")[view.value("tokenizer.ggml.eos_token_id")]
        assert modelfile(view.metadata, "demo.gguf") == f'FROM ./demo.gguf\nPARAMETER stop "{eos}"\n'
