"""A model's name taken apart, as a picture: the name with a colour for each part, what each says, what none can say."""

from html import escape

from quantlib.recipes.labels import MODEL, Label
from quantlib.tables import size

# In the hues of a recipe's own letters: which levels, how many bits, how they are laid out, which tensors.
HUES = {"family": "grid", "bits": "code", "scheme": "super-scale", "mixture": "sub-minimum", "method": "exponent"}


def label_html(label: Label) -> str:
    """The name, then a row for each part, then the list of what the name leaves open."""
    if not label.text:
        return '<p class="label-name">Paste a name.</p>'
    rows = "".join(
        f"<tr><th{_hue(part.kind)}>{escape(part.text)}</th><td><b>{escape(_sentence(part.title))}</b> "
        f"{escape(part.meaning)}</td></tr>"
        for part in label.parts
    )
    table = f'<table aria-label="The parts of the name"><tbody>{rows}</tbody></table>'
    return f'<div class="label">{_name(label)}{table}{_open(label)}</div>'


def _name(label: Label) -> str:
    """The text as it was given, each part in its colour."""
    marks, at = [], 0
    for part in label.parts:
        start = label.text.lower().find(part.text.lower(), at)
        if start < 0:
            continue
        marks.append(escape(label.text[at:start]))
        at = start + len(part.text)
        marks.append(f"<span{_hue(part.kind)}>{escape(label.text[start:at])}</span>")
    return f'<p class="label-name">{"".join(marks)}{escape(label.text[at:])}</p>'


def _open(label: Label) -> str:
    """What is not known from the name, and the least that its weights take."""
    words = []
    if label.nbytes:
        words.append(
            f"<p>At least <b>{size(label.nbytes)}</b>: {label.weights:,} weights of {label.bits:g} bits or more.</p>"
        )
    if label.unknown:
        items = "".join(f"<li>{escape(one.what)} <small>{escape(one.where)}</small></li>" for one in label.unknown)
        words.append(f"<h3>What this name does not say</h3><ul>{items}</ul>")
    elif not label.stored:
        words.append("<p><b>Nothing in this name says how its numbers are stored.</b></p>")
    return "".join(words)


def _sentence(title: str) -> str:
    return f"{title[:1].upper()}{title[1:]}."


def _hue(kind: str) -> str:
    """The attribute that gives a part its colour: none for what has nothing to do with how numbers are stored."""
    if kind == MODEL:
        return ' class="plain"'
    return f' style="color:var(--role-{HUES[kind]})"' if kind in HUES else ' class="aside"'
