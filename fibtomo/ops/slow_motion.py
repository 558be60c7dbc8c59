"""The straight-line part of the motion, where images alone are blind and the acquisition's geometry is not.

Changing structure feigns a random walk of the image, so correlation knows the mean slope only to the spread of that
walk. Geometry allows few slopes: that of a field of view fixed to the sample, and none for one that tracks the face.
If exactly one of them lies within what the images allow, it is the simpler and the better answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

_WITHIN_SIGMA = 2.0


@dataclass(frozen=True)
class ExpectedMotion:
    """One motion that the geometry of the acquisition allows.

    Attributes
    ----------
    name
        For people: "a field of view fixed to the sample", ...
    shifts_px
        (n, 2) apparent motion (dy, dx), slice 0 at rest.
    """

    name: str
    shifts_px: Float


def replace_line(shifts: Float, expected: Float, usable: NDArray[np.bool_], axis: int) -> Float:
    """Return the shifts (n, 2) with the straight line of one axis replaced by that of `expected`.

    Examples
    --------
    >>> noisy = np.stack([np.arange(5.0) * 1.1 + [0, 0.2, 0, -0.2, 0], np.zeros(5)], axis=1)
    >>> expected = np.outer(np.arange(5), [1.0, 0.0])
    >>> replace_line(noisy, expected, np.ones(5, bool), 0)[:, 0].round(2).tolist()
    [0.0, 1.24, 2.08, 2.92, 4.16]
    """
    at = np.arange(len(shifts))
    line = np.polyfit(at[usable], (shifts - expected)[usable, axis], 1)
    result = shifts.copy()
    result[:, axis] -= np.polyval(line, at)
    return result - result[0]


def end_to_end(shifts: Float, usable: NDArray[np.bool_], axis: int) -> float:
    """Motion of the fitted straight line from the first to the last slice, px."""
    at = np.arange(len(shifts))
    return float(np.polyfit(at[usable], shifts[usable, axis], 1)[0] * (len(shifts) - 1))


def settle_line(
    shifts: Float, end_sigma_px: float, usable: NDArray[np.bool_], allowed: Sequence[ExpectedMotion]
) -> tuple[Float, list[str]]:
    """Take the straight line from geometry where exactly one allowed motion agrees with the images.

    Parameters
    ----------
    shifts
        (n, 2) measured motion (dy, dx).
    end_sigma_px
        Standard deviation of the last slice against the first, per axis, from changing structure.
    usable
        (n,) False for bad slices.
    allowed
        Motions that geometry allows; none leaves the measurement as it is.

    Returns
    -------
    tuple
        The motion, and sentences on what was decided.
    """
    notes: list[str] = []
    result = shifts
    if usable.sum() < 3 or end_sigma_px <= 0:
        return result, notes
    for axis, letter in enumerate("yx"):
        seen = end_to_end(shifts, usable, axis)
        predicted = [end_to_end(a.shifts_px, usable, axis) for a in allowed]
        near = {
            round(p, 6): a
            for p, a in zip(predicted, allowed, strict=True)
            if abs(p - seen) <= _WITHIN_SIGMA * end_sigma_px
        }
        if len(near) != 1:
            continue
        ((motion, choice),) = near.items()
        result = replace_line(result, choice.shifts_px, usable, axis)
        notes.append(
            f"Along {letter} the images drift by {seen:.1f} ± {end_sigma_px:.1f} px from first to last slice, which "
            f"agrees with {choice.name} ({motion:.1f} px): the straight line was taken from there."
        )
    return result, notes
