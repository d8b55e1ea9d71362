"""One stored block, shaped for the eye: the block brush's data, where its bits go, every weight as CSV."""

import csv
import io
from dataclasses import dataclass

import numpy as np

from quantlib.figures import palette
from quantlib.figures.weights import fp32_bits
from quantlib.formats import BlockFormat, Format, Trace
from quantlib.formats.blocks.block import Term


@dataclass(frozen=True, eq=False)
class StoredBlock:
    """A block of weights, float32 (values,), and the trace of its format: codes, data (nbytes,), decoded (values,)."""

    format: BlockFormat
    weights: np.ndarray
    trace: Trace

    @property
    def data(self) -> np.ndarray:
        return self.trace.data

    @property
    def decoded(self) -> np.ndarray:
        return self.trace.decoded

    @property
    def group(self) -> int:
        """Weights that share one scale."""
        return self.format.values // self.trace.groups


def drawable(fmt: Format) -> bool:
    """Whether the pictures here tell how it stores weights: each weight reads one code of each field.

    Not so where a code holds the digits of weights that lie far apart, as in TQ1_0.
    """
    return fmt.kind == "block" and all(fmt.values % field.count == 0 for field in fmt.layout.fields)


def store(fmt: BlockFormat, weights: np.ndarray, importance: np.ndarray | None = None) -> StoredBlock:
    """Quantize one block of weights, float32 (values,), keeping every step; importance (values,) steers it.

    Raises FormatError where the format needs importance and there is none.
    """
    weights = np.ascontiguousarray(weights, np.float32)
    return StoredBlock(fmt, weights, fmt.trace(weights, importance))


def message(block: StoredBlock, token: str) -> dict:
    """The block as integers and bit patterns, for the block brush. `token` names it: another token is another block.

    Fields carry their role, their codes and the bit address of each code's bits, least significant first. grids: the
    scale and the minimum of each block inside a super-block, None where the format has no sub-minima.
    """
    return {
        "token": token,
        "format": block.format.name,
        "values": block.format.values,
        "columns": block.group,
        "formula": block.format.formula.value,
        "bytes": block.data.tolist(),
        "weights": fp32_bits(block.weights).tolist(),
        "decoded": fp32_bits(block.decoded).tolist(),
        "fields": [
            {
                "name": field.name,
                "role": field.role,
                "dtype": field.dtype,
                "doc": field.doc,
                "bits": field.bits.tolist(),
                "codes": _integers(block.trace.codes[field.name]).tolist(),
            }
            for field in block.format.layout.fields
        ],
        "grids": _grids(block),
        "terms": [
            {"name": name, "symbol": term.symbol, "values": fp32_bits(_of_each_weight(block, term)).tolist()}
            for name, term in block.format.terms.items()
        ],
    }


def _grids(block: StoredBlock) -> dict | None:
    """d · sc and dmin · mn of every block, as FP32 patterns."""
    codes = block.trace.codes
    if "mn" not in codes:
        return None
    products = ((one, codes[small].astype(np.float32)) for one, small in (("d", "sc"), ("dmin", "mn")))
    scales, minima = (fp32_bits(codes[one].astype(np.float32) * small).tolist() for one, small in products)
    return {"scales": scales, "minima": minima}


def _of_each_weight(block: StoredBlock, term: Term) -> np.ndarray:
    """What a term of the formula is for every weight: float32 (values,)"""
    fields, element = block.format.layout.fields, block.format.layout.element
    return np.array(
        [
            term.of({f.name: block.trace.codes[f.name][element(f.name, at)] for f in fields}, at)
            for at in range(block.format.values)
        ],
        np.float32,
    )


def _integers(codes: np.ndarray) -> np.ndarray:
    """Codes as integers: a half-precision float as its bit pattern."""
    return codes.view(np.uint16) if codes.dtype == np.float16 else codes


def size_html(fmt: BlockFormat) -> str:
    """Where the bits of a block go, as an HTML table with every field in its hue, and the sum that makes bpw."""
    rows = "".join(
        f'<tr><td style="color:var({palette.ROLES[field.role].css_name});font-weight:600">{field.name}</td>'
        f"<td>{field.doc}</td><td>{field.count} × {field.width} bits</td><td>{field.bits.size}</td></tr>"
        for field in sorted(fmt.layout.fields, key=lambda field: -field.bits.size)
    )
    return (
        "<style>.bits-table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}"
        ".bits-table td{padding:.25rem .75rem .25rem 0;border-bottom:1px solid var(--rule);vertical-align:top}"
        ".bits-table td:nth-child(n+3){text-align:right;white-space:nowrap;padding-right:0;padding-left:.75rem}"
        ".bits-table tr:last-child td{border:0;font-weight:600}</style>"
        f'<table class="bits-table" aria-label="What the bits of a block are for">{rows}'
        f"<tr><td></td><td>{8 * fmt.nbytes} bits ÷ {fmt.values} weights = "
        f"{fmt.bpw:g} bits per weight</td><td></td><td>{8 * fmt.nbytes}</td></tr></table>"
    )


def to_csv(block: StoredBlock) -> str:
    """Every weight of the block with its codes, its stored value and the error, as CSV."""
    fields = [f for f in block.format.layout.fields if f.count > 1 or f.role == "code"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["weight", "w", *(f.name for f in fields), "stored", "error"])
    for at, (x, back) in enumerate(zip(block.weights, block.decoded, strict=True)):
        codes = (int(block.trace.codes[f.name][block.format.layout.element(f.name, at)]) for f in fields)
        writer.writerow([at, f"{x:.9g}", *codes, f"{back:.9g}", f"{float(back) - float(x):.9g}"])
    return out.getvalue()
