"""The pictures of a report: 3-D rendering, orthogonal views, before and after."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.volume import OUTSIDE
from fibtomo.errors import FibtomoError
from fibtomo.report import pictures
from fibtomo.report.data import ReportData
from fibtomo.report.markup import Content, Html, tag
from fibtomo.report.panels import image_of, panel_of
from fibtomo.report.pictures import Limits, Picture
from fibtomo.report.render import render_grey, render_labels
from fibtomo.report.sections import NOTHING, section
from fibtomo.report.slice_pairs import FINEST, SlicePair, compared, middle_pair, striped_pair, taken_out
from fibtomo.report.views import MAX_EDGE, Views, Volume, open_volume, take_views
from fibtomo.report.voxelise import voxelise

GRID_EDGE = 160
_ROW_PX = 420


@dataclass
class Gallery:
    """Sections of every volume at hand; `problems` says which could not be read."""

    volume: Views | None
    labels: Views | None
    raw: Views | None
    slices: SlicePair | None
    striped: SlicePair | None
    problems: list[str]

    @property
    def phases(self) -> list[int]:
        """Phases that occur, ascending; empty without labels."""
        return [] if self.labels is None else [int(k) for k in np.unique(self.labels.grid) if k != OUTSIDE]


def gather(data: ReportData) -> Gallery:
    """Read what the pictures need; what cannot be read is reported in the page instead of ending the run."""
    problems: list[str] = []

    def attempt(name: str, source: Any, action: Callable[[Volume], Any]) -> Any:
        if source is None:
            return None
        try:
            return action(open_volume(source))
        except (FibtomoError, OSError) as error:
            problems.append(f"The {name} could not be read for this report: {error}")
            return None

    labels = attempt("segmented volume", data.labels, lambda v: take_views(v, GRID_EDGE))
    grid_edge = None if labels is not None else GRID_EDGE
    return Gallery(
        labels=labels,
        volume=attempt("reconstructed volume", data.volume, lambda v: take_views(v, grid_edge)),
        raw=attempt("raw stack", data.raw, take_views),
        slices=attempt("corrected slice", data.raw, lambda raw: middle_pair(raw, data))
        if data.corrected is not None
        else None,
        striped=attempt("slice with the strongest curtains", data.raw, lambda raw: striped_pair(raw, data))
        if data.corrected is not None and data.curtains
        else None,
        problems=problems,
    )


def rendering(gallery: Gallery, mesh: Any) -> Html:
    """Three-dimensional picture: of the phases, else of the mesh, else of the grey block."""
    if gallery.labels is not None and gallery.labels.grid.size:
        views = gallery.labels
        phases = gallery.phases
        hidden = (phases[0],) if len(phases) > 1 else ()
        picture = render_labels(views.grid, views.grid_spacing, hidden=hidden, unit=views.unit)
        shown = [f"phase {k}" for k in phases if k not in hidden]
        caption = f"{', '.join(shown).capitalize()} in colour"
        caption += f"; phase {hidden[0]} left out. Cut faces are pale." if hidden else ". Cut faces are pale."
        caption += _coarser(views.grid_spacing, views)
    elif mesh is not None and len(mesh.faces):
        grid, edge_nm = voxelise(np.asarray(mesh.vertices), np.asarray(mesh.faces), 150)
        picture, caption = render_labels(grid, (edge_nm,) * 3), "The extracted surface. Cut faces are pale."
    elif gallery.volume is not None and gallery.volume.grid.size:
        views = gallery.volume
        picture = render_grey(views.grid, views.grid_spacing, unit=views.unit)
        caption = "The reconstructed block."
    else:
        return NOTHING
    caption += " z is the milling direction, y runs down the milled face."
    return tag(
        "figure", image_of(picture, "Three-dimensional rendering"), tag("figcaption", caption), class_="rendering"
    )


def orthogonal(gallery: Gallery) -> Html:
    """Central xy, yz and xz sections at true scale, grey and with the phases laid over."""
    views = gallery.volume
    if views is None:
        return NOTHING
    labels = gallery.labels if gallery.labels is not None and gallery.labels.xy.shape == views.xy.shape else None
    seen = views.xy if labels is None else views.xy[labels.xy != OUTSIDE]
    limits = pictures.grey_limits(seen if seen.size else views.xy)
    panels = [_cross(views, None, limits)]
    if labels is not None:
        panels.append(_cross(views, labels, limits))
    z, y, x = views.at
    caption = f"Slice z = {z} (xy), column x = {x} (zy) and row y = {y} (xz), all at one true scale"
    caption += "; right: the same with the phases laid over." if labels is not None else "."
    figure = tag(
        "figure",
        tag("div", panels, class_="pair"),
        _key(gallery.phases),
        tag("figcaption", caption + _coarser(views.spacing, views)),
    )
    return section("views", "Sections", figure)


def corrections(gallery: Gallery) -> Html:
    """One slice before and after, what was taken out, and the stack before and after reconstruction."""
    parts: list[Content] = []
    if gallery.slices is not None:
        parts.append(compared(gallery.slices))
    if gallery.striped is not None:
        parts.append(taken_out(gallery.striped))
    if gallery.raw is not None and gallery.volume is not None:
        parts.append(_stacked(gallery.raw, gallery.volume))
    return section("corrections", "Before and after", *parts)


def _stacked(raw: Views, volume: Views) -> Html:
    """Sections of the raw stack and of the reconstruction; both at one scale if both have one."""
    rows = []
    for name in ("yz", "xz"):
        sides = [_side(views, name) for views in (raw, volume)]
        scales = [max(max(a.shape[0] * s[0], a.shape[1] * s[1]) / MAX_EDGE, FINEST * min(s)) for a, s in sides]
        if raw.unit == volume.unit:
            scales = [max(scales)] * 2
        panels = [
            pictures.scale_bar(pictures.true_scale(pictures.stretch(image), spacing, scale), scale, views.unit)
            for (image, spacing), scale, views in zip(sides, scales, (raw, volume), strict=True)
        ]
        cells = [
            panel_of(image_of(panel, f"{name} {words}"), f"{name}, {words}")
            for panel, words in zip(panels, ("as stacked", "reconstructed"), strict=True)
        ]
        rows.append(tag("div", cells, class_="row", style=_columns(panels, _ROW_PX)))
    caption = (
        "Sections across the slices, z running down: the raw slices simply stacked, and the reconstruction. Each is "
        "cut through its own centre; they differ in extent where the stack was cropped or scaled."
    )
    return tag("figure", rows, tag("figcaption", caption))


def _side(views: Views, name: str) -> tuple[NDArray[Any], tuple[float, float]]:
    dz, dy, dx = views.spacing
    return (views.yz, (dz, dy)) if name == "yz" else (views.xz, (dz, dx))


def _cross(views: Views, labels: Views | None, limits: Limits) -> Html:
    """Lay the three sections out as an engineering drawing: yz beside xy, xz below it."""
    dz, dy, dx = views.spacing
    wide, deep = views.xy.shape[1] * dx, views.xz.shape[0] * dz
    per_px = max((wide + deep) / MAX_EDGE, views.xy.shape[0] * dy / MAX_EDGE, FINEST * min(dy, dx))

    def panel(grey: NDArray[Any], phases: NDArray[Any] | None, spacing: tuple[float, float]) -> Picture:
        picture = pictures.true_scale(pictures.stretch(grey, limits), spacing, per_px)
        if phases is not None:
            flat = pictures.resize(np.asarray(phases, dtype=np.uint8), *picture.shape[:2], smooth=False)
            picture = pictures.overlay(picture, flat)
        return picture

    xy = panel(views.xy, labels.xy if labels else None, (dy, dx))
    yz = panel(views.yz.T, labels.yz.T if labels else None, (dy, dz))
    xz = panel(views.xz, labels.xz if labels else None, (dz, dx))
    xy = pictures.scale_bar(xy, per_px, views.unit)
    cells = [panel_of(image_of(picture, name), name) for picture, name in ((xy, "xy"), (yz, "zy"), (xz, "xz"))]
    return tag("div", cells, class_="cross", style=_columns([xy, yz]))


def _key(phases: list[int]) -> Html:
    if not phases:
        return NOTHING
    words = {phases[0]: " (darkest)", phases[-1]: " (brightest)"} if len(phases) > 1 else {}
    return tag(
        "p", [[tag("span", class_=f"swatch p{k % 8}"), f"phase {k}{words.get(k, '')} "] for k in phases], class_="key"
    )


def _coarser(spacing: tuple[float, float, float], views: Views) -> str:
    finest = [d / s for d, s in zip(views.spacing, views.strides, strict=True)]
    steps = [round(d / f) for d, f in zip(spacing, finest, strict=True)]
    return f" Drawn from one voxel in {' × '.join(str(s) for s in steps[::-1])} (x, y, z)." if max(steps) > 1 else ""


def _columns(panels: Sequence[Picture], height_px: int | None = None) -> str:
    """Style of a row in which all panels have one scale, at most `height_px` high."""
    style = f"grid-template-columns: {' '.join(f'{p.shape[1]}fr' for p in panels)}"
    if height_px is None:
        return style
    across = sum(p.shape[1] for p in panels) * height_px / max(p.shape[0] for p in panels)
    return f"{style}; max-width: {across:.0f}px"
