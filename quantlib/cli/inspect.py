"""inspect: what a checkpoint holds."""

import quantlib as ql
from quantlib import tables
from quantlib.cli.shared import SOURCE_HELP, command, print_json


def add(commands) -> None:
    inspect = command(commands, "inspect", run, "show what a checkpoint holds, reading only its header")
    inspect.add_argument("source", metavar="SOURCE", help=SOURCE_HELP)
    inspect.add_argument("--tensor", metavar="NAME", help="read this tensor too and show its statistics")


def run(options) -> int:
    with ql.open_checkpoint(options.source) as checkpoint:
        tensor = _named(checkpoint, options.tensor) if options.tensor else None
        if options.json:
            document = tables.checkpoint(checkpoint) | {"tensors": tables.tensors(checkpoint)}
            return print_json(document | ({"tensor": tables.statistics(tensor)} if tensor else {}))
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
