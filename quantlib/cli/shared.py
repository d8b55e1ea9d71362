"""What commands share: how a command is declared, arguments that several take, and JSON output."""

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path

from quantlib.checkpoints.base import shown
from quantlib.cli.words import as_json, printable
from quantlib.destinations import TABLES, Destination, destination
from quantlib.errors import QuantlibError

DIGITS = 9  # that a number of tokens, threads or the like may have
SOURCE_HELP = (
    "a Hugging Face folder, a file of safetensors, GGUF, PyTorch, NumPy or ONNX, or hf://owner/name[@revision]"
    "[/file.gguf]"
)


_QUIET = ContextVar("quiet", default=False)


def be_quiet(wanted: bool) -> None:
    """Whether notes and progress are left out from now on."""
    _QUIET.set(wanted)


def quiet() -> bool:
    return _QUIET.get()


def memory_at_most() -> str:
    """The most memory that this process had, in words; nothing where the system does not tell."""
    try:
        import resource
    except ImportError:
        return ""
    from quantlib import tables

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return f", {tables.size(most)} of memory at most"


class Command(argparse.ArgumentParser):
    """A command's parser. positional_out: its last position is what is written, which -o or --out may name, too."""

    positional_out = False

    def parse_known_args(self, args=None, namespace=None):
        args = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(out_last(args) if self.positional_out else args, namespace)


def out_last(arguments: Sequence[str]) -> list[str]:
    """The arguments with the value of -o or --out behind all others, where the position is that it names."""
    for i, word in enumerate(arguments):
        if word == "--":
            break
        if word in ("-o", "--out") and i + 1 < len(arguments):
            return [*arguments[:i], *arguments[i + 2 :], arguments[i + 1]]
        if word.startswith("--out="):
            return [*arguments[:i], *arguments[i + 1 :], word.removeprefix("--out=")]
    return list(arguments)


def writes(parser: argparse.ArgumentParser, metavar: str, help: str) -> None:
    """The position of what a command writes, as its last argument or anywhere after -o."""
    parser.positional_out = True
    parser.add_argument("out", metavar=metavar, type=Path, help=help)
    parser.add_argument("-o", "--out", dest="named_out", metavar=metavar, help=f"the same as {metavar} at the end")


def command(
    commands, name: str, run: Callable[[argparse.Namespace], int], help: str, examples: Sequence[str] = ()
) -> argparse.ArgumentParser:
    """A parser for one command; run(options) returns the exit status. examples: what --help shows at its end."""
    sub = commands.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sub.set_defaults(command=run)
    sub.epilog = "\n".join(["examples:", *(f"  quantlib {example}" for example in examples)]) if examples else None
    sub.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    loud = sub.add_mutually_exclusive_group()
    loud.add_argument("-q", "--quiet", action="store_true", help="leave out notes and progress")
    loud.add_argument("-v", "--verbose", action="store_true", help="say how long it took, and where an error arose")
    return sub


def positive(text: str) -> int:
    """An argument that is a whole number above zero."""
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a whole number from 1 to {10**DIGITS - 1:,}")
    return int(text)


def natural(text: str) -> int:
    """An argument that is a whole number, zero or more."""
    return 0 if text == "0" else positive(text)


def temperature(text: str) -> float:
    """An argument that is a temperature: 0 or more, and no infinity."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1000:  # also where it is not a number
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a number from 0 to 1000")
    return value


def note(text: object) -> None:
    """A sentence beside the output, on standard error."""
    if quiet():
        return
    print(f"quantlib: note: {printable(text)}", file=sys.stderr)


def list_at_end(parser: argparse.ArgumentParser, title: str, entries: Mapping[str, str]) -> None:
    """A line for each name at the end of --help, before the examples."""
    width = max(map(len, entries))
    lines = [f"{title}:", *(f"  {name:{width}}  {summary}" for name, summary in entries.items())]
    parser.epilog = "\n".join([*lines, "", parser.epilog or ""]).rstrip()


def as_stored(parser: argparse.ArgumentParser) -> None:
    """--as-stored, for commands that run a model: options.decoded is what `quantlib.lm.load` takes."""
    parser.add_argument(
        "--as-stored", dest="decoded", action="store_const", const=False,
        help="keep weights as they are stored and decode each matrix when it is used: slower, in little memory; the "
        "default for large models",
    )  # fmt: skip


def print_json(document) -> int:
    """The one JSON document that --json promises."""
    print(as_json(document))
    return 0


def read_text(path: Path) -> str:
    """A UTF-8 text file. Raises QuantlibError where it is none."""
    from quantlib.lm import texts  # what runs models takes time to load

    return texts.read_text(path)


def replaces(parser: argparse.ArgumentParser) -> None:
    """--overwrite, for commands that write files."""
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an existing file also where it is of another kind"
    )


def saved_as(out: Path | None, endings: Sequence[str], options, reads: Iterable[Path] = ()) -> list[Destination]:
    """The files NAME.json, NAME.csv, ... of --out NAME, checked before the work begins; none where it is not given."""
    if out is None:
        return []
    if not out.name or out.name in ("-", ".."):
        raise QuantlibError(f"{out} is no name that {' and '.join(endings)} can follow; name a file.")
    paths = [out.with_suffix(ending) for ending in endings]
    return [destination(path, TABLES[path.suffix], reads, overwrite=options.overwrite) for path in paths]


def files_named(*texts: str | Path | None) -> list[Path]:
    """Those of the arguments that could be files which a command reads."""
    return [Path(text) for text in texts if text]


def progress_line(doing: str) -> Callable[..., None] | None:
    """Shows how far something is on standard error, where that is a terminal."""
    if quiet() or not sys.stderr.isatty():
        return None

    def show(fraction: float, part: str = "") -> None:
        end = "\n" if fraction >= 1 else ""
        print(f"\r\033[K{fraction:4.0%}  {printable(doing)} {printable(part)}", end=end, file=sys.stderr, flush=True)

    return show
