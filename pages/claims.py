"""Claims, checked: a small picture each; the reader says true or false, then reads what quantlib or a source says."""

import streamlit as st

from pages.ui import captions, drawing, menu, model, terms
from pages.ui.chapter import chapter
from pages.ui.guess import SHOW, spoiler
from quantlib.checkpoints import Checkpoint
from quantlib.figures import claims
from quantlib.figures.claims import ACCOUNT, CLAIMS, Claim, Said
from quantlib.figures.evidence import Evidence


def main() -> None:
    with chapter(menu.CLAIMS) as page:
        with page.step(printed=True):
            terms.say(
                "All of these are said, in forums, in articles, and by people who should know. Look at the picture and "
                "decide: **true, false, or has nobody shown it?**"
            )
            board = st.container(key="score").empty()
            show_score(board)  # in its place from the start: what follows shall not move down
            show_claim(1, CLAIMS[0])
        for number, claim in enumerate(CLAIMS[1:], 2):
            with page.step(printed=True):
                show_claim(number, claim)
        show_score(board)  # again: a guess from the address is known once its widget has run
        with page.step("The usual account, claim by claim"):
            show_account()
        page.in_short(*claims.lessons())


def show_score(board) -> None:
    right, said = claims.score({claim.key: st.session_state.get(said_key(claim)) for claim in CLAIMS})
    board.progress(said / len(CLAIMS), f"{right} right of {said} guessed, {len(CLAIMS)} claims in all")


def said_key(claim: Claim) -> str:
    """Where the session and the address keep what the reader says of a claim."""
    return f"said-{claim.key}"


def show_claim(number: int, claim: Claim) -> None:
    """A claim and its picture; its verdict once the reader has said theirs."""
    with st.container(border=True, key=f"claim-{claim.key}"):
        st.markdown(f"## {number}. “{claim.text}”")
        found = evidence(model.current().identity, claim.key, model.current_checkpoint())
        drawing.draw(found.picture, key=f"picture-{claim.key}")
        said = st.segmented_control(
            claim.text, [*claims.VERDICTS, SHOW], key=said_key(claim), bind="query-params", label_visibility="collapsed"
        )
        verdict = f"**{claim.verdict[0].upper()}{claim.verdict[1:]}.**"
        if said is None:
            with spoiler(claim.key):
                st.markdown(f"{verdict} {found.words}")
                captions.receipt(found.kind, f"{found.source}.")
            return
        if said == SHOW:
            st.info(f"{verdict} {found.words}")
        elif said == claim.verdict:
            st.success(f"{verdict} You are right. {found.words}", icon="✅")
        else:
            st.warning(f"{verdict} You said: {said}. {found.words}", icon="✖️")
        captions.receipt(found.kind, f"{found.source}.")
        captions.show_python(snippet(claim), claim.evidence)


@st.cache_resource(show_spinner="Checking …", max_entries=128)
def evidence(source: str, key: str, _checkpoint: Checkpoint) -> Evidence:
    return next(c for c in CLAIMS if c.key == key).evidence(_checkpoint)


def show_account() -> None:
    """Where each claim of the account that most people have read is answered, and how."""
    terms.say(
        "Most accounts of quantization say much the same. These are the claims of one that many have read, with a "
        "verdict and the chapters that show it."
    )
    rows = [f"| {claim.text} | {claim.verdict} | {places(claim)} |" for claim in ACCOUNT]
    st.markdown("\n".join(["| claim | verdict | shown in |", "|---|---|---|", *rows]))


def places(claim: Said) -> str:
    """Links to the chapters that answer a claim."""
    return ", ".join(c.in_text() for c in menu.SECTIONS["Learn"] if c.file.removesuffix(".py") in claim.chapters)


def snippet(claim: Claim) -> str:
    """Runs as it stands, and prints what the page says."""
    path = model.shown_path(model.current_checkpoint())
    return (
        "import quantlib as ql\nfrom quantlib.figures import evidence\n\n"
        f"checkpoint = ql.open_checkpoint({path!r})\n"
        f"print(evidence.{claim.evidence.__name__}(checkpoint).words)"
    )


main()
