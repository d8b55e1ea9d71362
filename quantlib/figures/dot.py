"""What a CPU does with stored blocks: whole numbers times whole numbers, and the scales at the end."""

from dataclasses import dataclass

import numpy as np

from quantlib.formats import FORMATS

FORMAT, Q8_K = FORMATS["Q4_K"], FORMATS["Q8_K"]


@dataclass(frozen=True, eq=False)
class Activations:
    """A block of 256 activations as llama.cpp's Q8_K: x ≈ d · q. codes: int8 (256,). sums: int16 (16,), each of 16."""

    d: np.float32
    codes: np.ndarray
    sums: np.ndarray


def q8_k(x: np.ndarray) -> Activations:
    """Quantize activations, float32 (256,)."""
    codes = Q8_K.unpack(Q8_K.quantize(x))
    return Activations(codes["d"][0], codes["q"], codes["s"])


@dataclass(frozen=True)
class Dot:
    """One block's share of a matrix product, step by step.

    products: Σ_j sc_j Σ q·a over the codes, minima: Σ_j mn_j Σ a; d, dmin: the super-block's scales, da the
    activations'. value = da · (d · products − dmin · minima). exact: Σ w·x with the weights before quantization;
    decoded: with the stored weights and unquantized activations.
    """

    d: float
    dmin: float
    da: float
    products: int
    minima: int
    value: float
    decoded: float
    exact: float


def dot(weights: np.ndarray, x: np.ndarray) -> Dot:
    """The product of a Q4_K super-block of weights (256,) with activations x (256,), as llama.cpp computes it.

    Source: ggml_vec_dot_q4_K_q8_K.
    """
    trace = FORMAT.trace(weights)
    codes = {name: code.astype(np.int64) for name, code in trace.codes.items() if name in ("sc", "mn", "q")}
    a = q8_k(x)
    pairs = (codes["q"] * a.codes).reshape(8, 32).sum(-1)  # (blocks,)
    products = int((codes["sc"] * pairs).sum())
    minima = int((codes["mn"] * a.sums.reshape(8, 2).sum(-1)).sum())
    d, dmin = (float(trace.codes[name][0]) for name in ("d", "dmin"))
    wide = x.astype(np.float64)
    return Dot(
        d, dmin, float(a.d), products, minima, float(a.d) * (d * products - dmin * minima),
        float(trace.decoded @ wide), float(weights @ wide),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Outputs:
    """A matrix times one input, as stored and as trained. blocks: the super-blocks of one row, from left to right.

    relative: √(Σ (ŷ − y)² / Σ y²) over the outputs of all rows.
    """

    row: int
    blocks: tuple[Dot, ...]
    rows: int
    relative: float

    @property
    def value(self) -> float:
        """The output of the row, from integers."""
        return sum(block.value for block in self.blocks)

    @property
    def exact(self) -> float:
        """The output of the row, from the weights before quantization."""
        return sum(block.exact for block in self.blocks)


def outputs(weights: np.ndarray, x: np.ndarray, row: int) -> Outputs:
    """Multiply a matrix (rows, n) with an input x (n,), n a multiple of 256, and look into one row."""
    halves = weights[row].reshape(-1, 256), x.reshape(-1, 256)
    blocks = tuple(dot(w, part) for w, part in zip(*halves, strict=True))
    stored = FORMAT.dequantize(FORMAT.quantize(weights)).astype(np.float64)
    read = np.concatenate([float(a.d) * a.codes.astype(np.float64) for a in map(q8_k, x.reshape(-1, 256))])
    exact = weights.astype(np.float64) @ x.astype(np.float64)
    missed, whole = (float(np.square(y).sum()) for y in (stored @ read - exact, exact))
    return Outputs(row, blocks, len(weights), (missed / whole) ** 0.5 if whole else 0.0)


def outputs_html(found: Outputs, at: int) -> str:
    """The super-blocks of the row with what each adds to the output; the one that the page looks at stands out."""
    rows = "".join(
        f"<tr class='{'here' if i == at else ''}'><th scope='row'>super-block {i}</th>"
        f"<td>{_number(block.value)}</td><td>{_number(block.exact)}</td></tr>"
        for i, block in enumerate(found.blocks)
    )
    return (
        '<table class="measured"><thead><tr><th></th><th>from integers</th><th>from the weights as trained</th></tr>'
        f"</thead><tbody>{rows}<tr><th scope='row'>output {found.row}, their sum</th><td><b>{_number(found.value)}</b>"
        f"</td><td><b>{_number(found.exact)}</b></td></tr></tbody></table>"
    )


def _number(x: float) -> str:
    return f"{x:.4f}".replace("-", "−")


def dot_html(found: Dot) -> str:
    """The formula in three lines, in the colours of the roles."""

    def role(name: str, text: str) -> str:
        return f'<b style="color:var(--role-{name})">{text}</b>'

    def number(x: float) -> str:
        return f"{x:.5g}".replace("-", "−")

    words = (
        f"{role('fraction', 'dₐ')} · ( {role('super-scale', 'd')} · Σ {role('sub-scale', 'sc')} Σ "
        f"{role('code', 'q')} · {role('fraction', 'a')} − {role('super-minimum', 'dmin')} · "
        f"Σ {role('sub-minimum', 'mn')} Σ {role('fraction', 'a')} )"
    )
    numbers = (
        f"{role('fraction', number(found.da))} · ( {role('super-scale', number(found.d))} · "
        f"{role('code', f'{found.products:,}'.replace('-', '−'))} − {role('super-minimum', number(found.dmin))} · "
        f"{role('sub-minimum', f'{found.minima:,}'.replace('-', '−'))} )"
    )
    return (
        '<div class="three-lines">'
        f"<div>w · x ≈ {words}</div><div>= {numbers}</div>"
        f"<div>= <b>{number(found.value)}</b></div></div>"
    )
