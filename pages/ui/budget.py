"""Spend the budget: the reader assigns formats under a size cap, and the model says what that costs."""

import streamlit as st

import quantlib as ql
from pages.ui import captions, model, running
from quantlib.figures import spending
from quantlib.figures.spending import FORMATS, Entry
from quantlib.lm import EVALUATION, Bench, Summary, bench, read_texts
from quantlib.recipes import gloss

CAPS = ("Q3_K_M", "Q4_K_M", "Q5_K_M")


@st.fragment
def show() -> None:
    """The game: a cap, a format for each kind of tensor, and the ranking."""
    found = running.running()
    running.show_note(found)
    checkpoint = found.checkpoint
    cap_recipe = st.segmented_control(
        "The cap: the size of", CAPS, default="Q4_K_M", key="cap", bind="query-params", required=True
    )
    standard = ql.plan(checkpoint, cap_recipe) if found.note else model.plan_of(checkpoint, cap_recipe)
    chosen = choose(standard)
    mine = assigned(found, chosen)
    st.html(spending.budget_html(mine.nbytes, standard.nbytes))
    over = mine.nbytes > standard.nbytes
    if over:
        st.caption("Over the cap: take bits away somewhere, then it is measured.")
    entries = [
        Entry("You", mine.nbytes, None if over else measured(found, chosen), own=True),
        Entry(cap_recipe, standard.nbytes, recipe(found, cap_recipe), "the standard recipe"),
        *automatic(found, standard),
        *all_alike(found, standard),
    ]
    st.html(spending.ranking_html(entries, standard.nbytes))
    st.metric("Score", spending.score(*entries[:2]), f"{cap_recipe} has 100", delta_color="off", delta_arrow="off")
    captions.receipt(
        "measured",
        f"KL divergence from the model as it is, on {entries[1].found.tokens:,} tokens of the evaluation texts, and "
        "the share of places where another token is the likeliest. A small model and a short text: differences "
        "below the error say nothing.",
    )
    captions.show_python(snippet(chosen, model.shown_path(checkpoint)), spending.assigned, spending.judged)


def choose(standard: ql.Plan) -> dict[str, str]:
    """A format for each kind; the address holds those that differ from the start."""
    start, chosen = spending.of_recipe(standard), {}
    for number, kind in enumerate(spending.kinds(standard)):
        if number % 3 == 0:
            columns = st.columns(3)  # a row at a time: on a narrow screen they keep their order
        with columns[number % 3]:
            chosen[kind.name] = st.select_slider(
                f"{kind.name} · {kind.weights / 1e6:.2g} M weights",
                FORMATS,
                value=start[kind.name],
                key=f"{standard.recipe.name}-{kind.name}",
                bind="query-params",
                help=gloss(kind.name) or None,
            )
    return chosen


def automatic(found: running.Running, standard: ql.Plan) -> list[Entry]:
    """What `auto` makes of the same bytes, once somebody asks for it."""
    if not st.toggle("Let auto try, too (about half a minute the first time)", key="auto", bind="query-params"):
        return []
    plan, summary = _automatic(found.identity, standard.recipe.name, found)
    return [Entry("auto", plan.nbytes, summary, "tensor by tensor, where measured divergence falls most")]


@st.cache_resource(show_spinner="Trying every kind of tensor alone …", max_entries=16)
def _automatic(identity: str, recipe: str, _found: running.Running) -> tuple[ql.Plan, Summary]:
    standard = ql.plan(_found.checkpoint, recipe)
    plan = spending.automatic(
        _bench(identity, _found), standard, lambda kind, form: _stored(identity, kind, form, _found)
    )
    return plan, judged_plan(identity, plan, _found)


def judged_plan(identity: str, plan: ql.Plan, found: running.Running) -> Summary:
    base, weights = _bench(identity, found), {}
    for kind in spending.kinds(plan):
        weights |= spending.stored(base, plan, kind.name)
    return spending.judged(base, weights)


def all_alike(found: running.Running, standard: ql.Plan) -> list[Entry]:
    """The best format that all kinds can have under the cap."""
    names = [kind.name for kind in spending.kinds(standard)]
    for form in reversed(FORMATS):
        everywhere = dict.fromkeys(names, form)
        plan = assigned(found, everywhere)
        if plan.nbytes <= standard.nbytes:
            return [Entry(f"{form} everywhere", plan.nbytes, measured(found, everywhere), "no mixture at all")]
    return []


def assigned(found: running.Running, chosen: dict[str, str]) -> ql.Plan:
    return _assigned(found.identity, tuple(sorted(chosen.items())), found)


@st.cache_resource(show_spinner=False, max_entries=200)
def _assigned(identity: str, chosen: tuple[tuple[str, str], ...], _found: running.Running) -> ql.Plan:
    return spending.assigned(_found.checkpoint, dict(chosen))


def measured(found: running.Running, chosen: dict[str, str]) -> Summary:
    return _measured(found.identity, tuple(sorted(chosen.items())), found)


@st.cache_data(show_spinner="Letting the model read with your weights …", max_entries=2000)
def _measured(identity: str, chosen: tuple[tuple[str, str], ...], _found: running.Running) -> Summary:
    weights = {}
    for kind, form in chosen:
        weights |= _stored(identity, kind, form, _found)
    return spending.judged(_bench(identity, _found), weights)


@st.cache_data(show_spinner="Letting the model read with the recipe's weights …", max_entries=64)
def _recipe(identity: str, name: str, _found: running.Running) -> Summary:
    return judged_plan(identity, ql.plan(_found.checkpoint, name), _found)


def recipe(found: running.Running, name: str) -> Summary:
    return _recipe(found.identity, name, found)


@st.cache_resource(show_spinner=False, max_entries=80)
def _stored(identity: str, kind: str, form: str, _found: running.Running) -> dict:
    """The tensors of one kind in one format: many assignments share them."""
    plan = spending.assigned(_found.checkpoint, {kind: form})
    return spending.stored(_bench(identity, _found), plan, kind)


@st.cache_resource(show_spinner="Letting the model read …", max_entries=2)
def _bench(identity: str, _found: running.Running) -> Bench:
    return bench(_found.checkpoint, spending.short(read_texts(EVALUATION)), spending.CONTEXT, spending.UNSCORED)


def snippet(chosen: dict[str, str], path: str) -> str:
    """Runs as it stands, and prints the reader's own line of the ranking."""
    return (
        "import quantlib as ql\nfrom quantlib.figures import spending\n"
        "from quantlib.lm import EVALUATION, applied, bench, read_texts, together\n\n"
        f"checkpoint = ql.open_checkpoint({path!r})\n"
        f"plan = spending.assigned(checkpoint, {chosen!r})\n"
        "base = bench(checkpoint, spending.short(read_texts(EVALUATION)), spending.CONTEXT, spending.UNSCORED)\n"
        "found = together(list(base.against(applied(base.model, plan)).values())).summary()\n"
        'print(f"{plan.nbytes:,} bytes, KL {found.kl:.5f} ± {found.kl_stderr:.5f}, {found.changed_top:.1%} of tokens")'
    )
