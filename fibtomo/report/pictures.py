"""Pictures of slices: contrast, phase colours, scale bars, panels, PNG.

A picture is an (h, w, 3) uint8 array, or (h, w, 4) with transparency.
"""

import base64
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fibtomo.core.volume import OUTSIDE
from fibtomo.errors import InputError, OutputError
from fibtomo.report.lettering import text_width, write
from fibtomo.report.text import length

Picture = NDArray[np.uint8]
Limits = tuple[float, float]

PHASE_COLOURS = ("#004488", "#ddaa33", "#bb5566", "#66ccee", "#228833", "#aa3377", "#bbbbbb", "#ee7733")
"""Told apart by all common colour vision, the first three in black and white too (P. Tol, high contrast, bright)."""
_OUTSIDE_RGB = (225, 225, 225)
_CAPTION_PX = 26
_GAP_PX = 8


def grey_limits(*images: NDArray[Any], tail: float = 0.003) -> Limits:
    """Return grey values that leave out the fraction `tail` at either end, over all `images`; voids are not counted."""
    samples = []
    for image in images:
        step = max(1, image.size // 400_000)
        values = np.asarray(image).reshape(-1)[::step].astype(np.float64)
        samples.append(values[np.isfinite(values)])
    values = np.concatenate(samples) if samples else np.zeros(0)
    if values.size == 0:
        return 0.0, 1.0
    low, high = np.quantile(values, [tail, 1 - tail])
    if high <= low:
        low, high = float(values.min()), float(values.max())
    return float(low), float(high) if high > low else float(low) + 1.0


def stretch(image: NDArray[Any], limits: Limits | None = None) -> Picture:
    """Map grey values between `limits` (default: `grey_limits`) to 0–255; returns (h, w, 3).

    Examples
    --------
    >>> stretch(np.array([[0.0, 5.0, 10.0]]), (0.0, 10.0))[..., 0]
    array([[  0, 128, 255]], dtype=uint8)
    """
    low, high = limits or grey_limits(image)
    scaled = (np.asarray(image, dtype=np.float32) - low) * (255.0 / (high - low))
    grey = np.rint(np.clip(np.nan_to_num(scaled), 0, 255)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def phase_rgb(phase: int) -> tuple[int, int, int]:
    """Return the colour of `phase`; the list repeats after eight phases."""
    code = PHASE_COLOURS[phase % len(PHASE_COLOURS)]
    return int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16)


def phase_table() -> NDArray[np.uint8]:
    """Colours (256, 3) to index with uint8 labels; `OUTSIDE` is light grey."""
    colours = np.array([phase_rgb(k) for k in range(256)], dtype=np.uint8)
    colours[OUTSIDE] = _OUTSIDE_RGB
    return colours


def colour_phases(labels: NDArray[Any]) -> Picture:
    """Return phase labels (h, w) as flat colours."""
    return phase_table()[np.asarray(labels, dtype=np.uint8)]


def overlay(grey: Picture, labels: NDArray[Any], opacity: float = 0.5) -> Picture:
    """Tint a grey picture with phase colours; where nothing was seen it stays as it is.

    Raises
    ------
    InputError
        The two differ in size.
    """
    if grey.shape[:2] != labels.shape:
        raise InputError(f"labels of {labels.shape} pixels cannot be laid over a picture of {grey.shape[:2]}")
    tinted = np.rint((1 - opacity) * grey + opacity * colour_phases(labels)).astype(np.uint8)
    return np.where((labels == OUTSIDE)[..., None], grey, tinted)


def resize(picture: Picture, height: int, width: int, *, smooth: bool = True) -> Picture:
    """Resample a picture; ``smooth=False`` repeats or drops pixels, as labels want it."""
    if picture.shape[:2] == (height, width):
        return picture
    way = Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(picture).resize((width, height), way))


def true_scale(picture: Picture, spacing: tuple[float, float], per_px: float, *, smooth: bool = True) -> Picture:
    """Resample so that one pixel is `per_px` units high and wide; `spacing` is the size of a sample (row, column)."""
    height = max(1, round(picture.shape[0] * spacing[0] / per_px))
    width = max(1, round(picture.shape[1] * spacing[1] / per_px))
    return resize(picture, height, width, smooth=smooth)


def scale_bar(picture: Picture, per_px: float, unit: str = "nm") -> Picture:
    """Draw a bar of a round length (about a fifth of the width) with its label at the lower left."""
    height, width = picture.shape[:2]
    if height < 40 or width < 60:
        return picture
    size = _round_length(0.22 * width * per_px)
    bar = max(2, round(size / per_px))
    font_px = int(np.clip(height / 22, 11, 18))
    thick = max(3, font_px // 4)
    image = Image.fromarray(picture).convert("RGBA")
    layer = Image.new("RGBA", image.size)
    draw = ImageDraw.Draw(layer)
    text = length(size, unit)
    box = max(bar, round(text_width(text, font_px))) + font_px
    top, left = height - thick - round(2.2 * font_px) - 6, 6
    draw.rounded_rectangle((left, top, left + box, height - 6), radius=4, fill=(0, 0, 0, 150))
    middle = left + box / 2
    write(draw, (middle, top + 0.3 * font_px), text, font_px, "white", ("middle", "top"))
    base = height - 6 - font_px // 2
    draw.rectangle((round(middle - bar / 2), base - thick, round(middle - bar / 2) + bar - 1, base), fill="white")
    blended = Image.alpha_composite(image, layer)
    return np.asarray(blended if picture.shape[2] == 4 else blended.convert("RGB"))


def difference(removed: NDArray[Any], limit: float | None = None) -> Picture:
    """Show a signed difference: blue below zero, white at zero, red above; `limit` is full colour.

    Examples
    --------
    >>> difference(np.array([[-1.0, 0.0, 1.0]]), 1.0).tolist()
    [[[33, 102, 172], [247, 247, 247], [178, 24, 43]]]
    """
    values = np.nan_to_num(np.asarray(removed, dtype=np.float64))
    limit = difference_limit(values) if limit is None else limit
    t = np.clip(values / limit, -1, 1)[..., None]
    white, below, above = np.array([247.0] * 3), np.array([33.0, 102.0, 172.0]), np.array([178.0, 24.0, 43.0])
    return np.rint(white + np.abs(t) * (np.where(t < 0, below, above) - white)).astype(np.uint8)


def difference_limit(removed: NDArray[Any]) -> float:
    """Return the value shown in full colour: 99.5 % of all differences lie below it."""
    return float(np.quantile(np.abs(np.nan_to_num(removed)), 0.995)) or 1.0


def before_after(
    before: NDArray[Any],
    after: NDArray[Any],
    removed: NDArray[Any] | None = None,
    *,
    titles: Sequence[str] = ("before", "after", "removed"),
    voxel_nm: tuple[float, float] | None = None,
    max_px: int = 1800,
) -> Picture:
    """Set two images side by side with one contrast, and what was removed as a third panel with its own.

    Middle grey in the third panel is zero, white was too bright; its title ends with the grey value of full white.

    Parameters
    ----------
    before, after
        (h, w) grey values, or (h, w, 3) pictures that are shown as they are.
    removed
        (h, w) component taken out; ``None`` takes before − after where both are grey and of one size.
    titles
        Captions of the panels.
    voxel_nm
        Size (row, column) of a pixel; gives true proportions and a scale bar.
    max_px
        Width of the whole picture.

    Raises
    ------
    InputError
        An image is neither (h, w) nor (h, w, 3).
    """
    before, after = np.asarray(before), np.asarray(after)
    greys = [image for image in (before, after) if image.ndim == 2]
    limits = grey_limits(*greys) if greys else None
    panels = [_as_picture(before, limits), _as_picture(after, limits)]
    captions = list(titles)
    if removed is None and len(greys) == 2 and before.shape == after.shape:
        removed = before.astype(np.float64) - after.astype(np.float64)
    if removed is not None:
        reach = difference_limit(removed)
        panels.append(stretch(removed, (-reach, reach)))
        captions[2] += f", ±{reach:.3g} grey" if np.any(removed) else ": nothing"
    spacing = voxel_nm or (1.0, 1.0)
    across = max(p.shape[1] for p in panels) * spacing[1]
    per_px = across * len(panels) / (max_px - _GAP_PX * (len(panels) - 1))
    per_px = max(per_px, min(spacing) / 4)
    panels = [true_scale(p, spacing, per_px) for p in panels]
    if voxel_nm:
        panels = [scale_bar(p, per_px) for p in panels]
    return montage(panels, captions[: len(panels)])


def montage(panels: Sequence[Picture], titles: Sequence[str] = ()) -> Picture:
    """Set pictures in a row on white, each below its title."""
    head = _CAPTION_PX if titles else 0
    height = head + max(p.shape[0] for p in panels)
    width = sum(p.shape[1] for p in panels) + _GAP_PX * (len(panels) - 1)
    page = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(page)
    left = 0
    for i, panel in enumerate(panels):
        page.paste(Image.fromarray(panel[..., :3]), (left, head))
        if titles:
            write(draw, (left + 1, head / 2), titles[i], 15, "#333333", ("left", "middle"))
        left += panel.shape[1] + _GAP_PX
    return np.asarray(page)


def encode(picture: Picture, kind: str = "PNG") -> bytes:
    """Return the bytes of a PNG or JPEG file."""
    buffer = io.BytesIO()
    options: dict[str, Any] = {"quality": 90, "subsampling": 0} if kind == "JPEG" else {}
    Image.fromarray(picture).save(buffer, kind, **options)
    return buffer.getvalue()


def data_uri(picture: Picture) -> str:
    """Return a picture to embed in HTML: PNG if it has transparency, else JPEG, as noise makes a PNG very large."""
    kind = "PNG" if picture.shape[2] == 4 else "JPEG"
    grey = kind == "JPEG" and np.array_equal(picture[..., :1].repeat(3, axis=2), picture)
    data = encode(picture[..., 0] if grey else picture, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(data).decode('ascii')}"


def save_png(path: Path, picture: Picture) -> Path:
    """Write a picture as PNG, in one step.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(encode(picture))
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"picture '{path}' cannot be written: {error.strerror}") from error
    return path


def _as_picture(image: NDArray[Any], limits: Limits | None) -> Picture:
    if image.ndim == 2:
        return stretch(image, limits)
    if image.ndim == 3 and image.shape[2] == 3:
        return image.astype(np.uint8)
    raise InputError(f"an image of shape {image.shape} is neither (rows, columns) nor (rows, columns, 3)")


def _round_length(most: float) -> float:
    step = 10.0 ** np.floor(np.log10(most))
    return float(next(step * m for m in (5, 2, 1) if step * m <= most * 1.0000001))
