"""--card and --push: a model card beside what was made, and both on the hub."""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import quantlib as ql
from quantlib.cards import Made, model_card
from quantlib.checkpoints.publishing import CARD, Target, prepared
from quantlib.cli.words import printable
from quantlib.destinations import Destination

WITHOUT = {"--card": 0, "--overwrite": 0, "--json": 0, "--json-progress": 0, "--push": 1}  # and so many values


def add(parser: argparse.ArgumentParser, made: str) -> None:
    """The argument --push of a command. made: what is uploaded, in words."""
    parser.add_argument(
        "--push", metavar="OWNER/NAME",
        help=f"upload {made} to this repository of the hub, which is made where there is none; the token is read from "
        "the variable HF_TOKEN and kept nowhere",
    )  # fmt: skip


@dataclass(frozen=True)
class Publication:
    """Where a card and an upload go, None where they are not wanted; checked before the work begins."""

    card: Destination | None
    target: Target | None

    @classmethod
    def checked(cls, options: argparse.Namespace) -> "Publication":
        """Raises QuantlibError where a card is there already, or the hub does not let us write."""
        card = options.out.with_name(CARD) if options.card else None
        if card and os.path.lexists(card):
            raise ql.QuantlibError(f"{card} is there already: move it away, or leave out --card.")
        return cls(Destination(card) if card else None, prepared(options.push) if options.push else None)

    def finish(self, plan: ql.Plan, result: ql.RunResult) -> None:
        """Write the card, and upload it with the file."""
        if not self.card and not self.target:
            return
        text = model_card([Made.of(plan, result, command_of(sys.argv[1:]))])
        if self.card:
            self.card.write_text(text)
        if self.target:
            files = {result.path.name: result.path, CARD: text.encode()}
            said(self.target.send(files, f"{result.path.name}, made with quantlib"))


def push_folder(target: Target, folder: Path) -> None:
    """Upload a whole folder under its files' names."""
    files: dict[str, Path | bytes] = {
        p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()
    }
    said(target.send(files, f"{folder.name}, made with quantlib"))


def said(url: str) -> None:
    """Where it is now, beside the output."""
    print(f"quantlib: published at {printable(url)}", file=sys.stderr)


def command_of(arguments: Sequence[str]) -> str:
    """The command as others would type it: paths of this machine by their last part, without what only writes."""
    kept, skip = [], 0
    for argument in arguments:
        if skip:
            skip -= 1
        elif argument.partition("=")[0] in WITHOUT:
            skip = 0 if "=" in argument else WITHOUT[argument]
        else:
            here = not argument.startswith(("hf://", "-")) and os.path.sep in argument and os.path.exists(argument)
            kept.append(Path(argument).name if here else argument)
    return shlex.join(["quantlib", *kept])
