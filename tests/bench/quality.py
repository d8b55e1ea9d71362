"""What the same size is worth by each way of choosing codes: python tests/bench/quality.py MODEL --calibration TEXT ...

For each recipe four files are made of the same formats and bytes: as llama-quantize does; with an importance matrix of
the calibration text; with the longer search (--effort best) on top; and chosen on the text (--method gptq). Each is
compared with MODEL on texts that are none of the calibration's: divergence (KL) with its standard error, its 99th
percentile, changed next tokens, added perplexity; and per register. What was measured stays in --out, so that a killed
run goes on; --table prints it as markdown, and --readme puts that into the README between its marks.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from functools import cached_property
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import quantlib as ql  # noqa: E402
from quantlib.checkpoints.packaged import PACKAGED, packaged  # noqa: E402
from quantlib.lm import CALIBRATION, GENERATED, Tokenizer, imatrix, load  # noqa: E402
from quantlib.lm.comparison import Comparison, baseline, compare, together  # noqa: E402
from quantlib.lm.gptq_writing import spread, write_gptq  # noqa: E402
from quantlib.lm.sums import GRADES, listed  # noqa: E402
from quantlib.lm.windows import cut  # noqa: E402

DEMO, CONTEXT = ROOT / "assets" / "demo_model", 512
RECIPES = ("Q2_K", "Q3_K_M", "Q4_0", "Q4_K_M", "IQ3_S", "IQ4_XS", "MXFP4_MOE")
WAYS = ("ggml", "imatrix", "best", "gptq")
TITLES = {"ggml": "as llama.cpp", "imatrix": "+ imatrix", "best": "+ imatrix, best effort", "gptq": "chosen on a text"}
MARKS = "<!-- quality -->", "<!-- /quality -->"
PROSE, CODE = ("story", "explanation"), ("code",)


def registers() -> dict[str, str]:
    """The texts to judge on, by register."""
    read = {name: (ROOT / "assets" / "evaluation" / f"{name}.txt").read_text() for name in (*PROSE, *CODE)}
    sums = [one for grade in GRADES for one in listed(grade, 300)]
    order = np.random.default_rng(7).permutation(len(sums))
    lines = [f"{sums[i].left} {sums[i].sign} {sums[i].right} = {sums[i].result}" for i in order]
    return {"prose": "\n".join(read[n] for n in PROSE), "code": read["code"], "arithmetic": "\n".join(lines)}


class Calibration:
    """The calibration text of a model, and what is collected on it once for all recipes."""

    def __init__(self, checkpoint, text: str, tokens: int):
        self.checkpoint, self.text, self.tokens = checkpoint, text, tokens
        tokenizer = Tokenizer.of(checkpoint)
        self.model = load(checkpoint)
        self.windows = spread(cut(self.model, tokenizer.encode(text), CONTEXT, tokenizer.bos), tokens)

    @cached_property
    def matrix(self) -> tuple:
        """The importance matrix, and the wall and processor seconds that it took."""
        wall, busy = time.monotonic(), time.process_time()
        found = imatrix(self.model, self.windows.tokens.ravel(), CONTEXT, self.windows.bos).matrix("calibration")
        return found, time.monotonic() - wall, time.process_time() - busy

    def made(self, recipe: str, way: str, folder: Path) -> tuple[Path, float, float]:
        """One file, and the wall and processor seconds that it took, the importance matrix included."""
        out = folder / f"{recipe}-{way}.gguf"
        matrix, wall, busy = self.matrix if way in ("imatrix", "best") else (None, 0.0, 0.0)
        wall, busy = time.monotonic() - wall, time.process_time() - busy
        if way == "gptq":
            write_gptq(self.checkpoint, out, self.text, recipe, context=CONTEXT, tokens=self.tokens)
        else:
            plan = ql.plan(self.checkpoint, recipe, matrix, effort="best" if way == "best" else "standard")
            if not plan.lacking:
                ql.run(plan, out)
        return out, time.monotonic() - wall, time.process_time() - busy


def measured(calibration: Calibration, recipe: str, way: str, judges: dict) -> dict | None:
    with tempfile.TemporaryDirectory() as folder:
        path, wall, busy = calibration.made(recipe, way, Path(folder))
        if not path.exists():
            return None  # the recipe cannot be without an importance matrix
        with ql.open_checkpoint(path) as file:
            changed = load(file)
            found = {name: compare(changed, judge) for name, judge in judges.items()}
        facts = {"recipe": recipe, "way": way, "nbytes": path.stat().st_size}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    facts |= {"seconds": round(wall), "cpu_seconds": round(busy), "peak_mb": round(peak)}
    facts |= {"calibration_tokens": int(calibration.windows.tokens.size) if way != "ggml" else 0}
    facts["total"] = numbers(together(list(found.values())))
    facts["registers"] = {name: numbers(one) for name, one in found.items()}
    return facts


def numbers(found: Comparison) -> dict:
    kl, stderr = found.kl
    difference, difference_stderr = found.difference
    values = {
        "tokens": found.tokens, "kl": kl, "kl_stderr": stderr, "kl_99": found.kl_percentile(99),
        "changed": found.changed_top[0], "ppl_added": difference, "ppl_added_stderr": difference_stderr,
        "ppl": found.baseline_perplexity.value,
    }  # fmt: skip
    return {name: round(float(value), 6) for name, value in values.items()}


def table(document: dict) -> str:
    """What was measured as markdown."""
    lines = [
        "| recipe | codes | MB | divergence | of imatrix's | 99th percentile | changed tokens | added perplexity |"
        " prose / code / sums, of imatrix's | CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for recipe in dict.fromkeys(m["recipe"] for m in document["measured"]):
        own = {m["way"]: m for m in document["measured"] if m["recipe"] == recipe}
        for way in (way for way in WAYS if way in own):
            m, base = own[way], own.get("imatrix")
            t = m["total"]
            share, parts = "", ""
            if base and way in ("best", "gptq"):
                share = f"{t['kl'] / base['total']['kl']:.2f}"
                pairs = [(m["registers"][r]["kl"], base["registers"][r]["kl"]) for r in m["registers"]]
                parts = " / ".join(f"{a / b:.2f}" for a, b in pairs)
            lines.append(
                f"| {recipe} | {TITLES[way]} | {m['nbytes'] / 1e6:.1f} "
                f"| {t['kl']:.4f} ± {t['kl_stderr']:.4f} "
                f"| {share} | {t['kl_99']:.3f} | {t['changed']:.1%} "
                f"| {t['ppl_added']:+.2f} ± {t['ppl_added_stderr']:.2f} "
                f"| {parts} | {m['cpu_seconds']} |"
            )
    return "\n".join(lines)


def into_readme(text: str) -> None:
    """Put the table between its marks."""
    path, (first, last) = ROOT / "README.md", MARKS
    before, _, rest = path.read_text(encoding="utf-8").partition(first)
    _, _, after = rest.partition(last)
    path.write_text(f"{before}{first}\n{text}\n{last}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=str(DEMO), help="or the name of a package that has a model")
    parser.add_argument("--calibration", nargs="+", type=Path, default=[CALIBRATION, GENERATED])
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    parser.add_argument("--ways", nargs="+", default=WAYS, choices=WAYS)
    parser.add_argument("--tokens", type=int, default=1 << 16, help="of the calibration texts, at most")
    parser.add_argument("--windows", type=int, default=8, help="of each register, at most")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file that grows by what is measured")
    parser.add_argument("--table", action="store_true", help="only print what is in --out")
    parser.add_argument("--readme", action="store_true", help="put what is in --out into the README")
    args = parser.parse_args()
    document = json.loads(args.out.read_text()) if args.out.exists() else {"measured": []}
    if args.readme:
        into_readme(table(document))
    if args.table or args.readme:
        print(table(document))
        return
    text = "\n\n".join(path.read_text(encoding="utf-8") for path in args.calibration)
    with ql.open_checkpoint(packaged(args.model) if args.model in PACKAGED else args.model) as checkpoint:
        calibration, tokenizer = Calibration(checkpoint, text, args.tokens), Tokenizer.of(checkpoint)
        model, judges = calibration.model, {}
        for name, judged in registers().items():
            windows = cut(model, tokenizer.encode(judged), CONTEXT, tokenizer.bos)
            judges[name] = baseline(model, spread(windows, args.windows * CONTEXT))
        document |= {"model": Path(args.model).name, "calibration": [path.name for path in args.calibration]}
        for recipe in args.recipes:
            for way in args.ways:
                if any((m["recipe"], m["way"]) == (recipe, way) for m in document["measured"]):
                    continue
                found = measured(calibration, recipe, way, judges)
                if found:
                    document["measured"].append(found)
                    args.out.write_text(json.dumps(document, indent=1) + "\n")
                    print(recipe, way, found["total"], found["cpu_seconds"], "CPU s", flush=True)
    print(table(document))


if __name__ == "__main__":
    main()
