"""quantize: a checkpoint to a GGUF file."""

import argparse
import os
import signal
import threading
from collections import Counter
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import quantlib as ql
from quantlib import tables
from quantlib.checkpoints import modelfile
from quantlib.cli import calibrated, publishing
from quantlib.cli.memory import keep_freed_memory
from quantlib.cli.progress import progress_of
from quantlib.cli.publishing import Publication
from quantlib.cli.reports import report_of, report_path, write_report
from quantlib.cli.shared import SOURCE_HELP, command, list_at_end, note, positive, print_json, replaces, writes
from quantlib.cli.words import printable
from quantlib.destinations import Destination, check_distinct
from quantlib.jobs.planning import with_metadata
from quantlib.jobs.pool import scheduler_pool
from quantlib.jobs.running import check_target
from quantlib.jobs.standing_in import stand_in_words
from quantlib.jobs.ways import ON_A_TEXT, TOKENS, Expected, expected, matters, tokens_of
from quantlib.recipes import RECIPES, Overrides, TensorRule
from quantlib.recipes.budget import PREFIX, parse_budget


def add(commands) -> None:
    quantize = command(
        commands,
        "quantize",
        run,
        "quantize a checkpoint to a GGUF file",
        examples=(
            "quantize model/ model-Q4_K_M.gguf",
            "quantize model/ --recipe auto:4.5bpw --imatrix imatrix.gguf -o model.gguf",
            "quantize model/ model.gguf --tensor-format attn_v=Q6_K --dry-run",
            "quantize model/ model.gguf --override-kv general.name=str:Mine",
        ),
    )
    quantize.add_argument("source", metavar="SOURCE", help=SOURCE_HELP)
    writes(
        quantize,
        "OUT.gguf",
        "the file to write; it is read back and verified, so a pipe or standard output (-) is refused",
    )
    quantize.add_argument(
        "--recipe", type=_recipe, metavar="RECIPE",
        help="a name (below), a budget as auto:4.5bpw or auto:6GB, a TOML file, or a GGUF file whose mixture of "
        "formats is taken over; default: Q4_K_M (--mmproj: F16)",
    )  # fmt: skip
    quantize.add_argument("--imatrix", type=Path, metavar="FILE", help="weigh errors by this importance matrix")
    quantize.add_argument("--output-format", metavar="F", help="the format of the output matrix")
    quantize.add_argument("--embedding-format", metavar="F", help="the format of the token embedding")
    quantize.add_argument("--leave-output", action="store_true", help="leave the output matrix as it is")
    quantize.add_argument(
        "--tensor-format", type=_pattern, metavar="REGEX=F", action="append", default=[],
        help="the format of tensors in whose GGUF name the expression is found; may be repeated, the first decides",
    )  # fmt: skip
    quantize.add_argument(
        "--mmproj", action="store_true", help="the half that sees pictures, which llama.cpp takes beside the other"
    )
    quantize.add_argument(
        "--adapter", type=Path, metavar="FOLDER", help="add this LoRA adapter to the weights first (see `adapter`)"
    )
    quantize.add_argument("--pure", action="store_true", help="the recipe's default format for every matrix")
    quantize.add_argument(
        "--effort", choices=ql.formats.EFFORTS, default="standard",
        help="best: a lower error in the same size (Q4_0 to Q5_1, Q2_K to Q6_K, IQ4_NL, IQ4_XS); default: ggml's bytes",
    )  # fmt: skip
    quantize.add_argument(
        "--method", choices=["ggml", "best", "gptq"],
        help="how codes are chosen, the size being the same. ggml: as llama.cpp would, the default; best: better codes "
        "by a longer search, as --effort best; gptq: chosen on a text of yours (--text), for what each layer puts out. "
        "--dry-run says what each can be expected to lose and to take",
    )  # fmt: skip
    quantize.add_argument(
        "--text", "--calibration", type=Path, metavar="FILE", action="append",
        help="a UTF-8 text of the kind that the model is used for, for --method gptq; may be repeated",
    )  # fmt: skip
    quantize.add_argument(
        "--tokens", type=positive, metavar="N",
        help="how many of the text's tokens are used at most, evenly from all of it; default: 65536",
    )  # fmt: skip
    quantize.add_argument(
        "--override-kv", metavar="KEY=VALUE", action="append", default=[],
        help="give a metadata key another value; or KEY=TYPE:VALUE, with int, float, bool or str; may be repeated",
    )  # fmt: skip
    where = quantize.add_mutually_exclusive_group()
    where.add_argument("--threads", type=positive, metavar="N", help="default: one for each core")
    where.add_argument("--scheduler", metavar="ADDRESS", help="a Dask cluster on shared storage: tcp://host:8786")
    quantize.add_argument("--dry-run", action="store_true", help="show the plan and its size; write nothing")
    quantize.add_argument(
        "--report", type=report_path, metavar="FILE", help="write each tensor's error to a .html, .csv or .json file"
    )
    quantize.add_argument("--card", action="store_true", help="write a model card, README.md, beside OUT.gguf")
    publishing.add(quantize, "the file and its model card")
    quantize.add_argument("--modelfile", action="store_true", help="write a Modelfile for Ollama beside OUT.gguf")
    replaces(quantize)
    quantize.add_argument("--json-progress", action="store_true", help="a line of JSON a second on standard error")
    list_at_end(quantize, "recipes", {r.name: r.summary for r in RECIPES.values()})


def _recipe(text: str) -> str:
    if text.upper() in RECIPES:
        return text.upper()
    if text.lower().endswith((".toml", ".gguf")):
        return text
    try:
        if text.lower().startswith(PREFIX):
            return parse_budget(text).name
    except ql.RecipeError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    known = ", ".join(RECIPES)
    raise argparse.ArgumentTypeError(f"{text[:40]!r} is none of {known}, no {PREFIX} budget, no .toml or .gguf file")


def _pattern(text: str) -> tuple[str, str]:
    pattern, found, name = text.rpartition("=")
    if not found or not pattern or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form REGEX=FORMAT, such as attn_v=Q6_K")
    return pattern, name


def run(options) -> int:
    _settle_method(options)
    options.recipe = options.recipe or ("F16" if options.mmproj else "Q4_K_M")
    if options.adapter and (options.method or options.scheduler):
        other = "--method" if options.method else "--scheduler"
        raise ql.QuantlibError(
            f"--adapter and {other} do not go together: write the sum first (--adapter, --recipe BF16), then use that."
        )
    if options.mmproj and options.method:
        raise ql.QuantlibError(
            "--method calibrates on text, and --mmproj is the half that sees pictures: leave out one."
        )
    rules = tuple(TensorRule(name, pattern) for pattern, name in options.tensor_format)
    overrides = Overrides(options.output_format, options.embedding_format, rules, options.leave_output)
    if options.method and not options.dry_run:
        return calibrated.run(options, overrides)
    with ql.open_checkpoint(options.source) as opened:
        checkpoint = ql.vision_half(opened) if options.mmproj else opened
        checkpoint = ql.merged(checkpoint, options.adapter) if options.adapter else checkpoint
        plan = ql.plan(checkpoint, options.recipe, options.imatrix, options.pure, overrides, effort=options.effort)
        plan = with_metadata(plan, options.override_kv)
        for warning in plan.warnings:
            note(warning)
        if said := stand_in_words(plan):
            note(said)
        if options.dry_run:
            return _show_plan(plan, options)
        report, beside = _others(plan, options)
        publication = Publication.checked(options)
        keep_freed_memory()
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        with _executor(options) as executor, progress_of(options.json_progress) as progress:
            result = ql.run(plan, options.out, progress, stop.is_set, executor, options.overwrite)
        if beside:
            beside.write_text(modelfile(plan.metadata, options.out.name))
        publication.finish(plan, result)
    return _show_result(plan, result, report, options)


def _settle_method(options) -> None:
    """ggml and best are efforts; what remains as the method calibrates on a text."""
    if options.method in ("ggml", "best"):
        if options.effort == "best" and options.method == "ggml":
            raise ql.RecipeError("--method ggml makes ggml's bytes, and --effort best others: leave one of them out.")
        options.effort, options.method = ("best" if options.method == "best" else "standard"), None
    if options.method is None and (options.text or options.tokens):
        given = "--text" if options.text else "--tokens"
        raise ql.RecipeError(f"{given} is for --method gptq, which chooses codes on a text: add it, or leave it out.")


def _others(plan: ql.Plan, options) -> tuple[Destination | None, Destination | None]:
    """Where the report and the Modelfile go, None where they are not wanted; checked before the run."""
    check_target(plan, options.out, options.overwrite)
    report = report_of(options, plan.reads, plan.checkpoint.folder)
    beside = Destination(options.out.with_name("Modelfile")) if options.modelfile else None
    check_distinct([options.out, *(other.path for other in (report, beside) if other)])
    if beside and os.path.lexists(beside.path):
        raise ql.QuantlibError(f"{beside.path} is there already: move it away, or leave out --modelfile.")
    return report, beside


def _executor(options) -> AbstractContextManager[Executor | None]:
    if options.scheduler:
        return scheduler_pool(options.scheduler)
    return ThreadPoolExecutor(options.threads) if options.threads else nullcontext(None)


def _show_plan(plan: ql.Plan, options) -> int:
    try:
        _others(plan, options)
    except ql.QuantlibError as error:
        note(error)
    found = expected(plan, _calibration_tokens(options)) if matters(plan) and not options.mmproj else ()
    if options.json:
        return print_json(tables.plan(plan) | {"ways": tables.ways(found)})
    columns = ["name", "shape", "source", "target", "nbytes", "reason"]
    print(tables.as_text([{c: row[c] for c in columns} for row in tables.plan(plan)["tensors"]]))
    counts = Counter(t.target for t in plan.tensors)
    print()
    print(", ".join(f"{count} tensors {name}" for name, count in counts.most_common()))
    sizes = f"{tables.size(plan.nbytes)} ({plan.nbytes:,} bytes), {plan.bpw:.2f} bpw"
    print(f"{sizes}, from {tables.size(plan.source_nbytes)}")
    if found:
        print("\nThree ways to choose the codes of the same formats, as estimated from the model's formats and shapes:")
        print(tables.as_text([_way(each) for each in found]))
        print("loss: squared error of what the layers put out, as a share of llama.cpp's")
    return 0


def _way(found: Expected) -> dict[str, str]:
    text = " --text FILE" if found.way is ON_A_TEXT else ""
    takes = f"about {tables.duration(max(1, found.seconds))}"
    takes = f"not for this model: {found.unable}" if found.unable else takes
    return {
        "option": f"--method {found.way.name}{text}", "codes": found.way.title,
        "loss": f"{found.loss:.0%}", "time on this machine": takes,
    }  # fmt: skip


def _calibration_tokens(options) -> int:
    """How many tokens a calibration would take: of the texts that were given, or as many as it takes at most."""
    given = sum(path.stat().st_size for path in options.text or () if path.is_file())
    return min(options.tokens or TOKENS, tokens_of(given) if given else TOKENS)


def _show_result(plan: ql.Plan, result: ql.RunResult, report: Destination | None, options) -> int:
    document = tables.plan(plan) | tables.result(result)
    for found in result.outliers:
        note(found.words)
    size = f"{tables.size(result.nbytes)}, {plan.bpw:.2f} bpw"
    if report:
        facts = [("file", f"{result.path}, {size}"), ("recipe", plan.recipe.name), ("from", str(options.source))]
        write_report(report, "What quantizing lost", facts, document["tensors"], bar="relative")
    if options.json:
        return print_json(document)
    columns = ["name", "source", "target", "nbytes", "rmse", "relative", "sqnr", "largest_error", "cosine"]
    print(tables.as_text([{c: row[c] for c in columns} for row in document["tensors"]]))
    print()
    resumed = f", {result.resumed} tensors taken over from a killed run" if result.resumed else ""
    print(
        f"{printable(result.path)}: {size}, {result.seconds:.1f} s "
        f"(from {tables.size(plan.source_nbytes)}){resumed}; written and verified."
    )
    return 0
