"""The first page's pictures: how much of a model was thrown away, and one sentence from fewer and fewer bits."""

from html import escape
from itertools import takewhile

from quantlib.lm.showcase import Showcase, Shown
from quantlib.tables import size


def hero_html(shown: Shown, revealed: bool) -> str:
    """Two large numbers: the share of bits that is gone, and how many of a hundred next tokens are still the same."""
    kept, hidden = (f"{100 * shown.same_top:.0f}", "") if revealed else ("?", ' class="hidden"')
    return (
        '<div class="hero">'
        f"<div><b>{100 * shown.gone:.0f} %</b><span>of all bits thrown away: {shown.bpw:.1f} of 32 are left "
        f"({shown.recipe})</span></div>"
        f"<div{hidden}><b>{kept}</b><span>of 100 next tokens are still the same</span></div>"
        "</div>"
    )


CHOICES = {"about 25": 0.25, "about 50": 0.5, "about 75": 0.75, "more than 90": 0.95}


def nearest(same: float) -> str:
    """Which of CHOICES comes nearest to a share."""
    return min(CHOICES, key=lambda name: abs(CHOICES[name] - same))


def texts_html(found: Showcase, prompt: str) -> str:
    """One row for each recipe: its size to scale, and its text; where it leaves the first row's text, it is marked."""
    first = found.shown[0]
    rows = []
    for one in found.shown:
        words, original = one.texts[prompt].split(" "), first.texts[prompt].split(" ")
        shared = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(words, original, strict=False))))
        same, other = escape(" ".join(words[:shared])), escape(" ".join(words[shared:]))
        left = f'<mark title="here the texts part">{other}</mark>' if other else ""
        rows.append(
            f'<div class="written"><div class="who"><b>{escape(one.recipe)}</b><span>{size(one.nbytes)}</span>'
            f'<i style="width:{100 * one.nbytes / first.nbytes:.1f}%"></i></div>'
            f"<p><b>{escape(prompt)}</b>{same}{' ' if same and left else ''}{left}</p></div>"
        )
    return f'<div class="writings">{"".join(rows)}</div>'
