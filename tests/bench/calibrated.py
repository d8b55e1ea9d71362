"""What choosing codes on a text costs beside the text's own way through the model: python tests/bench/calibrated.py.

python tests/bench/calibrated.py [MODEL] [--recipe Q4_K_M] [--text FILE ...] [--tokens N] [--layers N]

Prints processor seconds of the two forward passes that are needed (each layer sees the text before and after its codes
are chosen), of the whole walk, their ratio, and the largest memory. The mark is a ratio of 1.5.
"""

import argparse
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import quantlib as ql  # noqa: E402
from quantlib.lm import CALIBRATION, GENERATED, Tokenizer, load  # noqa: E402
from quantlib.lm.gptq_writing import method_of, spread  # noqa: E402
from quantlib.lm.quantizing import quantize_layers  # noqa: E402
from quantlib.lm.threads import side_by_side  # noqa: E402
from quantlib.lm.windows import cut  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=str(ROOT / "assets" / "demo_model"))
    parser.add_argument("--recipe", default="Q4_K_M")
    parser.add_argument("--text", nargs="+", type=Path, default=[CALIBRATION, GENERATED])
    parser.add_argument("--tokens", type=int, default=1 << 16)
    parser.add_argument("--layers", type=int, help="only the first so many")
    args = parser.parse_args()
    with ql.open_checkpoint(args.model) as checkpoint:
        model, tokenizer = load(checkpoint, decoded=False), Tokenizer.of(checkpoint)
        model = replace(model, shape=replace(model.shape, layers=args.layers or model.shape.layers))
        text = "\n\n".join(path.read_text(encoding="utf-8") for path in args.text)
        windows = spread(cut(model, tokenizer.encode(text), 512, tokenizer.bos), args.tokens)
        planned = ql.plan(checkpoint, args.recipe, important=True)
        methods = {t.name: found for t in planned.tensors if (found := method_of(t)) is not None}
        started = time.process_time()
        for _ in side_by_side(lambda some: model.hidden(windows.shown(some)), windows.batches()):
            pass
        forward = 2 * (time.process_time() - started)
        for warm in (True, False):  # the first layer once before: kernels are compiled
            started = time.process_time()
            for layer in quantize_layers(model, windows, methods):
                if warm and layer.index == 0:
                    break
        whole = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{windows.tokens.size:,} tokens, {model.shape.layers} layers, {args.recipe}; processor seconds:")
    print(f"two forward passes {forward:.1f}, all {whole:.1f}, ratio {whole / forward:.2f}; {peak:.2f} GiB at most")


if __name__ == "__main__":
    main()
