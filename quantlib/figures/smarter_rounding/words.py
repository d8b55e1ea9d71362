"""What the chapter on smarter rounding concludes, from what it measured."""

from collections.abc import Sequence

from quantlib.figures.smarter_rounding.channels import AlphaSearch, Kept
from quantlib.figures.smarter_rounding.contest import Disagreement, Filled
from quantlib.figures.smarter_rounding.replay import Replay
from quantlib.figures.smarter_rounding.searched import Searched
from quantlib.figures.smarter_rounding.steering import Steered
from quantlib.figures.smarter_rounding.toy import Puzzle, Toy
from quantlib.methods.descent_trace import Descent

PLACES = ("first", "second", "third")


def percent(value: float) -> str:
    """A relative error: "11.5%"; two digits after the point where it is small."""
    return f"{100 * value:.1f}%" if value >= 0.01 else f"{100 * value:.2f}%"


def toy_steps(found: Toy) -> list[str]:
    """What happens in each step of the toy."""
    said = ["Three weights, not rounded yet. The layer's output is exactly right."]
    for step, before in zip(found.steps[1:], found.steps[:-1], strict=True):
        place = PLACES[step.rounded - 1]
        if step.moved:
            others = "The other two weights move" if step.rounded == 1 else "The last weight moves"
            said.append(
                f"{others} to bring the output back. The error falls from {percent(before.relative)} to "
                f"{percent(step.relative)}."
            )
        else:
            said.append(f"The {place} weight is rounded to its level. The output is off by {percent(step.relative)}.")
    said[-1] += (
        f" No weight is left to move, so this is the end. Each weight rounded to its nearest level would have left "
        f"{percent(found.nearest_relative)}."
    )
    return said


def label(step: int, inputs: int, column: int | None) -> str:
    """What one picture of the replay shows."""
    if column is None:
        return "Nothing is rounded yet."
    left = inputs - step
    rest = f"The {left} others have moved to make up for it." if left else "No column is left to make up for it."
    return f"{step} of {inputs} columns are on their levels, the last of them column {column}. {rest}"


def replayed(found: Replay) -> str:
    """What GPTQ gains in the output, and what it does to the weights."""
    out, nearest = found.output[-1], found.output_nearest[-1]
    own, plain = found.weights, found.weights_nearest
    farther = (
        "Its weights are farther from the originals"
        if own > 1.01 * plain
        else "Its weights are nearer to the originals"
        if own < 0.99 * plain
        else "Its weights are about as far from the originals"
    )
    helps = f"takes the relative error of the output from {percent(nearest)} to **{percent(out)}**"
    fails = f"does not help here: the relative error of the output is {percent(out)}, and {percent(nearest)} without it"
    gain = helps if out < nearest else fails
    return f"GPTQ {gain}. {farther}: {percent(own)}, and {percent(plain)} after rounding to nearest."


def ordered(plain: Replay, act_order: Replay) -> str:
    """What rounding the columns with large inputs first changes, and what it costs later."""
    before, after = plain.output[-1], act_order.output[-1]
    change = "helps" if after < 0.99 * before else "hurts" if after > 1.01 * before else "changes little"
    return (
        f"**Act-order** rounds the columns with the largest inputs first. Here it {change}: {percent(before)} without, "
        f"{percent(after)} with it. It has a price when the model runs. Neighbouring columns no longer share a scale, "
        "so the file has an index from column to group, and the program must look up every column's scale."
    )


def kept(found: Kept) -> str:
    """One channel in a hundred."""
    channels = "one channel" if found.count == 1 else f"{found.count} channels"
    return (
        f"This layer has {len(found.magnitudes)} input channels. Leave the weights of {channels} in 16 bits and round "
        f"the rest. With those that have the largest **weights**, {_from_to(found.none, found.by_weight)}. With those "
        f"that meet the largest **inputs**, {_from_to(found.none, found.by_input)}."
    )


def _from_to(before: float, now: float) -> str:
    """How a relative error of the output changes, as it reads with its digits."""
    first, last = percent(before), percent(now)
    return (
        f"the error of the output stays at {last}"
        if first == last
        else f"the error of the output goes from {first} to **{last}**"
    )


def alpha_labels(found: AlphaSearch) -> list[str]:
    """What each α does."""
    return [
        f"α = {alpha:.2f}: no channel is scaled."
        if alpha == 0
        else f"α = {alpha:.2f}: the largest channel's weights grow {stretch:.1f} times as much as the smallest's."
        for alpha, stretch in zip(found.search.alphas, found.stretch, strict=True)
    ]


def alpha(found: AlphaSearch, beside: Kept) -> str:
    """What the best α gains, beside keeping channels in 16 bits."""
    none, best = float(found.relative[0]), found.best
    if best > 0.99 * none:
        return f"On this layer no α helps: the relative error of the output stays at {percent(none)}."
    first = (
        f"The best is **α = {found.search.alpha:.2f}**. It takes the relative error from {percent(none)} to "
        f"**{percent(best)}**, with every weight in the same format."
    )
    than = (
        "just as far" if abs(best / beside.by_input - 1) < 0.02 else "farther" if best < beside.by_input else "less far"
    )
    return (
        f"{first} That is {than} as leaving {beside.count} in 16 bits."
        if than == "just as far"
        else (f"{first} That goes {than} than leaving {beside.count} channels in 16 bits ({percent(beside.by_input)}).")
    )


def steered(found: Sequence[Steered]) -> str:
    """Whether the matrix helps on a text that it has not seen, and what it does to the weights themselves."""
    helped = [one for one in found if one.output[1] < one.output[0]]
    grown = [one.name for one in found if one.weights[1] > one.weights[0]]
    shrunk = [one.name for one in found if one.weights[1] < one.weights[0]]
    most = max(found, key=lambda one: 1 - one.output[1] / one.output[0])
    count = "all" if len(helped) == len(found) else f"{len(helped)} of"
    said = (
        f"In {count} {len(found)} formats the output on another text comes out better, most in {most.name}: from "
        f"{percent(most.output[0])} to **{percent(most.output[1])}**."
    )
    if grown and shrunk:
        said += f" The weights themselves are farther off in {listed(grown)}, and nearer in {listed(shrunk)}."
    elif grown:
        said += " The weights themselves are farther off in every format: that is the price."
    return said


def absolute(found: Sequence[Steered]) -> str:
    """Why Q2_K's weights come nearer: even a matrix that calls all inputs equal helps them."""
    one = next((each for each in found if each.name == "Q2_K"), None)
    if one is None or one.even >= one.weights[0]:
        return ""
    return (
        f"Q2_K gains for a second reason. Without a matrix its search adds up absolute errors, with one it adds up "
        f"squares. A matrix that calls all inputs equal already takes the error of the weights from "
        f"{percent(one.weights[0])} to {percent(one.even)}."
    )


def listed(names: Sequence[str]) -> str:
    """Names as a sentence has them."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


BEATS = ("at every size", "not at every size")


def beats(found: Sequence[Filled]) -> str:
    """Whether GPTQ leaves less error than an importance matrix at every size."""
    return BEATS[any(one.output[2] >= one.output[1] for one in found)]


def filled(found: Sequence[Filled]) -> str:
    """What GPTQ gains inside a k-quant's blocks, beside an importance matrix."""
    gains = [f"{one.name} from {percent(one.output[0])} to {percent(one.output[2])}" for one in found]
    beaten = beats(found) == BEATS[0]
    then = (
        " That is more than an importance matrix gains, at every size."
        if beaten
        else " An importance matrix does as well at some sizes."
    )
    return f"GPTQ takes the relative error of the outputs of {listed(gains)}.{then}"


def searched(found: Searched) -> str:
    """What is gained on some rows, codes first and then scales, on a text that nothing was chosen on."""
    plain, codes, both = (found.steps[i].unseen for i in (0, -2, -1))
    most = min(found.steps[1:-2], key=lambda step: step.unseen)
    further = "falls to" if both < 0.995 * codes else "stays at" if both < 1.005 * codes else "rises to"
    return (
        f"In {found.name} on another text, llama.cpp's codes leave a relative error of {percent(plain)} in the output "
        f"of these {found.rows} rows. Of the two ways that look at each weight alone, the better one ({most.words}) "
        f"leaves {percent(most.unseen)}. Codes chosen by GPTQ leave {percent(codes)}. When the scales follow too, the "
        f"error {further} **{percent(both)}**. The blocks have the same size throughout."
    )


def descent(found: Descent) -> str:
    """How one row came down."""
    errors, groups = found.errors, [step for step in found.steps if step.kind == "group"]
    tried, taken = sum(len(step.tried) for step in groups), sum(step.taken is not None for step in groups)
    return (
        f"The first row step by step. Its squared error in the output is 100% with the format's own blocks and "
        f"{errors[1] / errors[0]:.0%} with GPTQ's codes. Then the search goes from group to group, twice. Each tries "
        f"the scales and minima next to its own and rounds its weights anew; {tried} were tried, and {taken} of "
        f"{len(groups)} groups took one. At the end {errors[-1] / errors[0]:.0%} is left."
    )


def noise(found: Sequence[Disagreement]) -> str:
    """A pair for which perplexity and KL disagree, and how large the noise is."""
    if not found:
        return "At this size, perplexity and KL put all methods in the same order."
    one = found[0]
    size = (
        f"{one.errors:.1f} standard errors of such a difference, which is noise"
        if one.errors < 2
        else f"{one.errors:.1f} standard errors of such a difference, which is hardly chance"
    )
    return (
        f"**{one.closer.method}** is closer to the original than **{one.other.method}** (KL "
        f"{one.closer.total.kl:.2g} and {one.other.total.kl:.2g} nats). Yet it adds {one.apart:.3f} more perplexity. "
        f"That is {size}. Perplexity asks only about the words that the texts happen to have, and an error can help "
        "there by luck. KL compares all predictions with the original's. For two versions of one model, trust KL first."
    )


def summary(found: Replay, kquants: Sequence[Filled]) -> tuple[str, str]:
    """The two measured sentences that the chapter ends with."""
    out, nearest = found.output[-1], found.output_nearest[-1]
    first = (
        f"Rounding to nearest gets each weight as close as possible. But what counts is the layer's output, and there "
        f"GPTQ left {percent(out)} of relative error where rounding to nearest left {percent(nearest)}."
    )
    if not kquants:
        return first, "GPTQ can fill the blocks of a k-quant, too: the same file format, with better codes."
    one = kquants[0]
    return first, (
        f"The methods choose codes, so they go with almost any format. Inside {one.name} blocks GPTQ took the relative "
        f"error of the outputs from {percent(one.output[0])} to {percent(one.output[2])}, with the same file size."
    )


CHOOSING = (
    "GPTQ moves the weights that are not rounded yet. AWQ scales channels with large inputs up before rounding. An "
    "importance matrix counts errors there more. All three look at a text first."
)


def puzzle(found: Puzzle) -> str:
    """What is to be done, with the two scores."""
    return (
        f"Eight neighbouring weights of this matrix (row {found.row}, columns {found.column} to {found.column + 7}), "
        "each between two levels. **Press a weight** to send it to the other one. Rounding each to the nearest scores "
        f"0 and leaves a relative error of {percent(found.nearest_relative)}. The best of all 256 ways scores 100 and "
        f"leaves {percent(found.best_relative)}."
    )
