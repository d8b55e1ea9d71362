"""What the components of the chapter on super-blocks are sent, and its tables."""

import csv
import io
from collections.abc import Sequence

import numpy as np

from quantlib.figures.bars import bar_cell
from quantlib.figures.super_block import words
from quantlib.figures.super_block.ladder import Rung
from quantlib.figures.super_block.rivals import Rival
from quantlib.figures.weights import fp32_bits


def ladder_message(x: np.ndarray, found: Sequence[Rung], token: str, start: int) -> dict:
    """One super-block x (256,) on every rung, for the component: FP32 patterns, and errors in parts of ten million."""
    return {
        "token": token,
        "start": start,
        "weights": fp32_bits(x).tolist(),
        "rungs": [
            {
                "name": rung.name,
                "says": says,
                "bits": round(1000 * rung.bpw),
                "error": round(1e7 * rung.relative),
                "parts": [{"role": part.role, "words": part.words, "bits": part.bits} for part in rung.parts],
                "scales": fp32_bits(rung.scales[0]).tolist(),
                "minima": fp32_bits(rung.minima[0]).tolist(),
                "stored": fp32_bits(rung.decoded[0]).tolist(),
            }
            for rung, says in zip(found, words.steps(found), strict=True)
        ],
    }


def ladder_csv(x: np.ndarray, found: Sequence[Rung]) -> str:
    """Every weight of one super-block x (256,) as each rung stores it, as CSV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["weight", "w", *(rung.name for rung in found)])
    for at, value in enumerate(x):
        writer.writerow([at, f"{value:.9g}", *(f"{rung.decoded[0, at]:.9g}" for rung in found)])
    return out.getvalue()


def rivals_html(found: Sequence[Rival], covered: str = "") -> str:
    """A table with a bar for each error. covered: the format whose error a guess is about."""
    most = max(r.relative for r in found) or 1.0
    rows = "".join(
        f"<tr><th scope='row'>{r.name}</th><td>{r.nbytes}</td><td>{r.bpw:g}</td><td>{r.step:.3g}</td>"
        f"{bar_cell(0 if r.name == covered else r.relative / most)}"
        f"<td>{'?' if r.name == covered else f'{r.relative:.2%}'}</td></tr>"
        for r in found
    )
    return (
        '<table class="measured"><thead><tr><th>format</th><th>bytes</th><th>bits per weight</th>'
        "<th>between two levels</th><th class='bar'>relative error</th><th></th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )
