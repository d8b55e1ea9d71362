"""What a chat becomes before a model reads it: the template that the checkpoint carries, rendered in a sandbox."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from quantlib.checkpoints import Checkpoint, gguf_view
from quantlib.errors import CheckpointError
from quantlib.lm.tokenization.runners import INHERITED
from quantlib.lm.tokenizer import Tokenizer

TEMPLATE = "tokenizer.chat_template"
# What GGUF's keys call them -> what templates do.
SPECIAL = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}
SECONDS, WAIT, MEMORY = 2.0, 20.0, 1 << 29  # of processor time, by the clock, bytes
LONGEST_TEMPLATE, LONGEST = 1 << 20, 20_000  # characters: of a template, of what it makes; published ones have 15,000
AT_ONCE = threading.BoundedSemaphore(4)  # processes of one server
Message = Mapping[str, str]
EXAMPLE: tuple[Message, ...] = (
    {"role": "system", "content": "You answer in one sentence."},
    {"role": "user", "content": "Why is the sky blue?"},
    {"role": "assistant", "content": "Air scatters blue light more than red."},
    {"role": "user", "content": "And at sunset?"},
)


def template_of(checkpoint: Checkpoint) -> str | None:
    """The chat template of a checkpoint, None where it has none."""
    found = gguf_view(checkpoint).value(TEMPLATE)
    return found if isinstance(found, str) and found else None


def special_tokens(checkpoint: Checkpoint) -> dict[str, tuple[int, str]]:
    """Tokens with a part to play: what for ("bos", "eos", ...) -> number and text, as the header names them."""
    view = gguf_view(checkpoint)
    tokens = view.value("tokenizer.ggml.tokens") or ()
    found = {}
    for key, value in view.metadata.items():
        what = key.removeprefix("tokenizer.ggml.").removesuffix("_token_id")
        number = getattr(value, "value", None)
        if what + "_token_id" != key.removeprefix("tokenizer.ggml.") or not isinstance(number, int):
            continue
        if 0 <= number < len(tokens):
            found[what] = (number, str(tokens[number]))
    return found


def rendered_chat(checkpoint: Checkpoint, messages: Sequence[Message] = EXAMPLE) -> str:
    """What a model reads of these messages (role, content), up to where its answer begins; at most 20,000 characters.

    A template that allows no system message gets its words before the first question. Raises CheckpointError where
    there is no template, or it fails, or takes too long or too much memory.
    """
    template = template_of(checkpoint)
    if template is None:
        raise CheckpointError("This checkpoint carries no chat template.")
    own = special_tokens(checkpoint)
    tokens = {name: own[what][1] for what, name in SPECIAL.items() if what in own}
    try:
        return render(template, messages, tokens)
    except CheckpointError:
        if messages[0]["role"] != "system" or len(messages) < 2:
            raise
        first = {**messages[1], "content": f"{messages[0]['content']}\n\n{messages[1]['content']}"}
        return render(template, [first, *messages[2:]], tokens)


def chat_tokens(checkpoint: Checkpoint, tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """The tokens of `rendered_chat`, with one token at the start where the template and the tokenizer both put one."""
    text, own = rendered_chat(checkpoint, messages), special_tokens(checkpoint)
    if tokenizer.bos is not None and "bos" in own:
        text = text.removeprefix(own["bos"][1])
    return tokenizer.encode(text)


def render(template: str, messages: Sequence[Message], tokens: Mapping[str, str]) -> str:
    """A template's text for these messages, from a process of its own. Raises CheckpointError, as `rendered_chat`."""
    if len(template) > LONGEST_TEMPLATE:
        raise CheckpointError(f"The chat template has {len(template):,} characters, too many to be rendered here.")
    asked = {
        "template": template, "messages": [dict(m) for m in messages], "tokens": dict(tokens),
        "seconds": SECONDS, "memory": MEMORY, "longest": LONGEST,
    }  # fmt: skip
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    try:
        with AT_ONCE:
            done = subprocess.run(
                _command(), input=json.dumps(asked).encode(), capture_output=True, timeout=WAIT, env=environment
            )
        answer = json.loads(done.stdout)
    except OSError as error:
        raise CheckpointError(f"The process that renders chat templates cannot be started: {error}.") from None
    except (subprocess.TimeoutExpired, ValueError):
        raise CheckpointError(
            f"The chat template was stopped: it took more than {SECONDS:.0f} s of processor time or "
            f"{MEMORY / 1e9:.1f} GB of memory."
        ) from None
    if "error" in answer:
        words = " ".join("".join(c if c.isprintable() else " " for c in answer["error"]).split())
        raise CheckpointError(f"The chat template fails at this chat: {words.rstrip('.')}.")
    return answer["text"]


@cache
def _command() -> tuple[str, ...]:
    """How the process is started: isolated, without site packages but for the folders of what it needs."""
    folders = []
    for package in ("jinja2", "markupsafe"):
        found = find_spec(package)
        if found is None or found.origin is None:
            raise CheckpointError("The package jinja2 is not installed, without which no chat template is rendered.")
        folders.append(str(Path(found.origin).parents[1]))
    return sys.executable, "-I", "-S", str(Path(__file__).with_name("templating.py")), *dict.fromkeys(folders)
