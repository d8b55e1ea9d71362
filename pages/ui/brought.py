"""A picture that a visitor brings, as grey values. Its file goes as soon as they are read."""

import io

from PIL import Image, UnidentifiedImageError

from pages.server import files, uploads
from quantlib.errors import FormatError
from quantlib.figures.picture import HIGH, WIDE

MOST_PIXELS = 40_000_000


def grey(data: bytes) -> bytes:
    """A PNG or JPEG picture as grey values, a byte each, row by row, cut to the gallery's shape.

    Raises FormatError, in a sentence, where it is none or too large.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            if image.width * image.height > MOST_PIXELS:
                raise FormatError(
                    f"This picture has {image.width * image.height:,} pixels; {MOST_PIXELS:,} are the most."
                )
            return _cut(image)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FormatError(f"This is no PNG or JPEG picture that can be read: {error}.") from None


def read_picture(token: str) -> bytes:
    """An uploaded picture as `grey` values; raises as it does."""
    path, _, _ = uploads.registry().take(token)
    try:
        return grey(path.read_bytes())
    finally:
        files.remove(path.parent)


def _cut(image: Image.Image) -> bytes:
    image = image.convert("L")
    scale = max(WIDE / image.width, HIGH / image.height)
    size = max(WIDE, round(image.width * scale)), max(HIGH, round(image.height * scale))
    image = image.resize(size)
    left, top = (size[0] - WIDE) // 2, (size[1] - HIGH) // 2
    return image.crop((left, top, left + WIDE, top + HIGH)).tobytes()
