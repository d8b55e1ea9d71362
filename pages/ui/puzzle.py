"""The puzzle at a chapter's end: fewest bits for an error that is asked for, scored against the best that can be done.

puzzle.scored(error=tried.relative, bits=tried.bpw, target=0.05, best=least.bpw, free=2)
"""

import streamlit as st


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
