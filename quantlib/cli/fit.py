"""fit: which recipe of a model to run on a machine, and what every recipe takes there."""

import argparse
import re

from quantlib import tables
from quantlib.checkpoints.base import shown
from quantlib.cli.shared import command, positive, print_json
from quantlib.cli.words import printable
from quantlib.errors import QuantlibError
from quantlib.fit import Machine, ask, machine_named, subject, words
from quantlib.fit.alternatives import alternatives
from quantlib.fit.amounts import gb
from quantlib.fit.cache import CACHE_FORMATS
from quantlib.fit.machines import GIB, MACHINES, limited, own

LEAST = 1 << 20  # bytes that may be given without a unit: fewer were meant as gigabytes
UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
MOST_CARDS = 64


def add(commands) -> None:
    fit = command(
        commands,
        "fit",
        run,
        "say which recipe of a model to run on a machine, and show what each one takes",
        examples=(
            "fit Qwen3-14B --machine 'RTX 3060'",
            "fit 30B-A3B --memory 24GB --context 32768",
        ),
    )
    fit.add_argument(
        "source", metavar="MODEL",
        help="a well-known model (Qwen3-14B), a size (14B, 30B-A3B), a config.json, a checkpoint, hf://OWNER/NAME",
    )  # fmt: skip
    fit.add_argument("--machine", metavar="NAME", help="a known machine, such as 'RTX 3060'; --machine list shows them")
    fit.add_argument("--memory", type=memory, metavar="24GB", help="memory of a graphics card, or of what --as says")
    fit.add_argument(
        "--as", dest="kind", choices=("card", "mac", "computer"), default="card",
        help="what has the memory: a graphics card, a Mac, a computer without a card (default: %(default)s)",
    )  # fmt: skip
    fit.add_argument(
        "--cards", type=positive, default=1, metavar="N", help="so many equal cards (default: %(default)s)"
    )
    fit.add_argument(
        "--ram", type=ram, metavar="64GB", help="memory of the computer beside its cards, or none (default: 32GB)"
    )
    fit.add_argument(
        "--wired-limit", type=positive, default=0, metavar="MB",
        help="a Mac's iogpu.wired_limit_mb, where it was changed",
    )  # fmt: skip
    fit.add_argument("--context", type=positive, default=8192, metavar="TOKENS", help="default: %(default)s")
    fit.add_argument("--cache-format", choices=CACHE_FORMATS, default="FP16", help="of keys and values: %(default)s")
    fit.add_argument(
        "--bandwidth", type=amount, metavar="1008GB/s", help="bytes a second of the memory (default: a typical one)"
    )


def amount(text: str) -> int:
    """Bytes as people write them: 24GB, 16GiB, 512M. Raises ArgumentTypeError."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*([KMGT]?)(i?)(?:B?(?:/s)?)", text.strip(), re.IGNORECASE)
    if not found:
        raise argparse.ArgumentTypeError(f"{shown(text)} is no amount of memory, such as 24GB or 16GiB")
    number, unit, binary = float(found[1]), found[2].upper(), found[3]
    if not unit and number < LEAST:
        raise argparse.ArgumentTypeError(f"{text!r} is so many bytes; write the unit, as in {found[1]}GB")
    if not number:
        raise argparse.ArgumentTypeError(f"{text!r} is no memory at all; write an amount such as 24GB")
    return round(number * (1024 ** "KMGT".index(unit) * 1024 if binary and unit else UNITS[unit]))


def memory(text: str) -> float:
    """Memory as it is sold, in GiB: 24GB are 24 · 2³⁰ bytes. Raises ArgumentTypeError."""
    found = amount(text)
    binary = re.search(r"[KMGT]i", text, re.IGNORECASE) or text.strip()[-1:].isdigit()
    return found / GIB if binary else found / 1e9


def ram(text: str) -> float:
    """Memory as it is sold, in GiB, or none."""
    return 0.0 if text.strip().lower() in ("none", "0") else memory(text)


def run(options) -> int:
    if options.machine == "list":
        print("\n".join(MACHINES))
        return 0
    found = subject(options.source)
    with found.checkpoint:
        answer = ask(found, machine_of(options), options.context, options.cache_format)
    if options.json:
        return print_json(document(answer))
    print(printable(answer.text, lines=True))
    print("\n" + tables.as_text([_shown(row) for row in words.table(answer)]))
    if files := words.files(answer):
        print("\n" + printable(tables.as_text([_listed(row) for row in files]), lines=True))
    return 0


def machine_of(options) -> Machine:
    """The machine that the options describe. Raises QuantlibError where they describe none."""
    if options.machine and options.memory is None:
        machine = limited(machine_named(options.machine), options.wired_limit)
        return machine if options.ram is None else machine.with_memory(options.ram)
    if options.memory is None:
        raise QuantlibError(
            "Say how much memory there is, as in --memory 24GB, or which machine: --machine 'RTX 3060'."
        )
    if options.cards > MOST_CARDS:
        raise QuantlibError(f"At most {MOST_CARDS} cards are planned for, not {options.cards:,}.")
    ram = 32 if options.ram is None else options.ram
    return own(options.kind, options.memory, options.bandwidth or 0, options.cards, ram, limit=options.wired_limit)


def document(answer) -> dict:
    """The answer as --json prints it."""
    option = answer.option
    return {
        "source": answer.subject.name,
        "assumed": answer.subject.assumed or None,
        "parameters": answer.subject.parameters,
        "machine": answer.machine.name,
        "memory": answer.machine.usable,
        "context": answer.context,
        "cache_format": answer.cache_format,
        "recipe": option.recipe if option else None,
        "imatrix": option.imatrix if option else None,
        "where": option.placed.how if option else "none",
        "headroom": option.headroom if option and option.fits else None,
        "answer": answer.headline,
        "why": words.reasons(answer),
        "alternatives": alternatives(answer),
        "download": words.download(answer) or None,
        "command": words.command(answer) or None,
        "recipes": words.table(answer),
        "files": words.files(answer),
    }


def _listed(row: dict) -> dict:
    made = (row["recipe"] or "–") + (", of its own" if row["own mixture"] else "")
    where = "advised" if row["advised"] else "fits" if row["fits"] else "–"
    return {"file": row["file"], "recipe": made, "size": gb(row["size"]), "parts": row["parts"], "": where}


def _shown(row: dict) -> dict:
    where = {"whole": "fits", "none": "–", "experts": "experts beside", "layers": "layers beside"}[row["where"]]
    range_ = f"{words.digits(row['kl_low'])}–{words.digits(row['kl_high'])}"
    speed = {"tokens/s": row["tokens_per_second"]} if row["tokens_per_second"] is not None else {"tokens/s": None}
    return {
        "recipe": row["recipe"] + (" (imatrix)" if row["imatrix"] else ""),
        "bpw": f"{row['bpw']:.2f}",
        "file": gb(row["file"]),
        "needs": gb(row["total"]),
        "": where,
        **speed,
        "KL": words.digits(row["kl"]) if row["published"] else range_,
    }
