"""What else would help where the answer is not the usual four bits, whole: a sentence each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from quantlib.fit.advice import BEARABLE, POOR, Option, bearable, best
from quantlib.fit.amounts import gb, rate
from quantlib.fit.cache import cache_bytes, cache_of
from quantlib.fit.catalogue import KNOWN, Model
from quantlib.fit.machines import GIB, Machine, highest_limit, later_share, limited
from quantlib.fit.placing import place
from quantlib.fit.published import ON_OTHER_TEXTS
from quantlib.fit.quality import kin_of
from quantlib.fit.sources import trained_for
from quantlib.fit.work import work_bytes

if TYPE_CHECKING:
    from quantlib.fit.answering import Answer

USUAL_BITS = 4.9  # of Q4_K_M, everything counted
MIB = 1 << 20
MOST_SHORTENED = 4  # a context to a quarter, at most: fewer tokens are another task
# Models that are offered as a smaller one: of every size one or two that many people run today.
OFFERED = (
    "SmolLM2-360M", "Qwen3-0.6B", "Qwen3-1.7B", "Qwen3-4B-2507", "Qwen3-8B", "Gemma-3-12B", "Qwen3-14B", "gpt-oss-20b",
    "Mistral-Small-3.2-24B", "Gemma-4-26B-A4B", "Qwen3.6-27B", "Gemma-4-31B", "Qwen3.6-35B-A3B", "Llama-3.3-70B",
    "Qwen3-Next-80B-A3B", "GLM-4.5-Air", "gpt-oss-120b", "Qwen3.5-122B-A10B", "Qwen3-235B-A22B", "GLM-4.6",
)  # fmt: skip


def alternatives(answer: Answer) -> list[str]:
    """A sentence for each; none where nothing is lost."""
    option = answer.option
    if option is not None and option.fits and not option.cost.kl:
        return []
    good = option is not None and option.cost.kl <= POOR / 2 and (option.fits or _fast(option))
    found = (
        _smaller_cache(answer), _shorter(answer), _raised(answer), _beside(answer), _more_beside(answer),
        "" if good else _smaller_model(answer),
    )  # fmt: skip
    return [sentence for sentence in found if sentence]


def _fast(option: Option) -> bool:
    """Whether it writes twice as fast as one reads, or more."""
    return option.speed is not None and option.speed.about >= 2 * BEARABLE


def _usual(answer: Answer) -> Option | None:
    return next((o for o in answer.options if o.recipe == "Q4_K_M" and o.imatrix), None)


def _smaller_cache(answer: Answer) -> str:
    usual, need = _usual(answer), cache_bytes(answer.layers, answer.context, answer.cache_format)
    saved = need - cache_bytes(answer.layers, answer.context, "Q8_0")
    if usual is None or answer.cache_format != "FP16" or usual.fits or usual.headroom + saved < 0:
        return ""
    if kin_of(answer.subject.view).family in ON_OTHER_TEXTS:  # where a smaller cache was seen to cost much
        return ""
    return f"With the cache in Q8_0, {gb(saved)} smaller, Q4_K_M fits whole."


def _shorter(answer: Answer) -> str:
    usual = _usual(answer)
    if usual is None or usual.fits:
        return ""
    now = _beside_weights(answer, answer.context)
    context = answer.context // 2
    while context >= max(2048, answer.context // MOST_SHORTENED):
        if usual.headroom + now - _beside_weights(answer, context) >= 0:
            return f"With {context:,} tokens of context Q4_K_M fits whole."
        context //= 2
    return ""


def _beside_weights(answer: Answer, context: int) -> int:
    """Bytes that are needed next to the weights for so many tokens."""
    view = answer.subject.view
    return cache_bytes(answer.layers, context, answer.cache_format) + work_bytes(view, context)


def _raised(answer: Answer) -> str:
    """What a Mac's GPU may use on a later macOS, or by its owner's leave, where a better file fits so."""
    machine, now = answer.machine, answer.option
    if machine.kind != "mac" or machine.limit:
        return ""
    later, highest = later_share(machine.total), highest_limit(machine.total)
    if later > machine.usable and (better := _best_of(answer, limited(machine, later // MIB), now)):
        return (
            f"Later versions of macOS allow the GPU {gb(later)} instead of {gb(machine.usable)}: there {better.name} "
            "fits whole."
        )
    if highest * MIB > machine.usable and (better := _best_of(answer, limited(machine, highest), now)):
        return f"After “sudo sysctl iogpu.wired_limit_mb={highest}” {better.name} fits whole, until the next start."
    return ""


def _best_of(answer: Answer, machine: Machine, now: Option | None) -> Option | None:
    """The best that fits on another machine, where it is better than what there is."""
    kept = [layer.nbytes(answer.context, answer.cache_format) for layer in answer.layers]
    work = work_bytes(answer.subject.view, answer.context)
    options = [
        replace(option, placed=placed)
        for option in answer.options
        if (placed := place(option.weighed, kept, work, machine)).whole
    ]
    found = best(options)
    better = found is not None and (now is None or not now.fits or found.cost.kl < now.cost.kl / 1.5)
    return found if better else None


def _beside(answer: Answer) -> str:
    """The usual file in two memories, where what fits whole costs much more."""
    usual, option = _usual(answer), answer.option
    if usual is None or option is None or not option.fits or usual.fits or not usual.placed.runs or not bearable(usual):
        return ""
    count, layers = usual.placed.count, len(usual.weighed.parts.layers)
    if answer.choice.other is usual or option.cost.kl < 2 * usual.cost.kl:
        return ""
    what = "the experts of " if usual.placed.how == "experts" else ""
    return f"Q4_K_M runs with {what}{count} of {layers} layers in the computer's memory{rate(usual)}."


def _more_beside(answer: Answer) -> str:
    """What more memory in the computer would allow, where nothing runs."""
    if answer.option is not None or answer.machine.kind != "card":
        return ""
    smallest = min(answer.options, key=lambda option: option.total)
    # The cards are full then; the rest, and what the system keeps, is the computer's.
    needed = smallest.placed.over + smallest.weighed.parts.beside + 6 * GIB
    size = next((gib for gib in (16, 32, 48, 64, 96, 128, 192, 256, 384, 512) if gib * GIB >= needed), None)
    return f"With {size} GB of memory in the computer, {smallest.name} runs in two memories." if size else ""


def _smaller_model(answer: Answer) -> str:
    """The largest well-known model whose usual file fits, with the same context."""
    smaller = (KNOWN[name] for name in OFFERED if KNOWN[name].parameters < 0.8 * answer.subject.parameters)
    for model in sorted(smaller, key=lambda model: -model.parameters):
        view = model.checkpoint()
        if trained_for(view) < min(answer.context, answer.subject.trained or answer.context):
            continue
        native = any(tensor.format == "MXFP4" for tensor in view)
        nbytes = model.planned("MXFP4_MOE").tensor_nbytes if native else round(model.parameters * USUAL_BITS / 8)
        if nbytes + _needed(model, answer) <= answer.machine.usable:
            file = "MXFP4" if native else "Q4_K_M"
            return f"A smaller model: {model.name} in {file} takes about {gb(nbytes)}."
    return ""


def _needed(model: Model, answer: Answer) -> int:
    view = model.checkpoint()
    return cache_bytes(cache_of(view), answer.context, answer.cache_format) + work_bytes(view, answer.context)
