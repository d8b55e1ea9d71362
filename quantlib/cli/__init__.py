"""The command line: python -m quantlib COMMAND. Each command is a module with its arguments and its run."""

import argparse
import errno
import sys
from collections.abc import Sequence
from importlib import import_module

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
    "compare",
    "generate",
    "fit",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 1 for a run that failed (one sentence on standard error)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not where a test or a program has put another one in its place
            stream.reconfigure(errors="backslashreplace")  # names that are no text, and terminals that lack letters
    options = _parser(arguments).parse_args(arguments)
    try:
        status = options.command(options)
        sys.stdout.flush()
        return status
    except QuantlibError as error:
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


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of the command that is named first, or of all where none is: loading all of them takes time."""
    parser = argparse.ArgumentParser(
        prog="python -m quantlib", description="Quantize model checkpoints, and look inside."
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name in [name for name in arguments[:1] if name in COMMANDS] or COMMANDS:
        import_module(f"quantlib.cli.{name}").add(commands)
    return parser
