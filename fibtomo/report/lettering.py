"""Text inside pictures, in the font that comes with Pillow."""

from functools import cache
from typing import Any

from PIL import ImageDraw, ImageFont

Colour = str | tuple[int, ...]


@cache
def font(size_px: int) -> Any:
    """Return the built-in font at a size in pixels."""
    return ImageFont.load_default(size_px)


def text_width(text: str, size_px: int) -> float:
    """Return the width of `text` in pixels."""
    return float(font(size_px).getlength(text.replace("µ", "u")))


def write(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str,
    size_px: int,
    fill: Colour,
    align: tuple[str, str] = ("left", "top"),
) -> None:
    """Draw `text` with its (left, middle or right; top, middle or bottom) at `place`.

    The built-in font has no micro sign, so it is drawn as a "u" with a tail.
    """
    face = font(size_px)
    left = round(place[0] - text_width(text, size_px) * {"left": 0.0, "middle": 0.5, "right": 1.0}[align[0]])
    baseline = round(place[1] + size_px * {"top": 0.8, "middle": 0.35, "bottom": -0.25}[align[1]])
    draw.text((left, baseline), text.replace("µ", "u"), fill=fill, font=face, anchor="ls")
    for i, letter in enumerate(text):
        if letter == "µ":
            stem = round(left + face.getlength(text[:i].replace("µ", "u"))) + face.getbbox("u", anchor="ls")[0]
            width = max(1, round(0.08 * size_px))
            draw.rectangle((stem, baseline - size_px // 4, stem + width - 1, baseline + size_px // 5), fill=fill)
