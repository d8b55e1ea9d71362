"""What three ways of choosing codes leave and take, by format: python tests/bench/ways.py

For each block format the squared error of what four matrices of the demo model put out, on texts that were not
calibrated on, as a share of that with ggml's plain codes: with an importance matrix, with best effort, with both, and
chosen on a text. Then nanoseconds of one core for each weight: plain, best effort, chosen on a text. It prints the
table of `quantlib.methods.shares`.

With --limits: what is left in Q4_K of the same error with an importance matrix, matrix by matrix, on prose, on code and
on sums, for several dampings of the Hessian.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import quantlib as ql  # noqa: E402
from quantlib.formats import FORMATS, BlockFormat  # noqa: E402
from quantlib.lm import CALIBRATION, EVALUATION, GENERATED, Tokenizer, cut, load, read_texts  # noqa: E402
from quantlib.methods.grid_descent import GRIDS  # noqa: E402
from quantlib.methods.hessian import Gram, output_error  # noqa: E402
from quantlib.methods.mixed import Effort, Inputs, fitted_blocks, usual  # noqa: E402
from quantlib.methods.storing import STORED_BY_WEIGHT  # noqa: E402

LAYER, KINDS, ROWS, CONTEXT = 5, ("attn_q", "attn_output", "ffn_up", "ffn_down"), 32, 512
DAMPINGS = (0.01, 0.003, 0.3)


def grams(model, tokenizer, texts: dict[str, str]) -> dict[str, Gram]:
    """What the matrices read of some texts."""
    found: dict[str, Gram] = {}

    def observe(name: str, x: np.ndarray) -> None:
        if name in names:
            found.setdefault(name, Gram(x.shape[-1])).add(x)

    names = {f"blk.{LAYER}.{kind}.weight" for kind in KINDS}
    for text in texts.values():
        windows = cut(model, tokenizer.encode(text), CONTEXT, tokenizer.bos)
        for some in windows.batches():
            model.hidden(windows.shown(some), observe=observe)
    return found


def timed(make, *given) -> tuple[np.ndarray, float]:
    make(*given)  # compiled code is loaded
    started = time.thread_time()
    return make(*given), time.thread_time() - started


def measured(form: BlockFormat, matrices) -> list[float]:
    """Four shares, then three times in nanoseconds for each weight."""
    shares, seconds, weights = [], [], 0
    for w, seen, inputs, unseen in matrices:
        importance = seen.mean_squares if form.uses_importance else None
        even = np.ones(w.shape[1], np.float32) if form.requires_importance else None
        plain, a = timed(form.quantize, w, even)
        best, b = timed(form.quantize, w, even, "best")
        chosen, c = timed(fitted_blocks, w, inputs[usual(form)], form, usual(form))
        weighed = (form.quantize(w, importance, effort) for effort in ("standard", "best"))
        errors = [output_error(w - form.dequantize(x), unseen.hessian) for x in (plain, *weighed, best, chosen)]
        shares.append(np.array([errors[1], errors[3], errors[2], errors[4]]) / errors[0])
        seconds.append((a, b, c))
        weights += w.size
    return [*np.mean(shares, axis=0), *(1e9 * np.sum(seconds, axis=0) / weights)]


def limits(model, tokenizer) -> None:
    """What hinders: inputs that hardly go together, texts of another kind; and whether damping does."""
    from quality import registers

    form, texts = FORMATS["Q4_K"], "\n\n".join(read_texts([CALIBRATION, GENERATED]).values())
    seen = grams(model, tokenizer, {"calibration": texts})
    others = {name: grams(model, tokenizer, {name: text[:12_000]}) for name, text in registers().items()}
    for damping in DAMPINGS:
        how = Effort(damping=damping)
        for name, gram in seen.items():
            w, inputs = model.weight(name)[:ROWS], Inputs.of(gram, how)
            ends = form.quantize(w, gram.mean_squares), fitted_blocks(w, inputs, form, how)
            misses = [w - form.dequantize(data) for data in ends]
            left = {
                kind: output_error(misses[1], unseen[name].hessian) / output_error(misses[0], unseen[name].hessian)
                for kind, unseen in others.items()
            }
            print(damping, name, ", ".join(f"{kind} {share:.2f}" for kind, share in left.items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limits", action="store_true", help="what hinders, instead of the table")
    only_limits = parser.parse_args().limits
    checkpoint = ql.open_checkpoint(ROOT / "assets" / "demo_model")
    model, tokenizer = load(checkpoint), Tokenizer.of(checkpoint)
    if only_limits:
        limits(model, tokenizer)
        return
    seen, unseen = (grams(model, tokenizer, read_texts(t)) for t in ([CALIBRATION, GENERATED], EVALUATION))
    efforts = {usual(FORMATS[name]) for name in ("Q4_0", "IQ3_S")}
    matrices = [
        (model.weight(n)[:ROWS], gram, {how: Inputs.of(gram, how) for how in efforts}, unseen[n])
        for n, gram in seen.items()
    ]
    for name in (*STORED_BY_WEIGHT, *GRIDS):
        numbers = measured(FORMATS[name], matrices)
        said = ", ".join(f"{x:.2f}" for x in numbers[:4]) + ", " + ", ".join(f"{x:.0f}" for x in numbers[4:])
        print(f'    "{name}": Shares({said}),', flush=True)


if __name__ == "__main__":
    main()
