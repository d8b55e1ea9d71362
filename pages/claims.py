"""Claims, checked: the reader says true or false first, then sees what quantlib or a source says."""

import streamlit as st

from pages.ui import captions, menu, model
from pages.ui.chapter import chapter
from quantlib.checkpoints import Checkpoint
from quantlib.figures import claims
from quantlib.figures.claims import CLAIMS, Claim, Evidence

MARKS = {claims.TRUE: "✅", claims.FALSE: "❌", claims.NOT_SHOWN: "❔"}


def main() -> None:
    with chapter(menu.CLAIMS) as page:
        with page.step(printed=True):
            st.markdown(
                "All of these are said, in forums, in articles, and by people who should know. Some are true. Decide "
                "first; then see what the numbers say."
            )
            board = st.container(key="score").empty()
            show_score(board)  # in its place from the start: what follows shall not move down
        for number, claim in enumerate(CLAIMS, 1):
            with page.step():
                show_claim(number, claim)
        show_score(board)  # again: a guess from the address is known once its widget has run
        page.in_short(
            "A name's number is the bits of a code; the letters are mixtures; scales come on top.",
            "Measure answers, not only averages; and measure the model that you will run.",
            "Fewer bits make writing faster because less is read, not because arithmetic is cheaper.",
        )


def show_score(board) -> None:
    right, said = claims.score({claim.key: st.session_state.get(said_key(claim)) for claim in CLAIMS})
    board.progress(said / len(CLAIMS), f"{right} right of {said} guessed, {len(CLAIMS)} claims in all")


def said_key(claim: Claim) -> str:
    """Where the session and the address keep what the reader says of a claim."""
    return f"said-{claim.key}"


def show_claim(number: int, claim: Claim) -> None:
    """A claim; its verdict once the reader has said theirs."""
    with st.container(border=True, key=f"claim-{claim.key}"):
        st.markdown(f"#### {number}. “{claim.text}”")
        said = st.segmented_control(
            claim.text, claims.VERDICTS, key=said_key(claim), bind="query-params", label_visibility="collapsed"
        )
        if said is None:
            return
        found = evidence(model.current().identity, claim.key, model.current_checkpoint())
        agrees = "as you said" if said == claim.verdict else f"you said: {said}"
        st.markdown(
            f"{MARKS[claim.verdict]} **{claim.verdict[0].upper()}{claim.verdict[1:]}** ({agrees}). {found.words}"
        )
        captions.receipt(found.kind, f"{found.source}.")
        captions.show_python(snippet(claim), claim.evidence)


@st.cache_resource(show_spinner="Checking …", max_entries=128)
def evidence(source: str, key: str, _checkpoint: Checkpoint) -> Evidence:
    return next(c for c in CLAIMS if c.key == key).evidence(_checkpoint)


def snippet(claim: Claim) -> str:
    """Runs as it stands, and prints what the page says."""
    path = model.shown_path(model.current_checkpoint())
    return (
        "import quantlib as ql\nfrom quantlib.figures import claims\n\n"
        f"checkpoint = ql.open_checkpoint({path!r})\n"
        f"print(claims.{claim.evidence.__name__}(checkpoint).words)"
    )


main()
