"""Text from files on its way to a terminal: nothing in it moves the cursor, colours or reorders what is read."""

import json
import re

# Control characters but line feed and tab, marks that reverse the direction of text, separators of lines and
# paragraphs, and halves of characters, which no terminal can show.
UNSHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: object, lines: bool = False) -> str:
    """The text with what a terminal would obey written out, as \\x1b; in one line, unless lines are wanted."""
    text = UNSHOWN.sub(_written_out, str(text))
    return text if lines else text.replace("\n", "\\n").replace("\t", "\\t")


def as_json(document) -> str:
    """A JSON document that a terminal shows as it is: such characters are escaped as JSON does it."""
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    return UNSHOWN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _written_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
