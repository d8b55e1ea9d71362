"""Chat templates come from anywhere: they are rendered in a sandbox, within limits, and fail in a sentence."""

import time

import pytest

from quantlib.checkpoints import MetadataValue, open_checkpoint, write_gguf
from quantlib.cli import main
from quantlib.errors import CheckpointError
from quantlib.lm import Tokenizer
from quantlib.lm.chat import EXAMPLE, LONGEST, chat_tokens, render, rendered_chat, special_tokens

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture
def file(tmp_path):
    """file(template): a GGUF file with a vocabulary and this template."""

    def write(template: str):
        metadata = {
            "general.architecture": MetadataValue("string", "llama"),
            "tokenizer.ggml.tokens": MetadataValue("array[string]", ["<s>", "</s>", "a"]),
            "tokenizer.ggml.bos_token_id": MetadataValue("uint32", 0),
            "tokenizer.ggml.eos_token_id": MetadataValue("uint32", 1),
            "tokenizer.ggml.eot_token_id": MetadataValue("uint32", 99),
            "tokenizer.chat_template": MetadataValue("string", template),
        }
        with (tmp_path / "m.gguf").open("wb") as out:
            write_gguf(out, metadata, [])
        return tmp_path / "m.gguf"

    return write


def test_an_example_is_what_the_model_reads(file):
    with open_checkpoint(file(CHATML)) as checkpoint:
        text = rendered_chat(checkpoint)
        assert special_tokens(checkpoint) == {"bos": (0, "<s>"), "eos": (1, "</s>")}
    assert text.startswith("<|im_start|>system\nYou answer in one sentence.<|im_end|>\n<|im_start|>user\n")
    assert text.endswith("And at sunset?<|im_end|>\n<|im_start|>assistant\n")


def test_a_template_without_system_messages_gets_the_words_elsewhere(file):
    strict = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}{{ bos_token }}"
    with open_checkpoint(file(strict + "{{ messages[0]['content'] }}")) as checkpoint:
        assert rendered_chat(checkpoint) == "<s>You answer in one sentence.\n\nWhy is the sky blue?"


def test_what_templates_of_others_use_is_there():
    used = (
        "{%- for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m | tojson }}{% break %}{%- endfor %}"
    )
    assert render(used, EXAMPLE, {}) == '{"role": "user", "content": "Why is the sky blue?"}'
    assert render("{{ strftime_now('%Y-%m') }}{% set ns = namespace(x=1) %}{{ ns.x }}", EXAMPLE, {}).startswith("2026-")


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(10**9) %}x{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 'x' * 10**10 }}",
        "{% set n = namespace(a='x') %}{% for i in range(99) %}{% set n.a = n.a + n.a %}{% endfor %}",
        "{{ messages.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''.__class__.__base__ }}{{ cycler.__init__.__globals__.os.system('id') }}",
        "{{ messages.append(1) }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{{ raise_exception('a\n\x1b[31mline') }}",
        "{% for",
        "{{ 9**(9**(9**9)) }}",
        "x" * (2**20 + 1),
    ],
    ids=range(14),
)
def test_a_template_that_misbehaves_ends_in_a_sentence(template):
    started = time.monotonic()
    with pytest.raises(CheckpointError) as error:
        render(template, EXAMPLE, {})
    assert "\n" not in str(error.value) and "\x1b" not in str(error.value) and str(error.value).endswith(".")
    assert time.monotonic() - started < 60


def test_what_it_makes_is_cut():
    assert len(render("{% for i in range(90000) %}{{ 'x' * 100 }}{% endfor %}", EXAMPLE, {})) == LONGEST


class Letters:
    """A tokenizer's runner: a token for each character."""

    def encode(self, text):
        return list(map(ord, text))

    def decode(self, ids):
        return "".join(map(chr, ids))


def test_a_text_starts_once_where_template_and_tokenizer_both_start_it(file):
    with open_checkpoint(file("{{ bos_token }}{{ messages[0]['content'] }}")) as checkpoint:
        asked = [{"role": "user", "content": "Hi"}]
        assert chat_tokens(checkpoint, Tokenizer(Letters(), 0, 1), asked) == [0, *map(ord, "Hi")]
        assert chat_tokens(checkpoint, Tokenizer(Letters(), None, 1), asked) == list(map(ord, "<s>Hi"))


def test_the_command_prints_it(file, capsys):
    assert main(["metadata", str(file(CHATML)), "--chat"]) == 0
    assert capsys.readouterr().out.count("<|im_start|>") == 5
    assert main(["metadata", str(file("{{ nothing.at.all }}")), "--chat"]) == 1
    assert "The chat template fails at this chat" in capsys.readouterr().err
