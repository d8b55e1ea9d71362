"""What commands share: how a command is declared, arguments that several take, and JSON output."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from quantlib.errors import QuantlibError

SOURCE_HELP = "a safetensors file, a Hugging Face folder, a GGUF file, or hf://owner/name[@revision][/file.gguf]"


def command(commands, name: str, run: Callable[[argparse.Namespace], int], help: str) -> argparse.ArgumentParser:
    """A parser for one command; run(options) returns the exit status."""
    sub = commands.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sub.set_defaults(command=run)
    sub.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    return sub


def positive(text: str) -> int:
    """An argument that is a whole number above zero."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def listing(title: str, entries: Mapping[str, str]) -> str:
    """What stands at the end of --help: a line for each name."""
    width = max(map(len, entries))
    return "\n".join([f"{title}:", *(f"  {name:{width}}  {summary}" for name, summary in entries.items())])


def as_stored(parser: argparse.ArgumentParser) -> None:
    """--as-stored, for commands that run a model: options.decoded is what `quantlib.lm.load` takes."""
    parser.add_argument(
        "--as-stored", dest="decoded", action="store_const", const=False,
        help="keep weights as they are stored and decode each matrix when it is used: slower, in little memory; the "
        "default for large models",
    )  # fmt: skip


def print_json(document) -> int:
    """The one JSON document that --json promises."""
    json.dump(document, sys.stdout, indent=1, ensure_ascii=False, allow_nan=False)
    print()
    return 0


def read_text(path: Path) -> str:
    """A UTF-8 text file. Raises QuantlibError where it is none."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise QuantlibError(f"{path} cannot be read as UTF-8 text: {error}.") from None


def write_text(path: Path, text: str) -> None:
    """A new UTF-8 text file. Raises QuantlibError where it cannot be written, or one is there already."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise QuantlibError(f"{path} cannot be written: {error.strerror or error}.") from None


def progress_line(doing: str) -> Callable[..., None] | None:
    """Shows how far something is on standard error, where that is a terminal."""
    if not sys.stderr.isatty():
        return None

    def show(fraction: float, part: str = "") -> None:
        end = "\n" if fraction >= 1 else ""
        print(f"\r\033[K{fraction:4.0%}  {doing} {part}", end=end, file=sys.stderr, flush=True)

    return show
