"""Search for a region that looks the same on every slice: a fiducial mark beside or above the face.

Changing structure carries a template away; a mark stays. So tiles of the frame are followed through a few slices
spread over the stack, each against its own growing mean, and a tile is static if its first view is as like its last
one as neighbouring views are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import to_host
from fibtomo.core.volume import Table
from fibtomo.ops.plain_ground import lies_aside
from fibtomo.ops.reference import Roi, cut_patch, track_reference
from fibtomo.ops.slice_pixels import binned

Float = NDArray[np.float64]
Complex = NDArray[np.complex64]

_PROBES = 24
_THUMBNAIL_PIXELS = 40_000
_MARGIN_PX = 6
_ALIKE = 0.7
_TILES_ACROSS = (8, 5)  # along the shorter side
_LEAST_TILE_PX = 20
_REACH = 0.1  # of a tile, to either side of the expected place
_HIGHEST = 0.3  # cycles per binned pixel
_LEAST_SIDE_PX = 32  # of the slices; there are plain corners of tissue as large as smaller ones
_FEWEST_SLICES = 30  # over fewer, much of any specimen stays alike
_FEWEST_PROBES, _FEWEST_OTHERS = 20, 6
_CLEAR = 0.5  # likeness of neighbouring views of a tile that shows more than noise
_STAYS, _AT_LEAST = 0.9, 0.75  # of that likeness, between far views, and of the odd one
_LOST, _FEW = 0.4, 6
_MOSTLY = 0.85
_MOST_ROUGH_PX = 0.25  # bends of a path from probe to probe, binned pixels: changing structure wanders by 0.5 and more
_OF_POWER = 0.3
_CHANGES, _MOST_CHANGE = 0.75, 0.6
_MOST_STATIC = 0.35  # of the textured tiles; more than that and the specimen is the same on every slice
_MOST_PLANE = 0.35  # share of a slope in what a tile shows: the edge of a layer has more, a mark less
_ALIKE_PX, _DISTINCT_PX = 0.5, 1.5


def probed_slices(n: int) -> list[int]:
    """Slices of a stack of n that are searched.

    Examples
    --------
    >>> len(probed_slices(1000)), probed_slices(1000)[-1]
    (24, 999)
    """
    return sorted({round(i * (n - 1) / (_PROBES - 1)) for i in range(_PROBES)})


def thumbnail_binning(shape: tuple[int, int]) -> int:
    """Pixels averaged along either axis of slices of `shape`.

    Examples
    --------
    >>> thumbnail_binning((320, 400)), thumbnail_binning((2048, 2048))
    (2, 11)
    """
    return int(np.ceil(np.sqrt(shape[0] * shape[1] / _THUMBNAIL_PIXELS)))


def measure_static(slices: Any) -> Table:
    """Thumbnails of slices, for `find_static_region`.

    Parameters
    ----------
    slices
        (n, y, x) grey values of any real type.

    Returns
    -------
    Table
        ``thumbnails`` (n, rows, columns) float16 of zero mean and unit deviation.

    Examples
    --------
    >>> measure_static(np.random.default_rng(0).normal(size=(2, 320, 400)))["thumbnails"].shape
    (2, 160, 200)
    """
    b = thumbnail_binning(slices.shape[1:])
    small = [to_host(binned(slices[k], b)) for k in range(len(slices))]
    return {"thumbnails": np.stack([(t - t.mean()) / max(float(t.std()), 1e-6) for t in small]).astype(np.float16)}


@dataclass(frozen=True)
class Tiles:
    """Square tiles of thumbnails, followed through the probed slices.

    Attributes
    ----------
    size
        Rows and columns of a tile, binned pixels.
    origin
        (t, 2) first row and column on the first probe.
    away
        (p, t, 2) motion beyond that of the images.
    inside, seen
        (p, t) whether the tile lies inside the frame, and was found there.
    views
        (p, t, f) spectra of unit power, brought to the same place.
    power
        (t,) usual power of a view.
    means
        (t, size, size) mean view before any filter.
    """

    size: int
    origin: NDArray[np.int64]
    away: Float
    inside: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    views: Complex
    power: Float
    means: Any


def follow_tiles(thumbs: Any, motion: Float, size: int) -> Tiles | None:
    """Follow every tile by a template that grows; nothing is returned once all of them are lost.

    Parameters
    ----------
    thumbs
        (p, rows, columns) of the probed slices.
    motion
        (p, 2) motion of the slices as the images show it, binned pixels, first at 0.
    size
        Rows and columns of a tile.
    """
    from scipy.ndimage import gaussian_filter1d

    p, rows, cols = thumbs.shape
    grid = [np.unique(np.linspace(0, n - size, int(np.ceil(2 * n / size))).astype(np.int64)) for n in (rows, cols)]
    origin = np.stack(np.meshgrid(*grid, indexing="ij"), axis=-1).reshape(-1, 2)
    t = len(origin)
    ramp = np.hanning(size + 2)[1:-1].astype(np.float32) ** 0.5
    window = ramp[:, None] * ramp
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)
    band = (np.hypot(fy, fx) <= _HIGHEST) & (fy != 0)
    twice = np.where((fx == 0) | (fx == 0.5), 1.0, 2.0)  # of the half spectrum
    weight = np.broadcast_to(np.sqrt(twice), band.shape)[band].astype(np.float32)
    fy, fx = (np.broadcast_to(f, band.shape)[band] for f in (fy, fx))
    reach = max(3, round(_REACH * size))
    lags = np.arange(-reach, reach + 1)
    at_y, at_x = (np.exp(2j * np.pi * np.outer(f, lags)).astype(np.complex64) for f in (fy, fx))
    surface_of = (at_y[:, :, None] * at_x[:, None, :]).reshape(len(fy), -1)
    away, power = np.zeros((p, t, 2)), np.zeros((p, t))
    seen, inside = np.zeros((p, t), dtype=bool), np.zeros((p, t), dtype=bool)
    views = np.zeros((p, t, len(fy)), dtype=np.complex64)
    means = np.zeros((t, size, size), dtype=np.float32)
    template, kept = np.zeros((t, len(fy)), dtype=np.complex64), np.zeros(t)
    for i in range(p):
        expected = _continued(away[:i])
        whole = np.rint(origin + motion[i] + expected).astype(np.int64)
        inside[i] = ((whole >= 0) & (whole <= (rows - size, cols - size))).all(axis=1)
        whole = np.clip(whole, 0, (rows - size, cols - size))
        at = whole[:, 0, None, None] + np.arange(size)[:, None], whole[:, 1, None, None] + np.arange(size)
        thumb = np.asarray(thumbs[i], dtype=np.float32)
        # what hardly varies down a column is curtain or shading
        flat = thumb - gaussian_filter1d(thumb, size / 4, axis=0)
        spectrum = np.fft.rfft2(flat[at] * window)[:, band].astype(np.complex64) * weight
        power[i] = np.linalg.norm(spectrum, axis=1)
        spectrum /= np.maximum(power[i], 1e-6)[:, None].astype(np.float32)
        shift = np.zeros((t, 2))
        if i:
            surface = ((spectrum * template.conj()) @ surface_of).real.reshape(t, len(lags), -1)
            shift = _peaks(surface) - reach
        away[i] = whole - origin + shift - motion[i]
        seen[i] = inside[i] & (np.abs(shift).max(axis=1) < reach)
        turn = np.exp(2j * np.pi * (np.outer(shift[:, 0], fy) + np.outer(shift[:, 1], fx))).astype(np.complex64)
        views[i] = spectrum * turn
        alike = np.einsum("tf,tf->t", views[i], template.conj()).real
        kept += seen[i] & (alike > _LOST * np.linalg.norm(template, axis=1))
        template += views[i] * seen[i][:, None]
        means += thumb[at] * seen[i][:, None, None]
        held = (kept > _MOSTLY * i - 1) & (_rough(away[: max(3, i + 1)]) < 2 * _MOST_ROUGH_PX)
        if i >= _FEW and not held.any():
            return None
    means /= np.maximum(seen.sum(axis=0), 1)[:, None, None]
    return Tiles(size, origin, away, inside, seen, views, np.median(power, axis=0) ** 2, means)


def _continued(away: Float) -> Float:
    """Where the next views are expected to be, beyond the motion of the images."""
    i, t = away.shape[:2]
    if i < 2:
        return np.zeros((t, 2))
    recent = min(i - 1, 6)
    return np.asarray(away[-1] + (away[-1] - away[-1 - recent]) / recent)


def _rough(away: Float) -> Float:
    """(t,) bends of the paths from probe to probe, root mean square."""
    return np.asarray(np.sqrt((np.diff(away, 2, axis=0) ** 2).mean(axis=(0, 2))))


def _peaks(surface: Float) -> Float:
    """(t, 2) place of the highest point of each surface, between the points by parabolas."""
    t, rows, cols = surface.shape
    y, x = np.divmod(surface.reshape(t, -1).argmax(axis=1), cols)
    y, x, each = np.clip(y, 1, rows - 2), np.clip(x, 1, cols - 2), np.arange(t)
    found = np.stack([y, x], axis=1).astype(np.float64)
    for axis, (dy, dx) in enumerate(((1, 0), (0, 1))):
        below, here, above = (surface[each, y + s * dy, x + s * dx] for s in (-1, 0, 1))
        bend = 2 * here - below - above
        found[:, axis] += np.clip(np.where(bend > 0, 0.5 * (above - below) / np.where(bend > 0, bend, 1.0), 0), -1, 1)
    return found


@dataclass(frozen=True)
class StaticRegion:
    """A region that looks the same on every slice.

    Attributes
    ----------
    roi
        (y0, y1, x0, x1) on slice 0, px.
    path_px
        (n, 2) where it is expected on every slice, relative to slice 0.
    extruded
        Whether the specimen looks the same on every slice too, but moves another way: columns that lean.
    """

    roi: Roi
    path_px: Float
    extruded: bool

    def binned(self, binning: int) -> "StaticRegion":
        """The same region on binned slices."""
        y0, y1, x0, x1 = (edge // binning for edge in self.roi)
        return replace(self, roi=(y0, y1, x0, x1), path_px=self.path_px / binning)

    def cut(self, image: Any, k: int) -> Any:
        """Patch of slice k around the place where the region is expected."""
        dy, dx = np.rint(self.path_px[k]).astype(int)
        return to_host(cut_patch(image, self.roi, _MARGIN_PX, (int(dy), int(dx))))

    def follow(self, patches: Any, usable: NDArray[np.bool_]) -> tuple[Float, Float]:
        """Places (n, 2) and their standard deviations from the patches of all slices; see `track_reference`."""
        return track_reference(patches, np.rint(self.path_px), self.path_px, self.roi, _MARGIN_PX, usable, _ALIKE)


@dataclass(frozen=True)
class _Judged:
    """What the followed tiles are like, (t,) each."""

    near: Float
    far: Float
    static: NDArray[np.bool_]
    textured: NDArray[np.bool_]
    changes: NDArray[np.bool_]
    stepped: NDArray[np.bool_]


def find_static_region(
    thumbs: Any, probes: Sequence[int], shifts_px: Float, shape: tuple[int, int]
) -> StaticRegion | None:
    """Find a region that looks the same on every slice while the specimen changes.

    Parameters
    ----------
    thumbs
        (p, rows, columns) thumbnails of the probed slices, from `measure_static`.
    probes
        Their numbers, ascending.
    shifts_px
        (n, 2) motion of all slices as the images show it.
    shape
        Rows and columns of the slices.

    Returns
    -------
    StaticRegion | None
        Nothing where no region stands out.
    """
    b, at = thumbnail_binning(shape), np.asarray(probes)
    too_few = len(shifts_px) < _FEWEST_SLICES or len(at) < _FEWEST_PROBES
    if too_few or min(thumbs.shape[1:]) < 2 * _LEAST_TILE_PX:
        return None
    motion = (shifts_px[at] - shifts_px[at[0]]) / b
    for across in _TILES_ACROSS:
        side = max(_LEAST_TILE_PX, 2 * round(min(thumbs.shape[1:]) / across / 2))
        if side * b < _LEAST_SIDE_PX:
            continue
        tiles = follow_tiles(thumbs, motion, side)
        found = None if tiles is None else _stands_out(tiles)
        if found is not None and lies_aside(thumbs, motion + found[1], found[0]):
            (y0, y1, x0, x1), away, extruded = found
            path = shifts_px + b * np.column_stack([np.interp(np.arange(len(shifts_px)), at, a) for a in away.T])
            dy, dx = (int(d) for d in np.rint(path[0] - path[at[0]]))
            roi = (b * y0 + dy, b * y1 + dy, b * x0 + dx, b * x1 + dx)
            return StaticRegion(roi, path - path[0], extruded)
    return None


def _stands_out(tiles: Tiles) -> tuple[Roi, Float, bool] | None:
    """Box of what is static on the first thumbnail, its motion (p, 2) beyond that of the images, and `extruded`."""
    judged = _judge(tiles)
    chosen, extruded = _chosen(tiles, judged)
    if not chosen.any():
        return None
    box = _box(tiles, chosen, int(np.argmax(np.where(chosen, judged.far, -1))))
    return box, tiles.away[:, chosen].mean(axis=1), extruded


def _judge(tiles: Tiles) -> _Judged:
    """Tell tiles that stay from tiles that change."""
    p = len(tiles.seen)
    alike = np.einsum("ptf,qtf->tpq", tiles.views, tiles.views.conj(), optimize=True).real
    apart = np.abs(np.subtract.outer(np.arange(p), np.arange(p)))
    near, far = (np.median(alike[:, pairs], axis=1) for pairs in (apart == 1, apart >= p / 2))
    least = ((alike.sum(axis=2) - 1) / (p - 1)).min(axis=1)
    stays = (far > _STAYS * near) & (least > _AT_LEAST * near) & (_rough(tiles.away) < _MOST_ROUGH_PX)
    static = stays & (near > _CLEAR) & (tiles.seen.mean(axis=0) > _MOSTLY)
    inside = tiles.inside.mean(axis=0) > _MOSTLY
    usual = float(np.median(tiles.power[static])) if static.any() else np.inf
    textured = inside & ((near > _CLEAR) | (tiles.power > _OF_POWER * usual))
    away = tiles.means - tiles.means.mean(axis=(1, 2), keepdims=True)
    slope = np.linspace(-1, 1, tiles.size)
    slope /= np.sqrt((slope**2).mean())
    plane = (away * slope).mean(axis=(1, 2)) ** 2 + (away * slope[:, None]).mean(axis=(1, 2)) ** 2
    stepped = plane > _MOST_PLANE * (away**2).mean(axis=(1, 2))
    return _Judged(near, far, static, textured, (far < _CHANGES * near) | (near < _CLEAR) | ~stays, stepped)


def _chosen(tiles: Tiles, judged: _Judged) -> tuple[NDArray[np.bool_], bool]:
    """Static tiles that lie together and move alike, if the specimen does not do the same."""
    none = np.zeros(len(judged.static), dtype=bool)
    good = judged.static & ~judged.stepped
    extruded = judged.static.sum() > _MOST_STATIC * judged.textured.sum()
    if extruded:
        usual = np.median(tiles.away[:, judged.static], axis=1)
        apart = _apart(tiles.away, usual)
        if np.mean(apart[judged.static] > _ALIKE_PX) > _MOST_STATIC:
            return none, extruded
        good &= apart > _DISTINCT_PX
    if not good.any():
        return none, extruded
    best = int(np.argmax(np.where(good, judged.far, -1)))
    same = _apart(tiles.away, tiles.away[:, best]) < _ALIKE_PX
    if (good & ~same).any():
        return none, extruded
    distance = np.abs(tiles.origin - tiles.origin[best]).max(axis=1)
    if extruded and (good & (distance > 2 * tiles.size)).any():
        return none, extruded
    chosen = good & (distance <= tiles.size)
    others = judged.textured & (distance >= tiles.size)
    if others.sum() < _FEWEST_OTHERS or (not extruded and judged.changes[others].mean() < _MOST_CHANGE):
        return none, extruded
    return chosen, extruded


def _apart(away: Float, path: Float) -> Float:
    """(t,) root mean square distance of the paths of tiles from another, wherever both begin."""
    rest = away - path[:, None]
    return np.asarray(np.sqrt(((rest - rest.mean(axis=0)) ** 2).sum(axis=2).mean(axis=0)))


def _box(tiles: Tiles, chosen: NDArray[np.bool_], best: int) -> Roi:
    """Rows and columns around the best tile and those chosen tiles that fill a rectangle with it."""
    low, high = tiles.origin[best], tiles.origin[best]
    for j in np.argsort(np.abs(tiles.origin - tiles.origin[best]).max(axis=1), kind="stable"):
        if chosen[j]:
            lower, upper = np.minimum(low, tiles.origin[j]), np.maximum(high, tiles.origin[j])
            within = ((tiles.origin >= lower) & (tiles.origin <= upper)).all(axis=1)
            if chosen[within].all():
                low, high = lower, upper
    return int(low[0]), int(high[0]) + tiles.size, int(low[1]), int(high[1]) + tiles.size
