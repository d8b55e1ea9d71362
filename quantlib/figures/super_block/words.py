"""What the chapter on super-blocks concludes, from what it measured."""

from collections.abc import Sequence

from quantlib.figures.dot import Outputs
from quantlib.figures.super_block.ladder import Rung
from quantlib.figures.super_block.race import ALIKE, Race
from quantlib.figures.super_block.rivals import Rival
from quantlib.formats import BlockFormat
from quantlib.metrics import Loss

SIZE = (
    "Q4_K stores 256 weights in 144 bytes, 4.5 bits each: a 4-bit code for every weight, a 6-bit sub-scale and a 6-bit "
    "sub-minimum for every 32, and two FP16 numbers for all."
)
DECODING = (
    "Once the scale d · sc and the minimum dmin · mn of a block are known, a weight is read back with one "
    "multiplication and one subtraction."
)


def bits(value: float) -> str:
    """A number of bits: "4.125 bits", "1 bit"."""
    return f"{value:g} bit" + "s" * (value != 1)


def turn(before: float, after: float) -> str:
    """How a relative error changed: "falls from 24.9 to 10.4 %"; "stays at" where two digits would not tell."""
    first, second = f"{before:.1%}", f"{after:.1%}"
    if first == second:
        return f"stays at {second}"
    return f"{'falls' if after < before else 'grows'} from {first.rstrip('%')} to {second}"


def steps(found: Sequence[Rung]) -> tuple[str, ...]:
    """What each rung does, and what it does to the bits and to the error: a sentence or three for each."""
    one, eight, six, searched = found
    return (
        f"All 256 weights share 16 levels, from the lowest weight to the highest. It costs {bits(one.bpw)} for each "
        f"weight, and the relative error is {one.relative:.1%}: the largest weights set the levels for all the others.",
        f"Every block of 32 weights gets a scale and a minimum of its own, so its levels fit it. The relative error "
        f"{turn(one.relative, eight.relative)}. But sixteen FP16 numbers cost {bits(eight.bpw - one.bpw)} more.",
        f"So those numbers are quantized too. Each becomes 6 bits, times one FP16 number that all eight share. That "
        f"saves {bits(eight.bpw - six.bpw)}, and the relative error {turn(eight.relative, six.relative)}.",
        f"Last, the quantizer tries other scales and minima for every block and keeps the best. The bits stay the "
        f"same, and the relative error {turn(six.relative, searched.relative)}. These are the 144 bytes of Q4_K.",
    )


def bought(found: Sequence[Rung]) -> str:
    """The ladder in one sentence."""
    one, eight, six, _ = found
    return (
        f"A scale for every 32 weights costs {bits(eight.bpw - one.bpw)} for each weight here, and the relative error "
        f"{turn(one.relative, eight.relative)}. Storing the scales in 6 bits gives back {bits(eight.bpw - six.bpw)}."
    )


def everywhere(found: Sequence[Rung], count: int) -> str:
    """The same four errors, over many weights."""
    errors = [f"{rung.relative:.1%}" for rung in found]
    return f"over {count:,} weights of this tensor the four errors are {', '.join(errors[:-1])} and {errors[-1]}"


BETTER = ("yes", "no")


def better(found: Sequence[Rival]) -> str:
    """Whether Q4_1 loses less than Q4_0: "yes" or "no"."""
    by_name = {rival.name: rival.relative for rival in found}
    return BETTER[by_name["Q4_1"] >= by_name["Q4_0"]]


def rivalry(found: Sequence[Rival]) -> str:
    """Who loses least at which bits, and why Q4_0 and Q4_1 differ."""
    by_name = {rival.name: rival for rival in found}
    plain, shifted = by_name["Q4_0"], by_name["Q4_1"]
    least = min(found, key=lambda rival: rival.relative)
    return (
        f"**{least.name}** loses least, {least.relative:.1%} at {bits(least.bpw)}. Q4_1 does "
        f"{'worse' if shifted.relative > plain.relative else 'better'} than Q4_0 ({shifted.relative:.1%} and "
        f"{plain.relative:.1%}), for half a bit more. {_steps_of(plain, shifted)}"
    )


def _steps_of(plain: Rival, shifted: Rival) -> str:
    """What the distance between levels says about Q4_0 (`plain`) and Q4_1 (`shifted`), as far as it explains them."""
    wider, worse = shifted.step > plain.step, shifted.relative > plain.relative
    reach = "Q4_1 puts 15 steps between the lowest weight and the highest, Q4_0 makes each an eighth of the largest."
    if wider and worse:
        return f"{reach} Both ends are nearly as far from zero here, so the steps of Q4_1 are the wider ones."
    if wider:
        return f"{reach} Q4_1's steps are the wider ones here, but Q4_0 cuts off what its last level does not reach."
    if worse:
        return reach
    return f"{reach} The steps of Q4_1 are narrower here: that is what the minimum buys."


def stored(fmt: BlockFormat, loss: Loss) -> str:
    """What a block of this format holds, and what was lost in it."""
    return f"{loss.count} weights in the {fmt.nbytes} bytes of {fmt.name}; relative error {loss.relative:.1%}"


def cancelling(found: Outputs) -> str:
    """How far the output of one row is off, and all of them together."""
    off = abs(found.value - found.exact) / abs(found.exact) if found.exact else 0.0
    one = (
        f"This output is off by {off:.1%}: large parts of both signs cancel in a sum, and their errors do not."
        if off > 2 * found.relative
        else f"This output is off by {off:.1%}."
    )
    return f"{one} Over all {found.rows} outputs of the matrix, the relative error is **{found.relative:.1%}**."


def race(found: Race) -> str:
    """What the search saves on this block, and what it was after."""
    span, search = (found.error(float(r.scale), float(r.minimum), ALIKE) for r in found.racers[:2])
    aim = "It counts the errors of large weights more; press “large weights more” to race for what it is after."
    return f"The relative error of min/max is {span:.2%}, and that of the search {search:.2%}. {aim}"
