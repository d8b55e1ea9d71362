"""Twenty plain questions to a model that chats, and how many it still answers right from fewer bits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from quantlib.lm.cache import Cache
from quantlib.lm.model import Model
from quantlib.lm.tokenizer import Tokenizer

LONGEST = 20  # tokens of an answer
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


@dataclass(frozen=True)
class Question:
    """A question, and the words one of which the first sentence of an answer must hold to be right."""

    text: str
    accepted: tuple[str, ...]

    def is_right(self, answer: str) -> bool:
        """Whether its first sentence holds an accepted word as a whole word, in capitals or not."""
        first = re.split(r"(?<=[.!?])\s|\n", answer.strip())[0]
        return any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", first, re.IGNORECASE) for word in self.accepted)


# Chosen among eighty because the model that they are for, as published, answers them right: it can only get worse.
QUESTIONS = (
    Question("What is the capital of France?", ("Paris",)),
    Question("What is the capital of Germany?", ("Berlin",)),
    Question("What is the capital of Russia?", ("Moscow",)),
    Question("What is the capital of China?", ("Beijing",)),
    Question("What is the capital of Egypt?", ("Cairo",)),
    Question("What is the capital of Greece?", ("Athens",)),
    Question("In which country is the Eiffel Tower?", ("France",)),
    Question("In which country is Mount Fuji?", ("Japan",)),
    Question("What is the largest ocean on Earth?", ("Pacific",)),
    Question("What is the longest river in Africa?", ("Nile",)),
    Question("What is the opposite of big?", ("small", "little")),
    Question("What is the opposite of day?", ("night",)),
    Question("What is the plural of the word mouse?", ("mice",)),
    Question("What is the chemical formula of water?", ("H2O",)),
    Question("What is the chemical symbol of gold?", ("Au",)),
    Question("Who developed the theory of relativity?", ("Einstein",)),
    Question("At what temperature does water boil?", ("100", "212")),
    Question("What gas do people breathe to live?", ("oxygen",)),
    Question("What star does the Earth go around?", ("Sun",)),
    Question("What is 2 + 2?", ("4", "four")),
)


def asked(model: Model, tokenizer: Tokenizer, questions: Sequence[Question] = QUESTIONS) -> tuple[str, ...]:
    """What the model answers to each, the likeliest token each time, at most LONGEST tokens.

    Questions of one length are answered side by side: a step reads all weights once, for however many.
    """
    prompts = [tokenizer.encode(prompt(one)) for one in questions]
    found = [""] * len(prompts)
    for _, group in groupby(sorted(range(len(prompts)), key=lambda i: len(prompts[i])), key=lambda i: len(prompts[i])):
        some = list(group)
        for i, row in zip(some, _written(model, np.array([prompts[i] for i in some]), tokenizer.eos), strict=True):
            found[i] = tokenizer.decode(row).strip()
    return tuple(found)


def prompt(question: Question) -> str:
    """The question as ChatML, which the model was tuned on."""
    turns = (("system", SYSTEM), ("user", question.text))
    return "".join(f"<|im_start|>{who}\n{text}<|im_end|>\n" for who, text in turns) + "<|im_start|>assistant\n"


def _written(model: Model, tokens: np.ndarray, end: int | None) -> list[list[int]]:
    """The likeliest tokens after each row of (questions, n), up to the end of each answer."""
    count, length = tokens.shape
    most = min(LONGEST, model.shape.context - length)
    cache, written = Cache(model.shape, length + most, count), np.empty((count, 0), np.int64)
    for _ in range(most):
        tokens = model.logits(model.hidden(tokens, cache)[:, -1:]).argmax(axis=-1)  # (questions, 1)
        written = np.concatenate([written, tokens], axis=1)
        if (written == end).any(axis=1).all():
            break
    return [row[: row.index(end)] if end in row else row for row in written.tolist()]
