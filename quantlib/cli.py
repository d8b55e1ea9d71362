"""The command line: python -m quantlib formats | inspect | quantize | perplexity | generate."""

import argparse
import json
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import quantlib as ql
from quantlib import tables
from quantlib.recipes import RECIPES, Overrides


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 1 for a run that failed (one sentence on standard error)."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except ql.QuantlibError as error:
        print(f"quantlib: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("quantlib: stopped; nothing was written.", file=sys.stderr)
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        sys.stderr.close()
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m quantlib", description="Quantize model checkpoints, and look inside."
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, run: Callable, help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        sub.set_defaults(command=run)
        sub.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
        return sub

    command("formats", _formats, "list the number formats and what they cost")

    inspect = command("inspect", _inspect, "show what a checkpoint holds, reading only its header")
    inspect.add_argument("source", metavar="SOURCE", help=SOURCE_HELP)
    inspect.add_argument("--tensor", metavar="NAME", help="read this tensor too and show its statistics")

    quantize = command("quantize", _quantize, "quantize a checkpoint to a GGUF file")
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
    quantize.add_argument("--threads", type=_positive, metavar="N", help="default: one for each core")
    quantize.add_argument("--dry-run", action="store_true", help="show the plan and its size; write nothing")
    measure = command("perplexity", _perplexity, "measure a Llama model's perplexity on a text")
    measure.add_argument("model", metavar="MODEL", help=SOURCE_HELP)
    measure.add_argument("--text", required=True, type=Path, metavar="FILE", help="a UTF-8 text")
    measure.add_argument(
        "--context", type=_positive, default=512, metavar="N", help="tokens a window, default %(default)s"
    )
    measure.add_argument("--baseline", metavar="MODEL", help="measure this model too, and the difference")

    write = command("generate", _generate, "let a Llama model write on")
    write.add_argument("model", metavar="MODEL", help=SOURCE_HELP)
    write.add_argument("prompt", metavar="PROMPT")
    write.add_argument("--tokens", type=_positive, default=64, metavar="N", help="at most so many, default %(default)s")
    write.add_argument("--temperature", type=float, default=0.0, metavar="T", help="0 takes the likeliest token")
    write.add_argument("--seed", type=int, default=0, metavar="N", help="repeats what was drawn")
    quantize.epilog = "recipes: " + "; ".join(f"{r.name}: {r.summary}" for r in RECIPES.values())
    return parser


SOURCE_HELP = "a safetensors file, a Hugging Face folder or a GGUF file"


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def _pattern(text: str) -> tuple[str, str]:
    pattern, found, name = text.rpartition("=")
    if not found or not pattern or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form REGEX=FORMAT, such as attn_v=Q6_K")
    return pattern, name


def _formats(options) -> int:
    rows = tables.formats()
    if options.json:
        return _print_json(rows)
    columns = ["name", "kind", "bpw", "values", "nbytes", "summary"]
    print(tables.as_text([{c: row[c] for c in columns} for row in rows]))
    return 0


def _inspect(options) -> int:
    with ql.open_checkpoint(options.source) as checkpoint:
        tensor = _named(checkpoint, options.tensor) if options.tensor else None
        if options.json:
            document = tables.checkpoint(checkpoint) | {"tensors": tables.tensors(checkpoint)}
            return _print_json(document | ({"tensor": tables.statistics(tensor)} if tensor else {}))
        if tensor:
            print(tables.as_text([{"": k, "value": v} for k, v in tables.statistics(tensor).items()]))
        else:
            print(tables.as_text([{"": k, "value": v} for k, v in tables.checkpoint(checkpoint).items()]))
            print()
            print(tables.as_text(tables.tensors(checkpoint)))
    return 0


def _named(checkpoint: ql.Checkpoint, name: str) -> ql.Tensor:
    if name not in checkpoint.tensors:
        raise ql.CheckpointError(
            f"There is no tensor {name!r} in {checkpoint.source}; `inspect` without --tensor lists them."
        )
    return checkpoint.tensors[name]


def _quantize(options) -> int:
    with ql.open_checkpoint(options.source) as checkpoint:
        overrides = Overrides(options.output_format, options.embedding_format, tuple(options.tensor_format))
        plan = ql.plan(checkpoint, options.recipe, options.imatrix, options.pure, overrides)
        for warning in plan.warnings:
            print(f"quantlib: note: {warning}", file=sys.stderr)
        if options.dry_run:
            return _print_json(tables.plan(plan)) if options.json else _print_plan(plan)
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        pool = ThreadPoolExecutor(options.threads) if options.threads else nullcontext(None)
        with pool as executor:
            result = ql.run(plan, options.out, _progress_line(), stop.is_set, executor)
    if options.json:
        return _print_json(tables.plan(plan) | tables.result(result))
    print(
        f"{result.path}: {tables.size(result.nbytes)}, {plan.bpw:.2f} bpw, {result.seconds:.1f} s "
        f"(from {tables.size(plan.source_nbytes)}); written and verified."
    )
    return 0


def _perplexity(options) -> int:
    from quantlib.lm import Llama, Tokenizer, perplexity

    try:
        text = options.text.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ql.QuantlibError(f"{options.text} cannot be read as UTF-8 text: {error}.") from None

    def measure(source: str):
        with ql.open_checkpoint(source) as checkpoint:
            tokenizer = Tokenizer.of(checkpoint)
            return perplexity(Llama(checkpoint), tokenizer.encode(text), options.context, tokenizer.bos)

    found = measure(options.model)
    document = {"perplexity": found.value, "stderr": found.stderr, "tokens": found.tokens, "context": options.context}
    if options.baseline:
        base = measure(options.baseline)
        document |= {"baseline": base.value, "difference": found.value - base.value}
    if options.json:
        return _print_json(document)
    print(f"perplexity {found.value:.4f} ± {found.stderr:.4f} over {found.tokens:,} tokens")
    if options.baseline:
        print(f"baseline   {base.value:.4f} ± {base.stderr:.4f}; difference {found.value - base.value:+.4f}")
    return 0


def _generate(options) -> int:
    from quantlib.lm import Llama, Tokenizer, generate

    with ql.open_checkpoint(options.model) as checkpoint:
        tokenizer, model = Tokenizer.of(checkpoint), Llama(checkpoint)
    ids = tokenizer.encode(options.prompt)
    new = list(generate(model, ids, options.tokens, options.temperature, options.seed, stop=tokenizer.eos))
    text = tokenizer.decode(new)
    if options.json:
        return _print_json({"prompt": options.prompt, "text": text, "tokens": new})
    print(options.prompt + text)
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


def _print_json(document) -> int:
    json.dump(document, sys.stdout, indent=1, ensure_ascii=False, allow_nan=False)
    print()
    return 0
