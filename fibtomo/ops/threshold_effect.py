"""What the errors of thresholds do to interfaces: the same slices cut apart at levels moved by one standard error."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import namespace, to_host
from fibtomo.core.volume import OUTSIDE, Table
from fibtomo.ops.segmentation import Boxes, digitise
from fibtomo.ops.threshold_error import shifted

Float = NDArray[np.float64]
EVERY = 8
"""Every so many slices are looked at."""


def note_effect(grey: Any, z0: int, levels: Sequence[float], sigma: Sequence[float], boxes: Boxes | None) -> Table:
    """Voxels and in-plane interfaces of each phase at the levels, and with each level moved down and up.

    Parameters
    ----------
    grey
        (z, y, x) block whose first slice is `z0`.
    levels, sigma
        (k − 1,) thresholds and their errors.
    boxes
        What the slices show.

    Returns
    -------
    table
        ``voxels`` and ``faces`` (z, 2 k − 1, k) int64: at the levels, then with the first moved down, up, and so on;
        zero but on every eighth slice of the volume.
    """
    sets = [tuple(levels), *(one for two in shifted(np.asarray(levels), np.asarray(sigma)) for one in two)]
    shape = len(grey), len(sets), len(levels) + 1
    found = {"voxels": np.zeros(shape, dtype=np.int64), "faces": np.zeros(shape, dtype=np.int64)}
    for z in range(-z0 % EVERY, len(grey), EVERY):
        seen = None if boxes is None else boxes[z : z + 1]
        for s, moved in enumerate(sets):
            plane = digitise(grey[z : z + 1], moved, seen)[0]
            found["voxels"][z, s], found["faces"][z, s] = _counted(plane, shape[2])
    return found


def _counted(plane: Any, phases: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels of each phase (k,) and edges between a pixel of it and one of another."""
    xp = namespace(plane)
    pixels = xp.bincount(plane.ravel(), minlength=OUTSIDE + 1)[:phases]
    faces = xp.zeros(phases, dtype=xp.int64)
    for a, b in ((plane[1:], plane[:-1]), (plane[:, 1:], plane[:, :-1])):
        apart = (a != b) & (a != OUTSIDE) & (b != OUTSIDE)
        for side in (a, b):
            faces += xp.bincount(side[apart], minlength=phases)[:phases]
    return to_host(pixels), to_host(faces)


@dataclass(frozen=True)
class Effect:
    """Relative standard errors (k,) that the thresholds cause in each phase's surface density and mean chord."""

    surface: Float
    chord: Float

    @classmethod
    def from_notes(cls, table: Table) -> "Effect":
        """Sum what `note_effect` found on all slices; NaN where a phase has no interface.

        Examples
        --------
        >>> faces, voxels = np.array([[[100, 100], [90, 90], [110, 110]]]), np.full((1, 3, 2), 500)
        >>> Effect.from_notes({"faces": faces, "voxels": voxels}).surface.round(3).tolist()
        [0.1, 0.1]
        """
        faces, voxels = (np.asarray(table[name], dtype=np.float64).sum(axis=0) for name in ("faces", "voxels"))
        with np.errstate(divide="ignore", invalid="ignore"):
            return cls(_relative(faces), _relative(voxels / faces))


def _relative(values: Float) -> Float:
    """Half the difference between each level moved up and down, over the value (sets, k), added in quadrature."""
    change = (values[2::2] - values[1::2]) / 2 / values[0]
    return np.sqrt(np.sum(change**2, axis=0))
