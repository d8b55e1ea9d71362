"""One model from fewer and fewer bits: what it writes, and how often it still expects the same next token."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from quantlib.checkpoints import Checkpoint
from quantlib.errors import CheckpointError
from quantlib.jobs import plan
from quantlib.lm.applied import applied
from quantlib.lm.generation import SEED, TEMPERATURE, generate
from quantlib.lm.keeping import digest_of, digest_of_model, kept
from quantlib.lm.model import load
from quantlib.lm.sweeping import sweep
from quantlib.lm.texts import ASSETS, digest_of_texts
from quantlib.lm.tokenizer import Tokenizer

STORED = ASSETS / "measurements" / "start.json"  # of the demo model; assets/measurements/make.py writes it
RECIPES = ("F32", "Q8_0", "Q4_K_M", "Q2_K")
PROMPTS = {
    "a tale": "Once upon a time there was an old king who",
    "a ship": "The ship had left the harbour, and the captain",
    "a road": "They walked along the road until",
}


@dataclass(frozen=True)
class Shown:
    """The model as one recipe leaves it. same_top: the share of tokens at which the likeliest one has not changed.

    texts: what it writes, by prompt. nbytes: of the file; bpw: of its tensors; kl: mean divergence in nats.
    """

    recipe: str
    nbytes: int
    bpw: float
    tokens: int
    same_top: float
    kl: float
    perplexity: float
    texts: Mapping[str, str]

    @property
    def gone(self) -> float:
        """The share of 32 bits that is not stored."""
        return 1 - self.bpw / 32


@dataclass(frozen=True)
class Showcase:
    """Recipes of one model, the largest file first. model, text: hashes of the weights and of the texts scored."""

    model: str
    text: str
    temperature: float
    seed: int
    shown: tuple[Shown, ...]

    def of(self, recipe: str) -> Shown:
        return next(s for s in self.shown if s.recipe == recipe)

    def write(self, path: str | Path) -> None:
        Path(path).write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path) -> Showcase:
        """Back from its file. Raises CheckpointError where it cannot be read."""
        try:
            return cls.of_document(json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"The stored measurement {path} cannot be read: {error}.") from None

    @classmethod
    def of_document(cls, document: Mapping) -> Showcase:
        return cls(**{**document, "shown": tuple(Shown(**values) for values in document["shown"])})


def showcase(
    checkpoint: Checkpoint,
    texts: Mapping[str, str],
    prompts: Sequence[str] = tuple(PROMPTS.values()),
    recipes: Sequence[str] = RECIPES,
    context: int = 256,
    most: int = 40,
    temperature: float = TEMPERATURE,
    seed: int = SEED,
) -> Showcase:
    """Measure every recipe on the texts and let it write on from every prompt, with the same random numbers.

    What has been measured before on this machine is not measured again.
    """
    inputs = [digest_of_model(checkpoint), digest_of_texts(texts)]
    key = digest_of("showcase", *inputs, list(prompts), list(recipes), context, most, temperature, seed)

    def measure() -> dict:
        model, tokenizer = load(checkpoint), Tokenizer.of(checkpoint)
        found = sweep(checkpoint, texts, recipes, context)
        shown = []
        for name in recipes:
            measured, variant = found.of(name), applied(model, plan(checkpoint, name))
            written = {
                prompt: tokenizer.decode(
                    list(generate(variant, tokenizer.encode(prompt), most, temperature, seed, tokenizer.eos))
                )
                for prompt in prompts
            }
            total = measured.total
            shown.append(
                Shown(
                    name, measured.nbytes, measured.bpw, total.tokens, 1 - total.changed_top, total.kl,
                    total.perplexity, written,
                )
            )  # fmt: skip
        return asdict(Showcase(*inputs, temperature, seed, tuple(shown)))

    return Showcase.of_document(kept(key, measure))
