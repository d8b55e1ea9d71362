"""What a float format keeps of a tensor: where its exponents lie, and what rounding to it changes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantlib.figures.plane import readable


@dataclass(frozen=True, eq=False)
class Exponents:
    """How many weights lie in [2^k, 2^(k+1)) for each power k. `zeros` have none; `strange` are NaN or infinite."""

    powers: np.ndarray  # int (k,)
    counts: np.ndarray  # int (k,)
    zeros: int
    strange: int


def exponents(x: np.ndarray) -> Exponents:
    """Count x (float32, any shape) by floor(log2 |x|)."""
    x = np.asarray(x, np.float32).reshape(-1)
    finite = x[np.isfinite(x)]
    power = np.frexp(finite[finite != 0])[1] - 1
    low, high = (int(power.min()), int(power.max())) if power.size else (0, 0)
    counts = np.bincount(power - low, minlength=high - low + 1)
    return Exponents(np.arange(low, high + 1), counts, int((finite == 0).sum()), x.size - finite.size)


def declaration(fmt) -> dict:
    """What the browser needs of a format: its name, exponent and fraction bits, what its largest exponent means."""
    return {"name": fmt.name, "e": fmt.exponent_bits, "m": fmt.fraction_bits, "specials": fmt.specials}


@dataclass(frozen=True)
class Kept:
    """What rounding weights to one format did to them.

    changed: weights that became another number. vanished: nonzero weights that became zero. overflowed: finite weights
    that became infinite. finer: weights around which this format's next value is nearer than in every other compared.
    relative: root of the mean squared relative error over the weights that stayed finite and nonzero.
    """

    name: str
    count: int
    changed: int
    vanished: int
    overflowed: int
    finer: int
    relative: float


def kept(x: np.ndarray, formats: Sequence) -> list[Kept]:
    """Round x (float32, any shape) to each format and count what happened."""
    x = np.asarray(x, np.float32).reshape(-1)
    x = x[np.isfinite(x)]
    gaps = np.stack([_gap(f, x) for f in formats])  # (formats, weights)
    nearest = gaps.min(0)
    alone = (gaps == nearest).sum(0) == 1
    results = []
    for fmt, gap in zip(formats, gaps, strict=True):
        back = fmt.dequantize(fmt.quantize(x))
        stayed = (x != 0) & (back != 0) & np.isfinite(back)
        relative = back[stayed].astype(np.float64) / x[stayed] - 1
        results.append(
            Kept(
                name=fmt.name,
                count=x.size,
                changed=int((back != x).sum()),
                vanished=int(((x != 0) & (back == 0)).sum()),
                overflowed=int(np.isinf(back).sum()),
                finer=int((alone & (gap == nearest)).sum()),
                relative=float(np.sqrt(np.mean(relative**2))) if relative.size else 0.0,
            )
        )
    return results


def _gap(fmt, x: np.ndarray) -> np.ndarray:
    """The distance between storable values around each x: 2^(max(floor(log2|x|), lowest) - fraction bits)."""
    lowest, highest = 1 - fmt.bias, fmt.bias
    power = np.where(x == 0, lowest, np.frexp(x)[1] - 1)
    gap = np.ldexp(np.float32(1), np.maximum(power, lowest) - fmt.fraction_bits)
    return np.where(power > highest, np.float32(np.inf), gap)


def digits(fmt) -> float:
    """Decimal digits that the fraction is worth: (fraction bits + 1) · log10 2."""
    return (fmt.fraction_bits + 1) * float(np.log10(2))


def powers_of_ten(fmt) -> float:
    """From the smallest number above zero to the largest, in powers of ten."""
    return float(np.log10(float(fmt.max)) - np.log10(float(fmt.smallest_subnormal)))


def narrowest(value: float, formats: Sequence, tolerance: float = 0.01):
    """Of formats, the widest first, the one with the fewest bits that stores a value within a share of it.

    Of equally many bits the nearer one. None where no format does.
    """
    x = np.float32(value)
    good = [(fmt.bits, abs(float(fmt.decode(fmt.encode(x))) - float(x)), fmt) for fmt in formats]
    good = [g for g in good if np.isfinite(g[1]) and g[1] <= tolerance * abs(float(x))]
    return min(good, key=lambda g: g[:2])[2] if good else None


def kept_in_words(value: float, fmt) -> str:
    """What a format makes of a value, in a sentence."""
    back, name = float(fmt.decode(fmt.encode(np.float32(value)))), fmt.name.replace("_", " ")
    off = abs(back - value) / abs(value) if value else 0.0
    if not np.isfinite(back):
        return f"Too large for {name}: it becomes {back:g}."
    return f"{name} stores {readable(back, 9)}, {'exactly' if off == 0 else f'{readable(100 * off)} % off'}."


def conclusions(found: Sequence[Kept], formats: Sequence) -> list[str]:
    """What a tensor's weights (`kept`, two formats) and the formats' declarations say, the widest format first."""
    wide = formats[0]
    one, other = sorted(found, key=lambda k: k.relative)
    ratio = other.relative / one.relative if one.relative else float("inf")
    compared = (
        f"For these weights {one.name} is {ratio:.2g} times as exact as {other.name}: its error is "
        f"{one.relative:.2g} of a weight, against {other.relative:.2g}."
        if np.isfinite(ratio)
        else f"{one.name} keeps these weights exactly; {other.name} errs by {other.relative:.2g} of a weight."
    )
    ends = ", ".join(f"{fmt.name.replace('_', ' ')} at {readable(float(fmt.max), 5)}" for fmt in formats[1:])
    return [
        f"{wide.name} spends {wide.exponent_bits} bits on the exponent, which gives about {powers_of_ten(wide):.0f} "
        f"powers of ten, and {wide.fraction_bits} on the fraction, which gives about {digits(wide):.0f} digits.",
        compared,
        f"Every format ends somewhere: {ends}. What is larger becomes infinity, NaN, or the largest number.",
    ]


def line_message(
    counted: Exponents,
    formats: Sequence,
    token: str,
    start: int,
    window: int,
    presets: Sequence[tuple[str, float, int]],
) -> dict:
    """For the number line: formats, the tensor's exponents, `start` an FP32 pattern, `window` the power of two where
    the line ends. presets: a label, a number and a window each.
    """
    return {
        "token": token,
        "formats": [declaration(fmt) for fmt in formats],
        "powers": counted.powers.tolist(),
        "counts": counted.counts.tolist(),
        "start": start,
        "window": window,
        "presets": [
            {"label": label, "value": int(np.float32(value).view(np.uint32)), "window": end}
            for label, value, end in presets
        ],
    }


def exponents_csv(counted: Exponents) -> str:
    """The counts as CSV: power, weights with 2^power ≤ |w| < 2^(power + 1)."""
    lines = (f"{power},{count}" for power, count in zip(counted.powers, counted.counts, strict=True))
    return "power,weights\n" + "\n".join(lines) + f"\nzero,{counted.zeros}\n"
