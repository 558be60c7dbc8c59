"""The face part of a report: what was left out of the slices, drawn on one of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fibtomo.errors import FibtomoError
from fibtomo.report import pictures
from fibtomo.report.data import ReportData
from fibtomo.report.markup import Html, tag
from fibtomo.report.pictures import Picture
from fibtomo.report.sections import NOTHING, bad_slices, section
from fibtomo.report.text import number
from fibtomo.report.views import MAX_EDGE, Volume, open_volume

_BOX_RGB, _SURFACE_RGB = (255, 170, 40), (90, 200, 250)
_OUTSIDE_SHADE = 0.45
_FINEST = 0.25


def face(data: ReportData) -> Html:
    """What was found at the edges of the slices, and the middle slice with box and surface drawn on it."""
    found = data.face
    if not found or not (found["notes"] or np.isfinite(_rows(found)).any()):
        return NOTHING
    listed = [tag("li", note[:1].upper() + note[1:] + ".") for note in found["notes"]]
    parts = [tag("ul", listed), _ways() if listed else NOTHING, _motion(found)]
    if data.raw is not None:
        try:
            parts.append(_drawn(open_volume(data.raw), data, found))
        except (FibtomoError, OSError) as error:
            parts.append(tag("p", f"The slice could not be read for this report: {error}", class_="problem"))
    return section("face", "Face", *parts)


def draw_face(
    image: NDArray[Any],
    box_px: tuple[float, float, float, float],
    surface: tuple[float, float] | None = None,
    spacing: tuple[float, float] = (1.0, 1.0),
    per_px: float = 1.0,
) -> Picture:
    """Draw a box and the surface line on a slice; what lies outside the box is darkened.

    Parameters
    ----------
    image
        (y, x) slice.
    box_px
        Rows [y0, y1) and columns [x0, x1) of this slice.
    surface
        Row at the middle column, and rows per column.
    spacing, per_px
        Size of a pixel (y, x), and of one pixel of the picture, in the same unit.
    """
    picture = pictures.true_scale(pictures.stretch(image), spacing, per_px)
    y, x = (step / per_px for step in spacing)
    height, width = picture.shape[:2]
    top, bottom, left, right = (
        int(np.clip(round(edge * step), 0, size))
        for edge, step, size in zip(box_px, (y, y, x, x), (height, height, width, width), strict=True)
    )
    shaded = np.rint(picture * _OUTSIDE_SHADE).astype(np.uint8)
    shaded[top:bottom, left:right] = picture[top:bottom, left:right]
    drawn = Image.fromarray(shaded)
    pen = ImageDraw.Draw(drawn)
    thick = max(1, round(height / 300))
    if (top, bottom, left, right) != (0, height, 0, width):
        pen.rectangle((left, top, right - 1, bottom - 1), outline=_BOX_RGB, width=thick)
    if surface is not None and np.isfinite(surface).all():
        row, slope = surface
        half = (image.shape[1] - 1) / 2
        ends = [(column * x, (row + slope * (column - half)) * y) for column in (0, image.shape[1])]
        pen.line(ends, fill=_SURFACE_RGB, width=thick)
    return np.asarray(drawn)


def _rows(found: dict[str, Any]) -> NDArray[np.float64]:
    return np.asarray(found["surface_row_px"], dtype=np.float64)


def _drawn(raw: Volume, data: ReportData, found: dict[str, Any]) -> Html:
    n = raw.spec.shape[0]
    rows, bad = _rows(found), set() if data.drift is None else set(bad_slices(data.drift))
    seen = [k for k in np.flatnonzero(np.isfinite(rows)).tolist() if k not in bad]
    fit = seen or [k for k in range(n) if k not in bad] or [n // 2]
    k = min(fit, key=lambda i: abs(i - n // 2))
    shift = (0.0, 0.0) if data.drift is None else tuple(np.asarray(data.drift.shifts_px)[k])
    y0, y1, x0, x1 = found["box_px"]
    box = (y0 + shift[0], y1 + shift[0], x0 + shift[1], x1 + shift[1])
    spacing = raw.spec.scale[1:]
    image = raw.slice_at(k)
    per_px = max(image.shape[0] * spacing[0], image.shape[1] * spacing[1]) / MAX_EDGE
    per_px = max(per_px, _FINEST * min(spacing))
    picture = draw_face(image, box, (rows[k], float(found["surface_slope"])), spacing, per_px)
    picture = pictures.scale_bar(picture, per_px, raw.spec.unit)
    words = f"Slice {k} as stored."
    words += " Dark, outside the orange box: left out." if found["crop"] else " Nothing was left out."
    if seen:
        words += " Blue: the surface of the specimen."
    shown = tag("img", src=pictures.data_uri(picture), alt=words, width=picture.shape[1], height=picture.shape[0])
    return tag("figure", shown, tag("figcaption", words), style="max-width: 720px")


def _ways() -> Html:
    """How to get another choice."""
    keep = tag("code", "--set face.find.crop=off")
    choose = tag("code", "--set geometry.resample.roi=[y0,y1,x0,x1]")
    return tag("p", keep, " keeps everything; ", choose, " (rows and columns of slice 0) chooses another part.")


def _motion(found: dict[str, Any]) -> Html:
    rows = _rows(found)
    seen = np.flatnonzero(np.isfinite(rows))
    if not len(seen):
        return NOTHING
    words = (
        f"The surface was followed on {len(seen)} of {len(rows)} slices, from row {number(float(rows[seen[0]]), 4)} "
        f"to row {number(float(rows[seen[-1]]), 4)}; it leans by {number(float(found['surface_slope']), 2)} rows per "
        f"column."
    )
    return tag("p", words)
