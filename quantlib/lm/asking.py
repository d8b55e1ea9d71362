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

LONGEST = 40  # tokens of an answer
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


@dataclass(frozen=True)
class Question:
    """A question, and the words one of which an answer must hold to be right."""

    text: str
    accepted: tuple[str, ...]

    def is_right(self, answer: str) -> bool:
        """Whether the answer holds an accepted word as a whole word, in capitals or not."""
        return any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", answer, re.IGNORECASE) for word in self.accepted)


QUESTIONS = (
    Question("What is the capital of France?", ("Paris",)),
    Question("What is the capital of Italy?", ("Rome",)),
    Question("What is the capital of Japan?", ("Tokyo",)),
    Question("Which planet do we live on?", ("Earth",)),
    Question("What is the largest planet in our solar system?", ("Jupiter",)),
    Question("Who wrote the play Romeo and Juliet?", ("Shakespeare",)),
    Question("What language do people speak in Brazil?", ("Portuguese",)),
    Question("On which continent is Egypt?", ("Africa",)),
    Question("What is the opposite of hot?", ("cold",)),
    Question("How many days are in a week?", ("seven", "7")),
    Question("How many legs does a spider have?", ("eight", "8")),
    Question("What gas do plants take in from the air?", ("carbon dioxide", "CO2")),
    Question("What is water made of?", ("hydrogen", "H2O")),
    Question("Which animal barks?", ("dog", "dogs")),
    Question("What do bees make?", ("honey",)),
    Question("What is two plus two?", ("four", "4")),
    Question("What is ten minus three?", ("seven", "7")),
    Question("What is 3 times 4?", ("twelve", "12")),
    Question("What color is a ripe banana?", ("yellow",)),
    Question("In which direction does the sun rise?", ("east", "eastern", "eastward")),
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
