"""What the chapter on codebooks concludes, from what it measured."""

from collections.abc import Mapping

from quantlib.figures.codebooks.effects import Stored
from quantlib.figures.codebooks.grids import Pairs, Pick
from quantlib.formats import FORMATS

LITTLE = 0.01  # a change of the relative error by less than a hundredth of itself is no gain


def change(before: float, after: float) -> str:
    """A step from one relative error to another: "from 8.7 to 8.0%"."""
    return f"from {100 * before:.1f} to {100 * after:.1f}%"


def two_by_two(found: Mapping[tuple[str, bool], Stored], name: str = "IQ4_NL") -> str:
    """What the levels do alone, what the search does alone, and what both do."""
    plain, levels, search, both = (
        found[key].relative for key in (("even", False), (name, False), ("even", True), (name, True))
    )
    return (
        f"The levels of {name} alone take the relative error {change(plain, levels)}. The search alone takes it "
        f"{change(plain, search)}. Together they take it {change(plain, both)}."
    )


GAINS = ("uneven levels", "the search")


def gains(found: Mapping[tuple[str, bool], Stored], name: str = "IQ4_NL") -> str:
    """Which of the two takes the error further down, each alone."""
    return GAINS[found["even", True].relative < found[name, False].relative]


def of_nf4(found: Mapping[tuple[str, bool], Stored]) -> str:
    """Whether NF4's levels help with a plain scale, and with a searched one."""
    plain, searched = ((found["even", s].relative, found["NF4", s].relative) for s in (False, True))
    first, second = (_helps(*pair) for pair in (plain, searched))
    if first == second:
        return f"The levels of NF4 {first}, with a plain scale and with a searched one."
    return f"The levels of NF4 {first} with a plain scale ({change(*plain)}), and {second} with a searched one."


def _helps(even: float, uneven: float) -> str:
    if abs(uneven / even - 1) < LITTLE:
        return "change next to nothing"
    return "help" if uneven < even else "hurt"


def summary(found: Mapping[tuple[str, bool], Stored]) -> str:
    """The two by two, for the end of the chapter."""
    plain, both = found["even", False].relative, found["IQ4_NL", True].relative
    levels, search = found["IQ4_NL", False].relative, found["even", True].relative
    if levels > (1 - LITTLE) * plain:
        return (
            f"On this tensor the search for the scale does what helps: the relative error goes {change(plain, both)}."
        )
    larger = "the levels" if plain - levels > plain - search else "the search"
    return (
        f"Uneven levels and a searched scale are two gains, not one. On this tensor they take the relative error "
        f"{change(plain, both)} together, and {larger} do{'es' * (larger == 'the search')} more of it."
    )


def shared(found: Pairs) -> str:
    """How many patterns a grid keeps."""
    bpw = FORMATS[found.format].bpw
    return (
        f"{found.dim} magnitudes of {len(found.magnitudes)} kinds could form {found.possible:,} patterns. "
        f"{found.format} has **{found.size}** of them, so a code of {found.size.bit_length() - 1} bits serves "
        f"{found.dim} weights. With signs and scales that makes {bpw:g} bits for each weight."
    )


def crowding(found: Pairs) -> str:
    """Where the grid has its points, and where the weights are."""
    few = found.points[-1, -1] / found.points.sum(), found.weights[-1, -1] / found.weights.sum()
    many = found.points[0, 0] / found.points.sum(), found.weights[0, 0] / found.weights.sum()
    return (
        f"Two small weights side by side are {many[1]:.0%} of all pairs here, and {many[0]:.0%} of the patterns begin "
        f"so. Two of the largest kind are {few[1]:.1%} of the pairs, and {few[0]:.1%} of the patterns."
    )


def signs(found: Pick) -> str:
    """What happens to the signs in this format, and what happened to these."""
    if found.format not in ("IQ2_XXS", "IQ2_XS", "IQ3_XXS"):
        return "**Signs.** This format has room for the sign of every weight."
    return (
        "**The sign trick.** Eight signs get seven bits. The number of minus signs among eight weights is kept even, "
        "so the last sign follows from the others. Where it is odd, one weight gets the wrong sign: the one whose "
        "error counts least. "
        + ("Here that happened: the underlined sign." if found.flipped else "Here all signs could be kept.")
    )


CODE = "A codebook is a list of levels. A code says which of them is meant, and the scale of the block does the rest."
SHARING = (
    "An i-quant of two or three bits gives four or eight weights one code: the number of a pattern of magnitudes, from "
    "a list that is the same for all models. The signs are stored beside it."
)
