"""inspect: what a checkpoint holds, what its weights are like, and how it differs from another."""

from pathlib import Path

import quantlib as ql
from quantlib import inspection, tables
from quantlib.cli.reports import report_of, report_path, write_report
from quantlib.cli.shared import SOURCE_HELP, command, files_named, print_json, replaces
from quantlib.cli.words import printable
from quantlib.destinations import Destination


def add(commands) -> None:
    inspect = command(
        commands,
        "inspect",
        run,
        "show what a checkpoint holds, reading only its header",
        examples=(
            "inspect model.gguf",
            "inspect model.gguf --tensor blk.0.ffn_down.weight",
            "inspect original/ --against model.gguf --report difference.html",
        ),
    )
    inspect.add_argument("source", metavar="SOURCE", help=SOURCE_HELP)
    what = inspect.add_mutually_exclusive_group()
    what.add_argument("--tensor", metavar="NAME", help="read this tensor too and show its statistics")
    what.add_argument("--statistics", action="store_true", help="read every tensor and show its statistics")
    what.add_argument(
        "--against", metavar="OTHER", help="compare with another checkpoint, tensor by tensor: formats, sizes, error"
    )
    inspect.add_argument(
        "--report", type=report_path, metavar="FILE", help="write the table to a .html, .csv or .json file, too"
    )
    replaces(inspect)


def run(options) -> int:
    with ql.open_checkpoint(options.source) as checkpoint:
        reads = (*checkpoint.paths, *files_named(options.against))
        report = report_of(options, reads, checkpoint.folder)
        if options.against:
            return _compare(checkpoint, options, report)
        if options.tensor:
            return _one(checkpoint, options, report)
        return _list(checkpoint, options, report)


def _list(checkpoint: ql.Checkpoint, options, report: Destination | None) -> int:
    """All tensors, with statistics on request."""
    about = tables.checkpoint(checkpoint)
    rows = (
        [tables.statistics(found) for found in inspection.all_statistics(checkpoint)]
        if options.statistics
        else tables.tensors(checkpoint)
    )
    if report:
        facts = [(key, str(about[key])) for key in ("source", "kind", "architecture", "weights", "nbytes", "bpw")]
        write_report(report, "What the checkpoint holds", facts, rows, bar="nbytes")
    if options.json:
        return print_json(about | {"tensors": rows})
    print(tables.as_text([{"": k, "value": v} for k, v in about.items()]))
    print()
    print(tables.as_text(rows))
    return 0


def _one(checkpoint: ql.Checkpoint, options, report: Destination | None) -> int:
    """One tensor's statistics."""
    row = tables.statistics(inspection.statistics(_named(checkpoint, options.tensor)))
    if report:
        write_report(report, options.tensor, [("source", str(checkpoint.source))], [row])
    if options.json:
        return print_json(tables.checkpoint(checkpoint) | {"tensors": tables.tensors(checkpoint), "tensor": row})
    print(tables.as_text([{"": k, "value": v} for k, v in row.items()]))
    return 0


def _compare(checkpoint: ql.Checkpoint, options, report: Destination | None) -> int:
    """The checkpoint against another one."""
    with ql.open_checkpoint(options.against) as other:
        report_of(options, other.paths, other.folder)  # the other's files stay, too
        found = inspection.compare(checkpoint, other)
        total = tables.loss(inspection.total_loss(found.rows))
        nbytes = checkpoint.nbytes, other.nbytes
    rows = [tables.comparison(row) for row in found.rows]
    if report:
        facts = [
            ("first", f"{checkpoint.source}, {tables.size(nbytes[0])}"),
            ("other", f"{other.source}, {tables.size(nbytes[1])}"),
            *((what, "–" if value is None else f"{value:.6g}") for what, value in total.items()),
        ]
        write_report(report, "Two checkpoints compared", facts, rows, bar="relative")
    if options.json:
        sides = {"source": str(checkpoint.source), "other": str(other.source)}
        sizes = {"nbytes": nbytes[0], "other nbytes": nbytes[1]}
        said = {"verdict": found.verdict, "words": found.words}
        return print_json(sides | sizes | said | {"total": total, "tensors": rows})
    print(tables.as_text(rows))
    print()
    print(tables.as_text([{"over all weights of both": k, "": v} for k, v in total.items()]))
    print()
    print(printable(found.words))
    return 0


def _named(checkpoint: ql.Checkpoint, name: str) -> ql.Tensor:
    if name not in checkpoint.tensors:
        raise ql.CheckpointError(
            f"There is no tensor {name!r} in {Path(str(checkpoint.source))}; `inspect` without --tensor lists them."
        )
    return checkpoint.tensors[name]
