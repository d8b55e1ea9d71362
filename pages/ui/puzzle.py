"""The puzzle at a chapter's end: fewest bits for an error that is asked for, scored against the best that can be done,
or questions whose answers were measured, with a point for each.

puzzle.scored(error=tried.relative, bits=tried.bpw, target=0.05, best=least.bpw, free=2)
puzzle.asked(edge.questions(answers), "smallest")
"""

from collections.abc import Sequence

import streamlit as st

from quantlib.figures.quiz import Question, score


def asked(questions: Sequence[Question], key: str) -> int:
    """Ask them all, say of each answer whether it is right and why, and show the score; the address keeps them."""
    said = []
    for at, one in enumerate(questions):
        said.append(st.segmented_control(one.text, one.choices, key=f"{key}-{at}", bind="query-params", required=False))
        st.caption(one.verdict(said[-1]) or "Choose, and read the answer.")
    points, answered = score(questions, said), sum(one is not None for one in said)
    st.metric("Score", f"{points} of {len(questions)}", f"{answered} answered", delta_color="off", delta_arrow="off")
    return points


def scored(*, error: float, bits: float, target: float, best: float, free: float) -> int:
    """Show the reader's error, bits and score; returns the score.

    100 for the fewest bits that bring the error to `target`; `free` bits are counted for nobody.
    """
    solved = error <= target
    score = round(100 * (best - free) / (bits - free)) if solved and bits > free else 0
    with st.container(horizontal=True):
        st.metric(
            "Relative error", f"{error:.1%}", "low enough" if solved else f"more than {target:.0%}",
            delta_color="normal" if solved else "inverse", delta_arrow="off",
        )  # fmt: skip
        st.metric("Bits per weight", f"{bits:.4g}")
        st.metric("Score", f"{score} of 100")
    if score == 100:
        st.markdown("🏁 Nothing on offer does it with fewer bits.")
    elif solved:
        st.markdown("Solved. It can be done with fewer bits.")
    else:
        st.markdown("Not yet: the error is still too large.")
    return score
