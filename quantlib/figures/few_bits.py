"""The first picture: one model from 32 bits down to 1.7, its sums, its weights and the memory of a large one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from quantlib.fit.catalogue import KNOWN
from quantlib.lm.answering import RECIPES, WALL_ROWS, Answers, wall
from quantlib.lm.sums import GRADES, Sum
from quantlib.lm.texts import ASSETS

STORED = ASSETS / "measurements" / "large.json"  # assets/measurements/make.py writes it
LARGE = "Llama-3-70B"
BILLIONS = 70
# Memory that people have or rent, in bytes.
MARKS = (
    {"name": "laptop, 16 GB", "bytes": 16_000_000_000},
    {"name": "graphics card, 24 GB", "bytes": 24_000_000_000},
    {"name": "server's card, 80 GB", "bytes": 80_000_000_000},
)


@dataclass(frozen=True)
class Large:
    """Bytes of a file of a model too large to ship, by recipe: known from its shape alone."""

    model: str
    nbytes: Mapping[str, int]

    @classmethod
    def read(cls) -> Large:
        return cls(**json.loads(STORED.read_text(encoding="utf-8")))

    def write(self) -> None:
        STORED.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def planned() -> Large:
    """Plan the large model by every recipe; with an importance matrix where the recipe needs one."""
    return Large(LARGE, {name: KNOWN[LARGE].planned(name).nbytes for name in RECIPES})


def written(one: Sum) -> str:
    """47 × 83, as people write it."""
    return f"{one.left:,} {dict(zip('+-x', '+−×', strict=True))[one.sign]} {one.right:,}"


def message(answers: Answers, large: Large) -> dict:
    """What the component `few_bits` shows."""
    rows = [grade.name for grade, count in zip(GRADES, WALL_ROWS, strict=True) for _ in range(count)]
    return {
        "token": answers.model,
        "start": 0,
        "billions": BILLIONS,
        "marks": list(MARKS),
        "rows": rows,
        "sums": [{"text": written(one), "right": f"{one.result:,}"} for one in wall()],
        "stops": [
            {
                "name": one.recipe,
                "bits": round(100 * one.bpw),
                "large": large.nbytes[one.recipe],
                "weights": list(one.weights),
                "answers": [read(answer) for answer in one.answers],
            }
            for one in answers.found
        ],
    }


def lessons(answers: Answers, large: Large, usual: str = "Q4_K_M") -> tuple[str, str]:
    """What the first page shows: the memory that a usual recipe saves, and what the small model loses with it."""
    whole, small = large.nbytes["F32"], large.nbytes[usual]
    first, now = answers.of("F32"), answers.of(usual)
    right = [sum(s.right for s in one.scores) / sum(s.count for s in one.scores) for one in (first, now)]
    last = answers.found[-1]
    return (
        f"{large.model} needs {whole / 1e9:.0f} GB in 32 bits and {small / 1e9:.0f} GB as {usual}.",
        f"The small model gets {right[0]:.1%} of its sums right from 32 bits, {right[1]:.1%} from {usual}, and "
        f"{sum(s.right for s in last.scores) / sum(s.count for s in last.scores):.1%} from {last.recipe}.",
    )


def table_html(answers: Answers, large: Large) -> str:
    """Every stop in a row: its bits, the share of each kind of sum that is right, and the file of the large model."""
    grades = answers.found[0].scores
    head = "".join(f"<th>{name}</th>" for name in ("bits", *(s.grade for s in grades), f"{BILLIONS} billion, GB"))
    rows = "".join(
        f"<tr><th>{one.recipe}</th><td>{one.bpw:.1f}</td>"
        + "".join(f"<td>{score.share:.0%}</td>" for score in one.scores)
        + f"<td>{large.nbytes[one.recipe] / 1e9:.0f}</td></tr>"
        for one in answers.found
    )
    title = f"Right answers of {grades[0].count:,} sums of each kind, by recipe"
    return (
        f"<table class='measured'><caption>{title}</caption>"
        f"<thead><tr><th>recipe</th>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )


def read(answer: str) -> str:
    """An answer as people write it, from what the model wrote from the ones up; as it is where it is no number."""
    turned = answer[::-1]
    plain = turned.isascii() and turned.isdecimal() and (turned == "0" or not turned.startswith("0"))
    return f"{int(turned):,}" if plain else turned
