"""What other programs know of an alignment, a 2D transform per slice, and the part of it that is a drift."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import atan2, degrees
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fibtomo.errors import InputError

Float = NDArray[np.float64]

IDENTITY = np.eye(3)[:2]
_EXACT_PX = 1e-3
_TOLERATED_PX = 0.5
"""Corner motion beyond the translation up to which a transform is taken for a translation, with a remark."""


@dataclass(frozen=True, eq=False)
class Transforms:
    """An alignment as another program keeps it.

    Attributes
    ----------
    pulls
        (n, 2, 3) for each slice: the place (x, y) of the slice that the aligned image reads at (x, y), as the matrix
        of an affine map. Programs that keep the map from slice to aligned image are inverted first.
    program
        For people.
    frame
        (rows, columns) of a slice, where the file tells.
    """

    pulls: Float
    program: str
    frame: tuple[int, int] | None = None


def affine(a: float, b: float, c: float, d: float, x: float, y: float) -> Float:
    """(2, 3) matrix of ``(x, y) -> (a x + c y + e, b x + d y + f)``, in the order in which Java and SVG list it."""
    return np.array([[a, c, x], [b, d, y]])


def chained(first: Float, second: Float) -> Float:
    """(2, 3) matrix of the map that applies `first`, then `second`."""
    return np.concatenate([second[:, :2] @ first[:, :2], second[:, :2] @ first[:, 2:] + second[:, 2:]], axis=1)


def inverted(matrix: Float, source: Path, k: int) -> Float:
    """(2, 3) matrix of the map that leads back.

    Raises
    ------
    InputError
        Slice k is flattened, so that no way leads back.
    """
    determinant = float(np.linalg.det(matrix[:, :2]))
    if not np.isfinite(matrix).all() or abs(determinant) < 1e-9:
        raise InputError(f"{source}: the transform of slice {k} flattens it; export the alignment again")
    back = np.linalg.inv(matrix[:, :2])
    return np.concatenate([back, -back @ matrix[:, 2:]], axis=1)


def accumulated(steps: Sequence[Float]) -> Float:
    """(n, 2, 3) maps into each slice from maps that lead from every slice but the first to the one after it.

    Examples
    --------
    >>> accumulated([affine(1, 0, 0, 1, 2, 0), affine(1, 0, 0, 1, 1, 0)])[:, 0, 2].tolist()
    [0.0, 2.0, 3.0]
    """
    pulls = [IDENTITY]
    for step in steps:
        pulls.append(chained(pulls[-1], step))
    return np.stack(pulls)


def translations(found: Transforms, frame: tuple[int, int] | None, source: Path) -> tuple[Float, tuple[str, ...]]:
    """Shifts (n, 2) of the centre of slice 0 as (dy, dx) in every slice, and remarks.

    Parameters
    ----------
    found
        The alignment.
    frame
        (rows, columns) of a slice; needed where slices are not only moved.
    source
        For messages.

    Raises
    ------
    InputError
        A slice is turned, scaled or sheared by more than half a pixel at its corners.
    """
    back = inverted(found.pulls[0], source, 0)
    relative = np.stack([chained(back, pull) for pull in found.pulls])  # from slice 0, wherever the canvas begins
    linear = relative[:, :, :2] - np.eye(2)
    frame = frame or found.frame
    if frame is None and np.abs(linear).max() > 1e-9:
        raise InputError(
            f"{source}: {found.program} also turned, scaled or sheared the slices, which only the size of a slice can "
            f"judge: import it in a run of the stack (--import-shifts), or register with translations only"
        )
    rows, cols = frame or (1, 1)
    centre = np.array([(cols - 1) / 2, (rows - 1) / 2])
    moved = relative[:, :, 2] + linear @ centre
    corners = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]]) * centre
    beyond = np.linalg.norm(np.einsum("nij,cj->nci", linear, corners), axis=2).max(axis=1)
    worst = int(beyond.argmax())
    notes: tuple[str, ...] = ()
    if beyond[worst] > _TOLERATED_PX:
        matrix = relative[worst]
        turned, scale = degrees(atan2(matrix[1, 0], matrix[0, 0])), abs(float(np.linalg.det(matrix[:, :2]))) ** 0.5
        raise InputError(
            f"{source}: {found.program} also turned, scaled or sheared the slices, slice {worst} most ({turned:.3g}°, "
            f"scale {scale:.4g}, {beyond[worst]:.1f} px at its corners), which a drift cannot hold: register with "
            f"translations only, or let drift.estimate measure"
        )
    if beyond[worst] > _EXACT_PX:
        remark = (
            f"{found.program} also turned, scaled or sheared the slices, by up to {beyond[worst]:.2f} px at the "
            f"corners of slice {worst}: only the motion of their centres was taken."
        )
        notes = (remark,)
    shifts = moved[:, ::-1]
    return shifts - shifts[0], notes
