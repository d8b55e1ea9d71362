"""Spend the budget: formats by kind of tensor, what they take, and what they do to the model's predictions."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import prod

import numpy as np

from quantlib.checkpoints import Checkpoint, gguf_view
from quantlib.figures.runs import kind_of, row_names
from quantlib.jobs import Plan, plan
from quantlib.lm import Bench, Summary, together
from quantlib.lm.applied import read_back
from quantlib.metrics import compare
from quantlib.recipes import Choice, Overrides, TensorRule, quantizable
from quantlib.recipes.budget import Option, spend
from quantlib.recipes.choosing import fitting
from quantlib.tables import size

FORMATS = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_0")
PROBE = "Q3_K"
ENDS = ("output.weight", "token_embd.weight")
CHARACTERS = 1400  # of each text that assignments are measured on
CONTEXT, UNSCORED = 256, 32  # the windows: a divergence asks for less text before it than a perplexity does


@dataclass(frozen=True)
class Kind:
    """A kind of tensor: its name, and how many weights the model has of it."""

    name: str
    weights: int


def kinds(of: Plan) -> list[Kind]:
    """The kinds of quantizable matrices of a plan's model, in the order of computation."""
    matrices = [t for t in of.tensors if quantizable(t.name, t.shape)]
    return [Kind(name, sum(prod(t.shape) for t in matrices if kind_of(t.name) == name)) for name in row_names(matrices)]


def assigned(checkpoint: Checkpoint, formats: Mapping[str, str]) -> Plan:
    """The plan in which every tensor of a kind has the format that is given for it."""
    rules = tuple(TensorRule(form, rf"\.{kind}\.weight$") for kind, form in formats.items())
    return _pure(checkpoint, formats.get("output"), formats.get("token_embd"), rules)


def _pure(checkpoint: Checkpoint, output: str | None, embedding: str | None, rules: tuple[TensorRule, ...]) -> Plan:
    """A plan by rules alone.

    A rule gives way to a format that fits where its own does not divide a row; for the two tensors at the ends, whose
    formats are taken literally, that is done here.
    """
    rows = {t.name: t.shape[-1] for t in gguf_view(checkpoint).tensors.values() if t.name in ENDS}
    fitted = (
        fitting(Choice(form, ""), rows[name]).format if form and name in rows else form
        for name, form in zip(ENDS, (output, embedding), strict=True)
    )
    return plan(checkpoint, "Q4_K_M", pure=True, overrides=Overrides(*fitted, rules))


Stored = Callable[[str, str], Mapping[str, np.ndarray]]  # (kind, format) -> what its tensors are read back as


def sensitivities(bench: Bench, names: Sequence[str], stored_as: Stored) -> dict[str, float]:
    """What a squared error in each kind of tensor costs the model: KL divergence over Σ (w − ŵ)².

    Each kind alone is stored in PROBE, and the model reads with it. As long as errors are small the divergence grows
    with their square, and those of different kinds add up.
    """
    found = {}
    for kind in names:
        weights = stored_as(kind, PROBE)
        error = sum(compare(bench.model.weight(name), w).squared_error for name, w in weights.items())
        found[kind] = judged(bench, weights).kl / max(error, 1e-30)
    return found


def automatic(bench: Bench, of: Plan, stored_as: Stored) -> Plan:
    """`auto` in the size of a plan: for each tensor the format that saves most predicted divergence for its bytes."""
    names = [kind.name for kind in kinds(of)]
    costs, options = sensitivities(bench, names, stored_as), {}
    for form in FORMATS:
        sizes = {t.name: t.nbytes for t in assigned(of.checkpoint, dict.fromkeys(names, form)).tensors}
        for kind in names:
            for name, w in stored_as(kind, form).items():
                cost = costs[kind] * compare(bench.model.weight(name), w).squared_error
                options.setdefault(name, []).append(Option(form, sizes[name], cost))
    rest = of.nbytes - sum(t.nbytes for t in of.tensors if t.name in options)
    chosen = spend(options, of.nbytes - rest)
    rules = tuple(TensorRule(option.format, f"^{re.escape(name)}$") for name, option in chosen.items())
    output, embedding = (chosen[name].format if name in chosen else None for name in ENDS)
    return _pure(of.checkpoint, output, embedding, rules)


def of_recipe(of: Plan) -> dict[str, str]:
    """For each kind the format that most weights of it have in a plan, as a start: no more than the plan takes."""
    found = {}
    for kind in kinds(of):
        targets = [t.target for t in of.tensors if kind_of(t.name) == kind.name and t.target in FORMATS]
        found[kind.name] = min(targets, key=FORMATS.index) if targets else "Q8_0"
    return found


def short(texts: Mapping[str, str]) -> dict[str, str]:
    """The beginning of each text: enough to compare assignments on, quick enough to do it while somebody waits."""
    return {name: text[:CHARACTERS] for name, text in texts.items()}


def stored(bench: Bench, of: Plan, kind: str) -> dict[str, np.ndarray]:
    """What the tensors of one kind are read back as under a plan: float32 by name."""
    changed = [t for t in of.tensors if kind_of(t.name) == kind and not t.copied and t.name in bench.model.weights]
    return read_back(changed, bench.model.weight)


def judged(bench: Bench, weights: Mapping[str, np.ndarray]) -> Summary:
    """The model with these weights in place of its own, against itself."""
    return together(list(bench.against(bench.model.replaced(weights)).values())).summary()


@dataclass(frozen=True)
class Entry:
    """A line of the comparison. found: None where it was not measured. note: why, or what it is."""

    name: str
    nbytes: int
    found: Summary | None
    note: str = ""
    own: bool = False


def score(mine: Entry, standard: Entry) -> int:
    """100 for a divergence as low as the recipe's within its size, more for a lower one; 0 over the cap."""
    if mine.found is None or standard.found is None:
        return 0
    return round(100 * standard.found.kl / max(mine.found.kl, 1e-9))


def ranking_html(entries: Sequence[Entry], cap: int) -> str:
    """The entries by KL divergence, the best first, with bars to scale; what is over the cap stands last."""
    measured = sorted((e for e in entries if e.found), key=lambda e: e.found.kl)
    largest = max((e.found.kl for e in measured), default=1.0) or 1.0
    rows = []
    for entry in [*measured, *(e for e in entries if not e.found)]:
        over = entry.nbytes > cap
        if entry.found:
            kl, error = entry.found.kl, entry.found.kl_stderr
            value, bar = f"{kl:.4f} ± {error:.4f}", f'<span style="width:{100 * kl / largest:.1f}%"></span>'
            top = f"{entry.found.changed_top:.1%}"
        else:
            value, bar, top = "–", "", "–"
        name = f"<b>{escape(entry.name)}</b>" if entry.own else escape(entry.name)
        note = f" <small>{escape(entry.note)}</small>" if entry.note else ""
        mark = ' <small class="over">over the cap</small>' if over else ""
        rows.append(
            f"<tr><th>{name}{note}</th><td>{size(entry.nbytes)}{mark}</td><td>{value}</td><td>{top}</td>"
            f'<td class="bar">{bar}</td></tr>'
        )
    head = "<tr><th>who</th><th>size</th><th>KL, nats</th><th>changed tokens</th><th></th></tr>"
    return f'<table class="measured"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'


def budget_html(nbytes: int, cap: int) -> str:
    """How much of the cap is spent, as a bar to scale; in words beside it."""
    share = nbytes / cap
    left = f"{size(cap - nbytes)} left" if nbytes <= cap else f"{size(nbytes - cap)} too much"
    role = "code" if nbytes <= cap else "error"
    return (
        f'<div class="budget" role="img" aria-label="{size(nbytes)} of {size(cap)}: {left}">'
        f'<span class="track"><i style="width:{min(100.0, 100 * share):.2f}%;background:var(--role-{role})"></i></span>'
        f"<span><b>{size(nbytes)}</b> of {size(cap)}, {left}</span></div>"
    )
