"""Anchoring of a motion to what stands still at the edge of the face: the line of the sample surface, the trench walls.

Images cannot tell slow drift from changing structure; an edge of the face that stays where it is through the stack can.
It need not be at right angles to the milling direction, though: a surface that dips, or a wall that leans, moves
steadily while nothing drifts. So the bends of the motion are taken from the edge, and its straight line only where the
images agree with it.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from fibtomo.core.drift import Drift, Float
from fibtomo.core.volume import Table
from fibtomo.ops.reference_blend import Blend, blend_reference

_FEWEST_SLICES = 12
_MOSTLY = 0.6  # of the usable slices must show the edge
_WITHIN_SIGMA = 3.0
_MOST_NOISE_PX, _OF_JITTER = 0.35, 0.7
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
        `identifiable` if both axes are anchored; the same as before where no edge is suitable: seen on too few
        slices, scattering more than the slices jitter (something that belongs to the frame and not to the specimen),
        or already followed because a reference region was given.

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
    known_exactly = not drift.sigma_px[1:].all()
    if drift.identifiable or known_exactly or n < _FEWEST_SLICES:
        return drift
    usable = np.ones(n, dtype=bool)
    usable[list(drift.bad_slices)] = False
    places, sigma = np.zeros((n, 2)), np.full((n, 2), np.inf)
    for axis, letter in enumerate("yx"):
        places[:, axis], sigma[:, axis] = _edge(face, letter, usable)
    blend = blend_reference(drift.shifts_px, places, sigma)
    shifts, notes, anchored = drift.shifts_px.copy(), list(drift.notes), []
    for axis in (0, 1):
        if not _suits(blend, drift, axis, usable):
            continue
        shifts[:, axis], note = _taken(blend, drift, axis)
        notes.append(note)
        anchored.append(axis)
    if not anchored:
        return drift
    both = len(anchored) == len("yx")
    return replace(
        drift,
        shifts_px=shifts - shifts[0],
        sigma_px=blend.sigma_px.max(axis=1) if both else drift.sigma_px,
        identifiable=both,
        notes=tuple(notes),
    )


def _edge(face: Table, letter: str, usable: Any) -> tuple[Float, Float]:
    """Place of an edge on every slice and its standard deviation, infinite where it is not seen."""
    column, spread, _ = _EDGES[letter]
    if column not in face:
        return np.zeros(len(usable)), np.full(len(usable), np.inf)
    place = np.asarray(face[column], dtype=np.float64)
    sigma = np.asarray(face[spread], dtype=np.float64)
    seen = np.isfinite(place) & np.isfinite(sigma) & usable
    return np.where(seen, place, 0.0), np.where(seen, sigma, np.inf)


def _suits(blend: Blend, drift: Drift, axis: int, usable: Any) -> bool:
    """Whether the edge is seen often enough, and jitters as the slices do."""
    if blend.used[:, axis].sum() < max(_FEWEST_SLICES, _MOSTLY * usable.sum()):
        return False
    steps = np.diff(drift.shifts_px[usable, axis])
    jitter = 1.4826 * float(np.median(np.abs(steps - np.median(steps)))) / 2**0.5
    return blend.noise_px[axis] < max(_MOST_NOISE_PX, _OF_JITTER * jitter)


def _taken(blend: Blend, drift: Drift, axis: int) -> tuple[Float, str]:
    """Anchored motion along one axis, and a sentence about it."""
    n, what = len(drift), _EDGES["yx"[axis]][2]
    lean = blend.lean_px[axis]
    seen = int(blend.used[:, axis].sum())
    head = (
        f"Along {'yx'[axis]} the slow part was taken from {what}, seen on {seen} of {n} slices with a scatter of "
        f"{blend.noise_px[axis]:.2f} px"
    )
    if abs(lean) <= _WITHIN_SIGMA * float(drift.sigma_px[-1]):
        return blend.shifts_px[:, axis], f"{head}."
    kept = blend.shifts_px[:, axis] + lean * np.arange(n) / (n - 1)
    return kept, (
        f"{head}; all but the straight line, which differs by {abs(lean):.1f} px over the stack: more than changing "
        f"structure explains, so that the edge may dip or lean. A static region (reference_roi) decides."
    )
