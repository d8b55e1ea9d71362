"""fit: which recipes of a model fit in so much memory, and which one to run."""

import argparse
import re

from quantlib import tables
from quantlib.checkpoints.base import shown
from quantlib.cli.shared import command, positive, print_json
from quantlib.cli.words import printable
from quantlib.fit import advise, needs, subject, weigh
from quantlib.fit.memory import CACHE_FORMATS
from quantlib.fit.published import QUALITY_SOURCE, quality_of

LEAST = 1 << 20  # bytes that may be given without a unit: fewer were meant as gigabytes
UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


def add(commands) -> None:
    fit = command(commands, "fit", run, "show which recipes of a model fit in so much memory, and which one to run")
    fit.add_argument(
        "source", metavar="SOURCE_OR_SIZE",
        help="a checkpoint, the name of a well-known model (Llama-3-8B) or a size (8B), whose shape is then assumed",
    )  # fmt: skip
    fit.add_argument("--memory", type=amount, required=True, metavar="24GB", help="memory of the GPU or the machine")
    fit.add_argument("--context", type=positive, default=8192, metavar="TOKENS", help="default: %(default)s")
    fit.add_argument("--cache-format", choices=CACHE_FORMATS, default="FP16", help="of keys and values: %(default)s")
    fit.add_argument(
        "--bandwidth", type=amount, metavar="1008GB", help="bytes a second of that memory: estimates the speed"
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


def run(options) -> int:
    found = subject(options.source)
    with found.checkpoint:
        weighed = weigh(found.checkpoint, found.view)
        rows = needs(weighed, found.view, options.context, options.cache_format)
    advice = advise(rows, options.memory)
    table = [_row(need, options) for need in rows]
    if options.json:
        document = {"source": found.name, "assumed": found.assumed or None, "parameters": found.parameters}
        document |= {"memory": options.memory, "context": options.context, "cache_format": options.cache_format}
        return print_json(document | {"recipe": advice.recipe, "why": advice.why, "recipes": table})
    print(
        f"{printable(found.name)}: {found.parameters:,} weights"
        + (f" (assumed: {found.assumed})" if found.assumed else "")
    )
    print(f"memory {tables.size(options.memory)}, context {options.context:,} tokens, cache {options.cache_format}\n")
    print(tables.as_text([_shown(row) for row in table]))
    print(f"\nPerplexity and KL: Llama-3-8B, published: {QUALITY_SOURCE}.")
    print(f"\nRun {advice.recipe}: {advice.why}." if advice.recipe else f"\nNone: {advice.why}.")
    return 0


def _row(need, options) -> dict:
    published = quality_of(need.recipe)
    row = {
        "recipe": need.recipe,
        "bpw": round(need.weighed.bpw, 4),
        "weights": need.weighed.nbytes,
        "cache": need.cache,
        "work": need.work,
        "total": need.total,
        "fits": need.fits(options.memory),
        "published_perplexity_added": published.delta if published else None,
        "published_kl": published.kl if published else None,
    }
    if options.bandwidth:
        row["tokens_per_second_at_most"] = round(need.speed(options.bandwidth), 1)
    return row


def _shown(row: dict) -> dict:
    sizes = {key: tables.size(row[key]) for key in ("weights", "cache", "total")}
    shown = {"recipe": row["recipe"], "bpw": f"{row['bpw']:.2f}", **sizes, "fits": "yes" if row["fits"] else "–"}
    shown["ΔPPL"] = row["published_perplexity_added"]
    shown["KL"] = row["published_kl"]
    if "tokens_per_second_at_most" in row:
        shown["tokens/s at most"] = row["tokens_per_second_at_most"]
    return shown
