"""quantize: a checkpoint to a GGUF file."""

import argparse
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import quantlib as ql
from quantlib import tables
from quantlib.cli.shared import SOURCE_HELP, command, positive, print_json
from quantlib.recipes import RECIPES, Overrides


def add(commands) -> None:
    quantize = command(commands, "quantize", run, "quantize a checkpoint to a GGUF file")
    quantize.add_argument("source", metavar="SOURCE", help=SOURCE_HELP)
    quantize.add_argument("out", metavar="OUT.gguf", type=Path, help="the file to write")
    quantize.add_argument(
        "--recipe",
        default="Q4_K_M",
        type=str.upper,
        choices=list(RECIPES),
        help="default: %(default)s",
        metavar="RECIPE",
    )
    quantize.add_argument("--imatrix", type=Path, metavar="FILE", help="weigh errors by this importance matrix")
    quantize.add_argument("--output-format", metavar="F", help="the format of the output matrix")
    quantize.add_argument("--embedding-format", metavar="F", help="the format of the token embedding")
    quantize.add_argument(
        "--tensor-format", type=_pattern, metavar="REGEX=F", action="append", default=[],
        help="the format of tensors in whose GGUF name the expression is found; may be repeated, the first decides",
    )  # fmt: skip
    quantize.add_argument("--pure", action="store_true", help="the recipe's default format for every matrix")
    quantize.add_argument("--threads", type=positive, metavar="N", help="default: one for each core")
    quantize.add_argument("--dry-run", action="store_true", help="show the plan and its size; write nothing")
    quantize.epilog = "recipes: " + "; ".join(f"{r.name}: {r.summary}" for r in RECIPES.values())


def _pattern(text: str) -> tuple[str, str]:
    pattern, found, name = text.rpartition("=")
    if not found or not pattern or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form REGEX=FORMAT, such as attn_v=Q6_K")
    return pattern, name


def run(options) -> int:
    with ql.open_checkpoint(options.source) as checkpoint:
        overrides = Overrides(options.output_format, options.embedding_format, tuple(options.tensor_format))
        plan = ql.plan(checkpoint, options.recipe, options.imatrix, options.pure, overrides)
        for warning in plan.warnings:
            print(f"quantlib: note: {warning}", file=sys.stderr)
        if options.dry_run:
            return print_json(tables.plan(plan)) if options.json else _print_plan(plan)
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        pool = ThreadPoolExecutor(options.threads) if options.threads else nullcontext(None)
        with pool as executor:
            result = ql.run(plan, options.out, _progress_line(), stop.is_set, executor)
    if options.json:
        return print_json(tables.plan(plan) | tables.result(result))
    print(
        f"{result.path}: {tables.size(result.nbytes)}, {plan.bpw:.2f} bpw, {result.seconds:.1f} s "
        f"(from {tables.size(plan.source_nbytes)}); written and verified."
    )
    return 0


def _print_plan(plan: ql.Plan) -> int:
    columns = ["name", "shape", "source", "target", "nbytes", "reason"]
    print(tables.as_text([{c: row[c] for c in columns} for row in tables.plan(plan)["tensors"]]))
    counts = Counter(t.target for t in plan.tensors)
    print()
    print(", ".join(f"{count} tensors {name}" for name, count in counts.most_common()))
    sizes = f"{tables.size(plan.nbytes)} ({plan.nbytes:,} bytes), {plan.bpw:.2f} bpw"
    print(f"{sizes}, from {tables.size(plan.source_nbytes)}")
    return 0


def _progress_line() -> Callable[[ql.Progress], None] | None:
    if not sys.stderr.isatty():
        return None

    def show(p: ql.Progress) -> None:
        end = "\n" if p.weights_done == p.weights else ""
        print(f"\r\033[K{p.fraction:4.0%}  {p.index + 1}/{p.count}  {p.tensor}", end=end, file=sys.stderr, flush=True)

    return show
