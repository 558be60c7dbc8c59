"""Anchoring of a motion to what stands still: a static region, the line of the sample surface, the trench walls.

Images cannot tell slow drift from changing structure; what stays where it is through the stack can. An edge of the
face need not be at right angles to the milling direction, though: a surface that dips, or a wall that leans, moves
steadily while nothing drifts. So the bends of the motion are taken from the edge, and its straight line only where the
images agree with it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fibtomo.core.drift import Drift, Float
from fibtomo.core.drift_file import OPEN, UNCHANGING
from fibtomo.core.volume import Table
from fibtomo.errors import InputError
from fibtomo.ops.drift_slow import ONLY_IMAGES
from fibtomo.ops.reference_blend import Blend, blend_reference
from fibtomo.ops.static_region import StaticRegion, find_static_region, probed_slices, thumbnail_binning

_FEWEST_SLICES = 12
_MOSTLY = 0.6  # of the usable slices must show the edge
_WITHIN_SIGMA = 3.0
_MOST_NOISE_PX, _OF_JITTER = 0.35, 0.7
_BLIND_PX = 1.0
_FAST_SLICES = 5
_TELLING_PX = 0.12  # jitter of the images beyond what errors feign
_FOLLOWS = 0.5  # of the jitter, at least
_MOVES_PX = 2.0
_EDGES = {
    "y": ("surface_row_px", "surface_sigma_px", "the sample surface"),
    "x": ("wall_column_px", "wall_sigma_px", "the trench walls"),
}


def anchor_to_face(drift: Drift, face: Table) -> Drift:
    """Take the slow part of a motion from the edges of the face, along every axis that has one.

    Parameters
    ----------
    drift
        Motion of n slices as the images show it.
    face
        From `find_face` for the same slices: row of the surface and column of the walls on every slice as stored.

    Returns
    -------
    Drift
        `identifiable` if both axes are anchored, their straight lines too; the same as before where no edge is
        suitable: seen on too few slices, not jittering with them (something that belongs to the frame and not to the
        specimen), the slow part is decided already, or hardly anything changes through the stack.

    References
    ----------
    Yuan, Van De Moortèle & Epicier 2021, Ultramicroscopy 228:113265 (marks in place of images for the slow part).

    Examples
    --------
    >>> jitter = np.random.default_rng(0).normal(size=(40, 2))
    >>> bend = np.outer(np.sin(np.arange(40) / 6), (1.0, 0.0))
    >>> rows = {"surface_row_px": 50 + jitter[:, 0], "surface_sigma_px": np.full(40, 0.05)}
    >>> found = anchor_to_face(Drift(jitter + bend, np.full(40, 1.0)), rows)
    >>> bool(np.std(found.shifts_px[:, 0] - jitter[:, 0]) < 0.05), found.identifiable
    (True, False)
    """
    n = len(drift)
    if not is_open(drift) or drift.slow_part == UNCHANGING:  # gaps between columns look like edges of the face
        return drift
    usable = _usable(drift)
    places, sigma = np.zeros((n, 2)), np.full((n, 2), np.inf)
    for axis, letter in enumerate("yx"):
        places[:, axis], sigma[:, axis] = _edge(face, letter, usable)
    blend = blend_reference(drift.shifts_px, places, sigma)
    shifts, notes, decided = drift.shifts_px.copy(), list(drift.notes), []
    for axis in (0, 1):
        if not _suits(blend, places, drift, axis, usable):
            continue
        shifts[:, axis], note, whole = _taken(blend, drift, axis)
        notes.append(note)
        decided.append(whole)
    if not decided:
        return drift
    both = sum(decided) == len("yx")
    return replace(
        drift,
        shifts_px=shifts - shifts[0],
        sigma_px=blend.sigma_px.max(axis=1) if both else drift.sigma_px,
        identifiable=both,
        slow_part="reference" if both else OPEN,
        notes=tuple(note for note in notes if note != ONLY_IMAGES or not both),
    )


def is_open(drift: Drift) -> bool:
    """Whether the slow part may be taken from elsewhere: no reference and no hand has decided it."""
    undecided = drift.slow_part in (OPEN, UNCHANGING) and not drift.identifiable and bool(drift.sigma_px[1:].all())
    return undecided and len(drift) >= _FEWEST_SLICES


def anchor_to_region(drift: Drift, region: StaticRegion, patches: Any, binning: int = 1) -> Drift:
    """Take the slow part of a motion from a static region that was found.

    Parameters
    ----------
    drift
        Motion of n slices as the images show it.
    region
        From `find_static_region` for the same motion.
    patches
        (n, rows, columns) of all slices from `StaticRegion.cut`.
    binning
        Pixels that one pixel of the patches covers, if they were cut by ``region.binned(binning)``.

    Returns
    -------
    Drift
        `identifiable`; the same as before where the region is lost on too many slices, has no edges along one axis,
        does not jitter with the specimen (dirt on the detector, text), or moves steadily against a specimen that
        changes by more than change explains (an inclined mark).
    """
    n = len(drift)
    if not is_open(drift):
        return drift
    usable = _usable(drift)
    try:
        places, sigma = region.binned(binning).follow(patches, usable)
    except InputError:
        return drift
    places, sigma = places * binning, sigma * binning
    found = np.isfinite(sigma).all(axis=1)
    if found.sum() < _FEWEST_SLICES or np.median(sigma[found], axis=0).max() > _BLIND_PX * binning:
        return drift
    blend = blend_reference(drift.shifts_px, places, sigma)
    used = blend.used.all(axis=1)
    if used.sum() < max(_FEWEST_SLICES, _MOSTLY * usable.sum()):
        return drift
    if not _jitters_along(places[used], drift.shifts_px[used], blend.noise_px):
        return drift
    lean = np.abs(blend.lean_px)
    if not region.extruded and (lean > _WITHIN_SIGMA * float(drift.sigma_px[-1])).any():
        return drift
    y0, y1, x0, x1 = region.roi
    note = (
        f"A static region was found at rows {y0}–{y1 - 1}, columns {x0}–{x1 - 1}; on {used.sum()} of {n} slices it was "
        f"tracked against the mean of its views before, its place scatters by {blend.noise_px[0]:.2f} px along y and "
        f"{blend.noise_px[1]:.2f} px along x, and the images had drifted away from it by {lean[0]:.1f} and "
        f"{lean[1]:.1f} px over the stack{', as leaning columns do' if region.extruded else ''}."
    )
    return replace(
        drift,
        shifts_px=blend.shifts_px - blend.shifts_px[0],
        sigma_px=blend.sigma_px.max(axis=1),
        identifiable=True,
        slow_part="reference",
        notes=(*(t for t in drift.notes if t != ONLY_IMAGES), note),
    )


def anchor_to_thumbnails(drift: Drift, thumbs: Any, shape: tuple[int, int]) -> Drift:
    """`anchor_to_region` where nothing but thumbnails is left of the slices.

    Parameters
    ----------
    drift
        Motion of n slices as the images show it.
    thumbs
        (n, rows, columns) from `measure_static`.
    shape
        Rows and columns of the slices.
    """
    probes = [k for k in probed_slices(len(drift)) if k not in drift.bad_slices]
    region = find_static_region(thumbs[probes], probes, drift.shifts_px, shape) if is_open(drift) else None
    if region is None:
        return drift
    binning = thumbnail_binning(shape)
    small = region.binned(binning)
    patches = np.stack([small.cut(thumb.astype(np.float32), k) for k, thumb in enumerate(thumbs)])
    return anchor_to_region(drift, region, patches, binning)


def _jitters_along(places: Float, shifts: Float, noise_px: Sequence[float], *, still: bool = False) -> bool:
    """Whether something follows the fast motion of the images; what belongs to the frame does not.

    Where the slices jitter too little to tell, it must move, unless it may be `still`.
    """
    from scipy.ndimage import uniform_filter1d

    fast = [path - uniform_filter1d(path, _FAST_SLICES, axis=0, mode="nearest") for path in (places, shifts)]
    strength = float((fast[1] ** 2).sum())
    if strength < fast[1].size * _TELLING_PX**2:
        slow = places - fast[0]
        return still or float(np.ptp(slow, axis=0).max()) > max(_MOVES_PX, 10 * max(noise_px))
    share = float((fast[0] * fast[1]).sum()) / strength
    return bool(share - 2 * max(noise_px) / strength**0.5 > _FOLLOWS)


def _usable(drift: Drift) -> Any:
    usable = np.ones(len(drift), dtype=bool)
    usable[list(drift.bad_slices)] = False
    return usable


def _edge(face: Table, letter: str, usable: Any) -> tuple[Float, Float]:
    """Place of an edge on every slice and its standard deviation, infinite where it is not seen."""
    column, spread, _ = _EDGES[letter]
    if column not in face:
        return np.zeros(len(usable)), np.full(len(usable), np.inf)
    place = np.asarray(face[column], dtype=np.float64)
    sigma = np.asarray(face[spread], dtype=np.float64)
    seen = np.isfinite(place) & np.isfinite(sigma) & usable
    return np.where(seen, place, 0.0), np.where(seen, sigma, np.inf)


def _suits(blend: Blend, places: Float, drift: Drift, axis: int, usable: Any) -> bool:
    """Whether the edge is seen often enough, and jitters as the slices do."""
    if blend.used[:, axis].sum() < max(_FEWEST_SLICES, _MOSTLY * usable.sum()):
        return False
    used, along = blend.used[:, axis], slice(axis, axis + 1)
    if not _jitters_along(places[used, along], drift.shifts_px[used, along], blend.noise_px[along], still=True):
        return False
    steps = np.diff(drift.shifts_px[usable, axis])
    jitter = 1.4826 * float(np.median(np.abs(steps - np.median(steps)))) / 2**0.5
    return blend.noise_px[axis] < max(_MOST_NOISE_PX, _OF_JITTER * jitter)


def _taken(blend: Blend, drift: Drift, axis: int) -> tuple[Float, str, bool]:
    """Anchored motion along one axis, a sentence about it, and whether its straight line was taken too."""
    n, what = len(drift), _EDGES["yx"[axis]][2]
    lean = blend.lean_px[axis]
    seen = int(blend.used[:, axis].sum())
    head = (
        f"Along {'yx'[axis]} the slow part was taken from {what}, seen on {seen} of {n} slices with a scatter of "
        f"{blend.noise_px[axis]:.2f} px"
    )
    if abs(lean) <= _WITHIN_SIGMA * float(drift.sigma_px[-1]):
        return blend.shifts_px[:, axis], f"{head}.", True
    kept = blend.shifts_px[:, axis] + lean * np.arange(n) / (n - 1)
    head += (
        f"; all but the straight line, which differs by {abs(lean):.1f} px over the stack: more than changing "
        f"structure explains, so that the edge may dip or lean. A static region (reference_roi) decides."
    )
    return kept, head, False
