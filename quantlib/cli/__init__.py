"""The command line, quantlib COMMAND or python -m quantlib COMMAND: each is a module with its arguments and its run."""

import argparse
import errno
import sys
import time
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from quantlib.cli.shared import Command, be_quiet, memory_at_most
from quantlib.cli.words import printable
from quantlib.errors import QuantlibError

# In the order that --help shows.
COMMANDS = (
    "formats",
    "name",
    "architectures",
    "inspect",
    "view",
    "quantize",
    "export",
    "adapter",
    "imatrix",
    "perplexity",
    "embeddings",
    "compare",
    "generate",
    "fit",
    "hash",
    "compare-files",
    "metadata",
    "split",
    "merge",
    "completion",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 1 for a run that failed (one sentence on standard error)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not where a test or a program has put another one in its place
            stream.reconfigure(errors="backslashreplace")  # names that are no text, and terminals that lack letters
    if not arguments:
        parsers(())[0].print_help()
        return 0
    options = parsers(arguments)[0].parse_args(arguments)
    be_quiet(options.quiet)
    started = time.monotonic()
    try:
        return _run(options)
    finally:
        if options.verbose:
            print(f"quantlib: {time.monotonic() - started:.1f} s{memory_at_most()}", file=sys.stderr)


def _run(options: argparse.Namespace) -> int:
    try:
        status = options.command(options)
        sys.stdout.flush()
        return status
    except QuantlibError as error:
        if options.verbose:
            traceback.print_exc()
        print(f"quantlib: {printable(error)}", file=sys.stderr)
    except KeyboardInterrupt:
        print("quantlib: stopped; nothing was written.", file=sys.stderr)
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        sys.stderr.close()
    except OSError as error:
        full = error.errno == errno.ENOSPC
        why = "the output could not be written: its disk is full" if full else error
        print(f"quantlib: {printable(why)}.", file=sys.stderr)
    except MemoryError:
        print("quantlib: there is not enough memory for this; close other programs, or take less.", file=sys.stderr)
    return 1


def parsers(arguments: Sequence[str]) -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser, and those of its commands by name: of the one that is named first, or of all where none is.

    Loading all of them takes time.
    """
    import quantlib

    called = Path(sys.argv[0]).name
    parser = argparse.ArgumentParser(
        prog="quantlib" if called.startswith("quantlib") else "python -m quantlib",
        description="Quantize model checkpoints, and look inside.",
        epilog="quantlib COMMAND --help tells about a command, with examples.",
    )
    parser.add_argument("--version", action="version", version=f"quantlib {quantlib.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=Command)
    for name in [name for name in arguments[:1] if name in COMMANDS] or COMMANDS:
        import_module(f"quantlib.cli.{name.replace('-', '_')}").add(commands)
    return parser, dict(commands.choices)
