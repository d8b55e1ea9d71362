"""The command line: python -m quantlib COMMAND. Each command is a module with its arguments and its run."""

import argparse
import errno
import sys
from collections.abc import Sequence
from importlib import import_module

from quantlib.errors import QuantlibError

# In the order that --help shows.
COMMANDS = (
    "formats",
    "architectures",
    "inspect",
    "quantize",
    "export",
    "imatrix",
    "perplexity",
    "compare",
    "generate",
    "fit",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 1 for a run that failed (one sentence on standard error)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser(arguments).parse_args(arguments)
    try:
        status = options.command(options)
        sys.stdout.flush()
        return status
    except QuantlibError as error:
        print(f"quantlib: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("quantlib: stopped; nothing was written.", file=sys.stderr)
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        sys.stderr.close()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print("quantlib: the output could not be written: its disk is full.", file=sys.stderr)
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
