"""effort="best" against ggml's own encoder, paired: python tests/bench/effort.py [FORMAT ...] [--model] [--ggml PATH]

For each format, plain and with an importance matrix: the weighted squared error Σ importance · (x − x̂)² of the demo
model's matrices as a share of ggml's, on how many of these it is lower, and the CPU time of one thread as a share of
ggml's (less than 1 is faster). With --model the loss of the whole model too: perplexity and KL divergence on the
project's texts, of ggml's bytes and of the better ones. The matrix is collected on the calibration texts.
"""

import argparse
import statistics
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1]))

from formats import seconds
from ggml_library import Ggml

import quantlib as ql
from quantlib.formats import FORMATS, BlockFormat, get
from quantlib.lm import CALIBRATION, EVALUATION, GENERATED, Tokenizer, imatrix, load, read_texts
from quantlib.lm.applied import applied
from quantlib.lm.comparison import together
from quantlib.lm.sweeping import bench
from quantlib.recipes import RECIPES

DEMO = Path(__file__).parents[2] / "assets" / "demo_model"
ROUNDS = 3
CONTEXT = 512


def importances(checkpoint) -> dict[str, np.ndarray]:
    """The importance of each matrix's columns by GGUF name."""
    tokenizer, model = Tokenizer.of(checkpoint), load(checkpoint)
    tokens = [t for text in read_texts([CALIBRATION, GENERATED]).values() for t in tokenizer.encode(text)]
    return imatrix(model, tokens, CONTEXT, tokenizer.bos).matrix("calibration")


def error(form: BlockFormat, data: np.ndarray, x: np.ndarray, importance: np.ndarray | None) -> float:
    miss = (form.dequantize(data).astype(float) - x) ** 2
    return float((miss if importance is None else importance * miss).sum())


def compare(ggml: Ggml, form: BlockFormat, matrices: list[tuple[np.ndarray, np.ndarray | None]]) -> None:
    before, after, ratios = [], [], []
    for x, importance in matrices:
        standard, best = ggml.encode(form, x, importance), form.quantize(x, importance, effort="best")
        before.append(error(form, standard, x, importance))
        after.append(error(form, best, x, importance))
    for _ in range(ROUNDS):
        for x, importance in matrices[:7]:
            theirs = seconds(lambda x=x, i=importance: ggml.encode(form, x, i))
            ours = seconds(lambda x=x, i=importance: form.quantize(x, i, effort="best"))
            ratios.append(ours / theirs)
    lower = sum(a < b for a, b in zip(after, before, strict=True))
    weighed = "no" if matrices[0][1] is None else "yes"
    share = statistics.fmean(a / b for a, b in zip(after, before, strict=True))
    print(
        f"{form.name:8}{weighed:>12}{share:12.4f}{lower:8} of {len(before)}{statistics.median(ratios):12.2f}",
        flush=True,
    )


def whole_model(checkpoint, names: list[str], matrix) -> None:
    print("\nformat    importance  effort    perplexity  difference        KL")
    judge = bench(checkpoint, read_texts(EVALUATION), CONTEXT)
    for name in names:
        for given in (None, matrix):
            for effort in ("standard", "best"):
                recipe = name if name in RECIPES else f"{name}_S"
                plan = ql.plan(checkpoint, recipe, given, pure=True, effort=effort)
                loss = together(list(judge.against(applied(judge.model, plan)).values())).summary()
                steered = "no" if given is None else "yes"
                numbers = f"{loss.perplexity:12.3f}{loss.difference:12.3f}{loss.kl:12.5f}"
                print(f"{name:8}{steered:>12}  {effort:8}{numbers}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("formats", nargs="*", help="block formats; all that have such a search without")
    parser.add_argument("--model", action="store_true", help="measure the whole model too")
    parser.add_argument("--ggml", help="path of a ggml-base library")
    options = parser.parse_args()
    searched = [f for f in FORMATS.values() if isinstance(f, BlockFormat) and f.better]
    forms = [get(name) for name in options.formats] or searched
    with ql.open_checkpoint(DEMO) as checkpoint:
        matrix, ggml = importances(checkpoint), Ggml(options.ggml)
        tensors = [t for t in ql.plan(checkpoint, "Q8_0", matrix).tensors if t.importance is not None]
        plain = [(np.ascontiguousarray(t.tensor.rows()), None) for t in tensors]
        weighed = [(x, t.importance_of(0)) for (x, _), t in zip(plain, tensors, strict=True)]
        print("format    importance  error/ggml  lower on     time/ggml")
        for form in forms:
            for matrices in (plain, weighed):
                compare(ggml, form, matrices)
        if options.model:
            whole_model(checkpoint, [form.name for form in forms], matrix)


if __name__ == "__main__":
    main()
