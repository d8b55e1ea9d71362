"""One hue per role, in bits, formulas, byte maps and plots; a letter beside every hue, for colour is never alone.

The hues descend from Okabe and Ito's palette, darkened for the light theme and lightened for the dark one until text
in them reads (contrast 4.5 or more on both backgrounds of a theme). Roles that meet in one picture stay apart under
simulated protanopia, deuteranopia and tritanopia.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Role:
    """What a bit, a term of a formula or a mark stands for. `light` and `dark` are its colour in either theme."""

    name: str
    letter: str
    light: str
    dark: str
    meaning: str

    def colour(self, theme: str) -> str:
        """The colour in theme "light" or "dark"."""
        return self.dark if theme == "dark" else self.light

    @property
    def css_name(self) -> str:
        """The CSS custom property that holds the colour: `--role-sub-scale`."""
        return f"--role-{self.name}"


ROLES = {
    role.name: role
    for role in (
        Role("sign", "S", "#626B78", "#C9CFD8", "plus or minus"),
        Role("exponent", "E", "#0468C4", "#4F9BEA", "which power of two"),
        Role("fraction", "F", "#0B5A3E", "#4FDCA6", "where between two powers of two"),
        Role("code", "q", "#966200", "#E8A838", "the integer stored for a weight"),
        Role("sub-scale", "sc", "#0E74AD", "#86CFFF", "the small integer scale of one block"),
        Role("sub-minimum", "mn", "#B8387F", "#E860AA", "the small integer minimum of one block"),
        Role("scale", "d", "#2B1FA0", "#8F86F5", "the scale of one block"),
        Role("minimum", "m", "#5E1338", "#FBD3E4", "the minimum of one block"),
        Role("zero-point", "z", "#B8387F", "#E860AA", "the code that means zero"),
        Role("super-scale", "d", "#2B1FA0", "#8F86F5", "the scale that multiplies every sub-scale"),
        Role("super-minimum", "dmin", "#5E1338", "#FBD3E4", "the scale that multiplies every sub-minimum"),
        Role("grid", "g", "#3F6212", "#B5D86B", "an index into a codebook, and its signs"),
        Role("sum", "s", "#626B78", "#C9CFD8", "the sum of a block's codes, which says nothing new"),
        Role("error", "ε", "#A3191D", "#FF6A45", "what was lost"),
    )
}

NEGATIVE = {"light": (33, 102, 172), "dark": (103, 169, 232)}
POSITIVE = {"light": (178, 90, 24), "dark": (244, 165, 92)}
MIDDLE = {"light": (250, 249, 246), "dark": (29, 34, 41)}

INK = {"light": "#1F2328", "dark": "#E6E8EB"}
MUTED = {"light": "#5C6470", "dark": "#A2AAB6"}
RULE = {"light": "#E2DED6", "dark": "#333A44"}
PAPER = {"light": "#FDFCFA", "dark": "#14171C"}
PANEL = {"light": "#F3F1EC", "dark": "#1D2229"}


def rgb(colour: tuple[int, int, int]) -> str:
    """`rgb(33 102 172)`, as CSS writes it."""
    return "rgb({} {} {})".format(*colour)


def luminance(colour: str) -> float:
    """Relative luminance of "#rrggbb", from 0 to 1, as WCAG 2 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, from 1 to 21, as WCAG 2 defines it."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def mixed(one: str, other: str, share: float) -> str:
    """So much of the other colour in the first, "#rrggbb"."""
    pairs = ((int(one[at : at + 2], 16), int(other[at : at + 2], 16)) for at in (1, 3, 5))
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def written_on(ground: str, theme: str) -> str:
    """Ink or paper of a theme, whichever reads better on this ground."""
    return max(INK[theme], PAPER[theme], key=lambda colour: contrast(colour, ground))


def css(roles: Iterable[Role] = ROLES.values()) -> str:
    """CSS custom properties of every role and of the diverging map, for both themes.

    `light-dark()` follows the `color-scheme` that the page inherits, so one sheet serves both.
    """
    pairs = [(role.css_name, role.light, role.dark) for role in roles]
    pairs += [
        (name, rgb(stop["light"]), rgb(stop["dark"]))
        for name, stop in (("--negative", NEGATIVE), ("--positive", POSITIVE), ("--middle", MIDDLE))
    ]
    pairs += [
        (name, tone["light"], tone["dark"])
        for name, tone in (("--ink", INK), ("--muted", MUTED), ("--rule", RULE), ("--paper", PAPER), ("--panel", PANEL))
    ]
    lines = [f"  {name}: light-dark({light}, {dark});" for name, light, dark in pairs]
    return ":root, :host {\n" + "\n".join(lines) + "\n}\n"
