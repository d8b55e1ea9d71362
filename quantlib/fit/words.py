"""An answer in words: the same for the page, its Python and the command."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from quantlib.checkpoints.hub import PREFIX
from quantlib.fit.advice import TIGHT, Option, bearable
from quantlib.fit.alternatives import alternatives
from quantlib.fit.amounts import gb, rate
from quantlib.fit.cache import cache_bytes, token_bytes
from quantlib.fit.machines import GIB, MACHINES, Machine
from quantlib.fit.quality import digits, kin_of, on_other_texts
from quantlib.fit.repository import Stored, chosen

if TYPE_CHECKING:
    from quantlib.fit.answering import Answer

MOST_FALLBACK = 0.25
CACHE_FLAGS = {"FP16": "", "Q8_0": " -ctk q8_0 -ctv q8_0", "Q4_0": " -ctk q4_0 -ctv q4_0"}


def headline(answer: Answer) -> str:
    """What to run, in one line."""
    option = answer.option
    if option is None:
        return f"Nothing fits: the smallest file needs {gb(answer.shown.placed.over)} more than there is."
    placed, room = option.placed, gb(max(0, option.headroom))
    subject = "Run this file as it is" if option is answer.file else f"Run {option.name}"
    some = f"{placed.count} of {len(option.weighed.parts.layers)} layers in the computer's memory"
    if placed.whole:
        return f"{subject}: {gb(option.weighed.nbytes)}, {room} to spare{rate(option)}."
    where = f"with the experts of {some}" if placed.how == "experts" else f"with {some}"
    if answer.choice.how == "last":
        return f"Nothing runs well here: {option.name}, {where}, would be the least bad{rate(option)}."
    return f"{subject} {where}: {gb(option.weighed.nbytes)}{rate(option)}."


def reasons(answer: Answer) -> list[str]:
    """Why, and what to mind: a sentence each."""
    option = answer.option
    found = [_why(answer), *_cautions(answer)]
    if option is not None and option.cost.kl:
        found.append(f"What it costs: {option.cost.sourced}")
    elif option is not None:
        found.append("It loses nothing: these are the weights as they are published.")
    if option is not None and option.cost.kl:
        found += on_other_texts(kin_of(answer.subject.view), answer.cache_format)
    return [sentence for sentence in found if sentence]


def _why(answer: Answer) -> str:
    option, other = answer.option, answer.choice.other
    if option is None:
        beside = ", not even with part of the model in the computer's memory" if answer.machine.kind == "card" else ""
        return f"No recipe fits{beside}."
    if option is answer.file:
        return (
            f"Its weights are {answer.quantized} already. Quantizing them again adds the new errors to the old ones, "
            "so for another size take a file that was made from the original."
        )
    match answer.choice.how:
        case "poor":
            slower = f" {other.recipe} in two memories would run at {rate(other).removeprefix(', ')}." if other else ""
            return (
                f"It is the best that fits whole, at a high cost; a smaller model is likely the better answer.{slower}"
            )
        case "last":
            return "It loses much, and is slower than one reads; a smaller model is the better answer."
        case "beside":
            small = f"; {other.recipe} would fit whole, at KL {digits(other.cost.kl)}" if other else ""
            slow = "" if bearable(option) else " It will be slower than one reads."
            return f"Nothing of this quality fits in the fast memory alone{small}.{slow}"
    larger = _next_larger(answer, option)
    if larger is None:
        return "It fits whole, and nothing larger is worth its size."
    return f"It is the best that fits whole: {larger.label} needs {gb(-larger.headroom)} more than there is."


def _next_larger(answer: Answer, option: Option) -> Option | None:
    """The smallest that costs less and does not fit."""
    better = [o for o in answer.options if not o.fits and o.cost.kl < option.cost.kl]
    return min(better, key=lambda o: o.weighed.nbytes, default=None)


def _cautions(answer: Answer) -> list[str]:
    option, found = answer.option, []
    trained = answer.subject.trained
    if trained and answer.context > trained:
        found.append(
            f"The model was trained for {trained:,} tokens of context; beyond them its answers fall apart unless its "
            "card says how to stretch it."
        )
    if answer.quantized and option is not answer.file:
        found.append(
            f"This file is quantized already, to {answer.quantized}, and does not fit: take one that was made from the "
            "original instead of quantizing it again."
        )
    if option is not None and option.fits and option.headroom < TIGHT:
        found.append("That is tight: close other programs, or shorten the context.")
    if option is not None and option.weighed.fallback > MOST_FALLBACK:
        mix = ", ".join(f"{share:.0%} {name}" for name, share in option.weighed.formats if share >= 0.005)
        found.append(
            f"{option.weighed.fallback:.0%} of the weights are in rows that do not divide into the blocks that "
            f"{option.name} means for them, so other formats stand in: the file is {mix}."
        )
    if answer.subject.assumed:
        found.append(f"Assumed: {answer.subject.assumed}.")
    if answer.machine.like and option is not None and option.speed is not None:
        bandwidth = answer.machine.bandwidth / 1e9
        found.append(f"The speed assumes {bandwidth:.0f} GB/s of memory bandwidth, as of {answer.machine.like}.")
    return found


def command(answer: Answer) -> str:
    """How llama.cpp is called for this; "" where nothing runs."""
    option = answer.option
    if option is None:
        return ""
    name = answer.subject.name if option is answer.file else f"{answer.subject.name}-{option.name}.gguf"
    file = f"-m {name.replace(' ', '-')}"
    if offered := _chosen(answer, option):
        file = f"-hf {answer.subject.origin.removeprefix(PREFIX)} --hf-file {offered.name}"
    layers = len(option.weighed.parts.layers)
    where = ""
    if answer.machine.kind == "card":
        where = {
            "layers": f" -ngl {layers + 1 - option.placed.count}",
            "experts": f" -ngl 99 --n-cpu-moe {option.placed.count}",
        }.get(option.placed.how, " -ngl 99")
    elif answer.machine.kind == "mac":
        where = " -ngl 99"
    return f"llama-server {file} -c {answer.context} -np 1{where}{CACHE_FLAGS[answer.cache_format]}"


def download(answer: Answer) -> str:
    """What to search for, or to make of what is open."""
    option = answer.option
    if option is None or option is answer.file:
        return ""
    model = answer.subject.model
    if answer.subject.files:
        return _offered(answer, option)
    made = " that was made with an importance matrix (imatrix)" if option.imatrix else ""
    file = f"the {option.name} file{made}, about {gb(option.weighed.nbytes)}"
    here = answer.subject.checkpoint.files and not answer.subject.origin.startswith(PREFIX)
    if here and not answer.quantized and model is None:
        recipe = f"{option.name}, with an importance matrix" if option.imatrix else option.name
        return f"To make it: quantize this model to {recipe}, by “quantlib quantize” or on the page Quantize."
    if answer.subject.assumed or model is None:
        return f"To download: search the hub for the model's name and “GGUF”, and take {file}."
    return f"To download: search the hub for “{model.searched} GGUF”, and take {file}."


def _offered(answer: Answer, option: Option) -> str:
    """Which file of a repository to take."""
    files, where = answer.subject.files, answer.subject.origin.removeprefix(PREFIX)
    file = _chosen(answer, option)
    if file is None:
        return f"None of the {len(files)} files of {where} is as small as that: look for another repository."
    parts = f" in {file.parts} parts" if file.parts > 1 else ""
    other = "" if file.recipe == option.recipe else f"; {option.name} itself is not among its {len(files)} files"
    return f"To download: {file.name}, {gb(file.nbytes)}{parts}, from {where}{other}."


def _chosen(answer: Answer, option: Option) -> Stored | None:
    return chosen(answer.subject.files, option.recipe, option.weighed.nbytes)


def files(answer: Answer) -> list[dict[str, object]]:
    """A row for each file of the repository: what it is, and whether it fits whole; nothing where none is known."""
    option = answer.option
    advised = _chosen(answer, option) if option else None
    rows: list[dict[str, object]] = []
    for file in answer.subject.files:
        near = min(answer.options, key=lambda o: (o.recipe != file.recipe, abs(o.weighed.nbytes - file.nbytes)))
        need = near.total + file.nbytes - near.weighed.nbytes
        rows.append(
            {
                "file": file.name, "recipe": file.recipe or None, "own mixture": file.own, "size": file.nbytes,
                "parts": file.parts, "fits": need <= answer.machine.usable, "advised": file is advised,
            }
        )  # fmt: skip
    return rows


def usual(answer: Answer) -> Option:
    """The option that most people take: Q4_K_M, as it is made with an importance matrix where both kinds are."""
    return next(o for o in answer.options if o.recipe == "Q4_K_M")


def shell(answer: Answer, name: str) -> str:
    """The command that prints this answer."""
    machine = answer.machine
    parts = ["python -m quantlib fit", shlex.quote(name)]
    first = machine.fast[0]
    if machine.name in MACHINES:
        parts.append(f"--machine {shlex.quote(machine.name)}")
    else:
        gib = f"{first.total / GIB:g}GiB"
        parts += [f"--memory {gib}", f"--as {machine.kind}"]
        parts += [] if machine.like else [f"--bandwidth {first.bandwidth / 1e9:g}GB/s"]
        parts += [f"--cards {len(machine.fast)}"] if len(machine.fast) > 1 else []
    parts += [f"--wired-limit {machine.limit}"] if machine.limit else []
    if machine.kind == "card":
        parts.append(f"--ram {machine.slow.total / GIB:g}GiB" if machine.slow else "--ram none")
    parts.append(f"--context {answer.context}")
    if answer.cache_format != "FP16":
        parts.append(f"--cache-format {answer.cache_format}")
    return " ".join(parts)


def cache_line(answer: Answer) -> str:
    """What the cache takes, in a sentence or two."""
    layers, context = answer.layers, answer.context
    whole = cache_bytes(layers, context, answer.cache_format)
    grows = token_bytes(layers, answer.cache_format)
    said = [f"**{gb(whole)}** for {context:,} tokens; each further token takes {grows:,.0f} bytes."]
    if windows := sum(bool(layer.window and layer.values) for layer in layers):
        said.append(f"{windows} striped layers look back over a window only, so they keep no more than that.")
    if states := sum(bool(layer.state) for layer in layers):
        said.append(f"{states} layers keep a state that does not grow.")
    if idle := sum(not layer.values and not layer.state for layer in layers):
        said.append(f"{idle} layers keep nothing of their own.")
    return " ".join(said)


def need_line(answer: Answer) -> str:
    """The memory of what is shown, part by part."""
    placed, machine = answer.shown.placed, answer.machine
    beside = f", {gb(placed.slow)} in the computer's memory" if placed.slow and machine.kind == "card" else ""
    return (
        f"Memory: weights {gb(placed.fast)} + cache {gb(placed.cache)} + working memory {gb(placed.work)} = "
        f"{gb(placed.need)} of {gb(machine.usable)} usable ({gb(machine.total)} less {gb(machine.kept)} for "
        f"{_holder(machine)}){beside}."
    )


def _holder(machine: Machine) -> str:
    each = " on each card" if len(machine.fast) > 1 else ""
    system = "all but its iogpu.wired_limit_mb" if machine.limit else "the system"
    return {"card": f"driver, screen and margin{each}", "mac": system, "computer": "the system"}[machine.kind]


SIZES = ("file", "weights", "cache", "work", "total", "beside")  # columns of `table` that are bytes


def table(answer: Answer) -> list[dict[str, object]]:
    """A row for each option, as plain values."""
    rows = []
    for o in answer.options if answer.file is None else (answer.file, *answer.options):
        rows.append(
            {
                "recipe": o.recipe, "imatrix": o.imatrix, "bpw": round(o.weighed.bpw, 4), "file": o.weighed.nbytes,
                "weights": o.placed.fast, "cache": o.placed.cache, "work": o.placed.work, "total": o.total,
                "beside": o.placed.slow if answer.machine.kind == "card" else 0, "where": o.placed.how, "fits": o.fits,
                "tokens_per_second": round(o.speed.about, 1) if o.speed else None,
                "tokens_per_second_at_most": round(o.speed.at_most, 1) if o.speed else None,
                "kl": o.cost.kl, "kl_low": o.cost.low, "kl_high": o.cost.high, "published": o.cost.published,
            }
        )  # fmt: skip
    return rows


def text(answer: Answer) -> str:
    """The answer as text."""
    subject, machine = answer.subject, answer.machine
    lines = [
        f"{subject.name}: {subject.parameters:,} weights. {machine.name}. {answer.context:,} tokens of context, cache "
        f"in {answer.cache_format}.",
        "",
        answer.headline,
        *reasons(answer),
        need_line(answer),
        *(f"Or: {each}" for each in alternatives(answer)),
    ]
    if get := download(answer):
        lines.append(get)
    if run := command(answer):
        lines += ["", run]
    return "\n".join(lines)
