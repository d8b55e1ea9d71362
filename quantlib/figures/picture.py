"""A grey picture stored as if its pixels were weights, in format after format, each with its error."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantlib.errors import FormatError
from quantlib.figures.rounding import sampled_rows
from quantlib.figures.weights import Rows
from quantlib.formats import FORMATS
from quantlib.formats.granularity import Granularity, PerChannel, PerGroup, PerTensor
from quantlib.formats.integers import IntegerFormat
from quantlib.lm.texts import ASSETS
from quantlib.methods.rtn import round_to_nearest
from quantlib.metrics import compare

WIDE, HIGH = 256, 192  # pixels: rows that super-blocks fit
STILL_LIFE = ASSETS / "picture" / "still_life.png"  # assets/picture/make.py draws it
WAYS: tuple[tuple[str, int, Granularity | None], ...] = (
    ("one scale for all", 4, PerTensor()),
    ("a scale for each row", 4, PerChannel()),
    ("a scale for every 32", 4, PerGroup(32)),
)
BLOCKS = {
    "Q4_K": "super-blocks",
    "NF4": "a codebook",
    "Q2_K": "super-blocks",
    "IQ2_XXS": "eight share a code",
    "IQ1_S": "eight share a code",
}


@dataclass(frozen=True, eq=False)
class Stored:
    """The picture from one format: its name, what to know of it, bits per pixel, grey values and errors, uint8 (h, w).

    relative: RMS of the error over RMS of the picture around its mean. error: 128 is none, four times as strong.
    """

    name: str
    how: str
    bpw: float
    pixels: np.ndarray
    error: np.ndarray
    relative: float


def as_weights(pixels: np.ndarray) -> np.ndarray:
    """Grey values uint8 (h, w) as numbers around zero, float32."""
    return pixels.astype(np.float32) / 255 - np.float32(pixels.mean() / 255)


def stored(pixels: np.ndarray) -> list[Stored]:
    """The picture in every way of the gallery. Raises FormatError where rows are no multiple of 256."""
    if pixels.shape[1] % 256:
        raise FormatError(f"Rows of {pixels.shape[1]} pixels do not fit super-blocks of 256.")
    x, found = as_weights(pixels), []
    for how, bits, sharing in WAYS:
        rounded = round_to_nearest(x, IntegerFormat(bits), sharing)
        found.append(_seen(f"INT{bits}", how, rounded.bpw, x, rounded.decoded, pixels))
    importance = np.ones(x.shape[1], np.float32)
    for name, how in BLOCKS.items():
        fmt = FORMATS[name]
        data = fmt.quantize(x, importance) if name.startswith("IQ") else fmt.quantize(x)
        found.append(_seen(name, how, fmt.bpw, x, fmt.dequantize(data, x.shape[1]), pixels))
    return found


def _seen(name: str, how: str, bpw: float, x: np.ndarray, back: np.ndarray, pixels: np.ndarray) -> Stored:
    mean = pixels.mean()
    grey = np.clip(np.rint(255 * back + mean), 0, 255).astype(np.uint8)
    error = np.clip(np.rint(128 + 4 * 255 * (back - x)), 0, 255).astype(np.uint8)
    return Stored(name, how, bpw, grey, error, compare(x, back).relative)


def alike(x: np.ndarray) -> float:
    """The correlation of each number of x (rows, n) with its neighbour on the right."""
    left, right = np.float64(x[:, :-1]).ravel(), np.float64(x[:, 1:]).ravel()
    if left.std() == 0 or right.std() == 0:
        return 0.0
    return float(np.corrcoef(left, right)[0, 1])


def conclusion(pixels: np.ndarray, tensor: Rows) -> str:
    """Why weights are not pictures, from both."""
    picture, weights = alike(as_weights(pixels)), round(alike(sampled_rows(tensor)), 2) + 0.0  # never −0.00
    if picture <= 3 * abs(weights):
        return (
            f"A pixel tells of its neighbour (correlation {picture:.2f}), and so does a weight of this tensor of the "
            f"one beside it ({weights:.2f}). Most weights do not: try another tensor."
        )
    return (
        f"Weights are not pictures. A pixel is nearly what its neighbour is (correlation {picture:.2f}); a weight says "
        f"little about the one beside it ({weights:.2f}). So the eye can fill in what a pixel lost, and nothing can "
        "for a weight."
    )


def gallery_html(pixels: np.ndarray, found: Sequence[Stored]) -> str:
    """The picture as it is, then from each format over its error."""
    whole = _image(pixels, "The picture, 8 bits a pixel")
    first = f"<figure>{whole}<figcaption><b>as it is</b> 8 bits</figcaption></figure>"
    rest = "".join(
        f"<figure>{_image(one.pixels, f'The picture from {one.name}, {one.how}')}"
        f"{_image(one.error, f'Its error in {one.name}, {one.how}, four times as strong', 'error')}"
        f"<figcaption><b>{one.name}</b> {one.how}<br>{one.bpw:.3g} bits, relative error <em>{one.relative:.1%}</em>"
        "</figcaption></figure>"
        for one in found
    )
    return f'<div class="gallery">{first}{rest}</div>'


def _image(pixels: np.ndarray, words: str, kind: str = "") -> str:
    data = base64.b64encode(png(pixels)).decode("ascii")
    return f'<img class="{kind}" alt="{words}" src="data:image/png;base64,{data}">'


def png(pixels: np.ndarray) -> bytes:
    """A grey PNG of uint8 (h, w), without loss."""
    high, wide = pixels.shape
    rows = np.concatenate([np.zeros((high, 1), np.uint8), pixels], axis=1).tobytes()
    header = np.array([wide, high], ">u4").tobytes() + bytes([8, 0, 0, 0, 0])
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def of_bytes(grey: bytes) -> np.ndarray:
    """Grey values, a byte each, row by row, as uint8 (HIGH, WIDE)."""
    return np.frombuffer(grey, np.uint8).reshape(HIGH, WIDE)


def still_life() -> np.ndarray:
    """The picture of the project, uint8 (HIGH, WIDE), from the file that `png` wrote."""
    data = STILL_LIFE.read_bytes()
    at = data.index(b"IDAT")
    rows = zlib.decompress(data[at + 4 : at + 4 + int.from_bytes(data[at - 4 : at], "big")])
    return np.frombuffer(rows, np.uint8).reshape(HIGH, WIDE + 1)[:, 1:].copy()
