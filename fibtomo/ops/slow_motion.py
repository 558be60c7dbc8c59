"""The straight-line part of the motion, where images alone are blind and the acquisition's geometry is not.

Changing structure feigns a random walk of the image, so correlation knows the mean slope only to the spread of that
walk. Geometry allows few slopes: that of a field of view fixed to the sample, and none for one that tracks the face.
Where one of them is far likelier than the others it is chosen; where the images agree with it, its line is taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fibtomo.ops.parallax import Parallax

Float = NDArray[np.float64]

_WITHIN_SIGMA, _LEAST_WITHIN = 3.0, 1.5
_LIKELIER = 9.0  # difference of the squared misfits, in variances: odds of 90 to 1
PLAUSIBLE_DRIFT_PX = 0.3
"""Mean drift, px per slice, that stage and sample show in practice."""


@dataclass(frozen=True)
class ExpectedMotion:
    """One motion that the geometry of the acquisition allows.

    Attributes
    ----------
    name
        For people: "a field of view fixed to the sample", ...
    shifts_px
        (n, 2) apparent motion (dy, dx), slice 0 at rest.
    behind_px
        Rows per slice by which what lies behind the face flows, seen from the face.
    """

    name: str
    shifts_px: Float
    behind_px: float = 0.0


@dataclass(frozen=True)
class AxisLine:
    """The straight line along one axis, as images and geometry have it.

    Attributes
    ----------
    letter
        "y" or "x".
    seen_px, sigma_px
        Motion from first to last slice in the images, and what changing structure leaves open of it.
    expected
        The motion that geometry allows and that is far likelier than the others; ``None`` while undecided.
    expected_px
        The same from first to last slice.
    others
        Name and end-to-end motion of every motion allowed, nearest first.
    parallax_px
        What light from behind the face added to the motion in the images; taken off `seen_px` already.
    real_px
        Standard deviation of the real straight line that the bends let expect; see `real_line_sigma`.
    """

    letter: str
    seen_px: float
    sigma_px: float
    expected: ExpectedMotion | None
    expected_px: float
    others: tuple[tuple[str, float], ...]
    parallax_px: float = 0.0
    real_px: float = 0.0

    @property
    def agrees(self) -> bool:
        """Whether the images agree with the chosen motion: the narrower, the more real drift their bends show."""
        within = np.clip(_WITHIN_SIGMA - self.real_px / max(self.sigma_px, 1e-6), _LEAST_WITHIN, _WITHIN_SIGMA)
        return self.expected is not None and bool(abs(self.seen_px - self.expected_px) <= within * self.sigma_px)

    def text(self, n: int) -> str:
        """One sentence on what was decided for a stack of `n` slices."""
        head = f"Along {self.letter} the images drift by {self.seen_px:.1f} ± {self.sigma_px:.1f} px over the stack"
        if self.parallax_px:
            head += f" ({self.parallax_px:.1f} px of light from behind the face taken off)"
        if self.expected is None:
            listed = ", ".join(f"{name}: {px:.1f} px" for name, px in self.others)
            return f"{head}, which does not decide between what geometry allows ({listed}): kept as the images show it."
        name = self.expected.name if len(self.others) > 1 else "what geometry expects"
        fits = f"{name} ({self.expected_px:.1f} px)"
        if self.agrees:
            return f"{head}, which agrees with {fits}: the straight line was taken from there."
        away = abs(self.seen_px - self.expected_px)
        text = f"{head}, {away:.1f} px away from {fits}: kept, but it may be real drift or inclined structure."
        if away > _WITHIN_SIGMA * self.sigma_px + PLAUSIBLE_DRIFT_PX * (n - 1):
            text = (
                f"{head}, but geometry expects {self.expected_px:.1f} px ({self.expected.name}): more than changing "
                f"structure and usual drift explain. Check the slice thickness, the column angle, whether the field of "
                f"view tracked the face (tracked) and how the images are turned (orientation)."
            )
        return text


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


def judge_line(
    shifts: Float,
    end_sigma_px: float,
    usable: NDArray[np.bool_],
    allowed: Sequence[ExpectedMotion],
    parallax: Parallax | None = None,
    real_px: Sequence[float] = (0.0, 0.0),
) -> list[AxisLine]:
    """Compare the straight line of a motion with those that geometry allows.

    Along each axis the nearest of them is chosen if it is the only one, or if structure and real drift (three standard
    deviations at `PLAUSIBLE_DRIFT_PX`) explain what is seen and make the next one much less likely.

    Parameters
    ----------
    shifts
        (n, 2) measured motion (dy, dx).
    end_sigma_px
        Standard deviation of the last slice against the first, per axis, from changing structure.
    usable
        (n,) False for bad slices.
    allowed
        Motions that geometry allows.
    parallax
        Light from behind the face, which adds to the motion along y.
    real_px
        Standard deviation (y, x) of a real straight line, from `real_line_sigma`.

    Returns
    -------
    list of AxisLine
        For y and x; empty without anything to compare.

    Examples
    --------
    >>> still, rising = (ExpectedMotion(name, np.outer(np.arange(9), (v, 0))) for name, v in (("a", 0), ("b", -2)))
    >>> seen = np.outer(np.arange(9), (-1.9, 0.0))
    >>> judge_line(seen, 1.0, np.ones(9, bool), [still, rising])[0].expected.name
    'b'
    """
    n = len(shifts)
    if usable.sum() < 3 or end_sigma_px <= 0 or not allowed:
        return []
    drift = PLAUSIBLE_DRIFT_PX / 3 * (n - 1)
    lines = []
    for axis, letter in enumerate("yx"):
        added, sigma = 0.0, end_sigma_px
        if parallax is not None and letter == "y":
            added, sigma = parallax.bias_px * (n - 1), float(np.hypot(end_sigma_px, parallax.sigma_px * (n - 1)))
        seen = end_to_end(shifts, usable, axis) - added
        distinct = {round(end_to_end(a.shifts_px, usable, axis), 6): a for a in allowed}
        ranked = sorted(distinct.items(), key=lambda item: abs(item[0] - seen))
        misfit = [abs(px - seen) for px, _ in ranked]
        clear = len(ranked) == 1 or (
            misfit[0] <= _WITHIN_SIGMA * sigma + PLAUSIBLE_DRIFT_PX * (n - 1)
            and misfit[1] ** 2 - misfit[0] ** 2 >= _LIKELIER * (sigma**2 + drift**2)
        )
        chosen_px, chosen = ranked[0] if clear else (0.0, None)
        others = tuple((motion.name, px) for px, motion in ranked)
        lines.append(AxisLine(letter, seen, sigma, chosen, chosen_px, others, added, float(real_px[axis])))
    return lines


def take_lines(shifts: Float, lines: Sequence[AxisLine], usable: NDArray[np.bool_]) -> Float:
    """Return the shifts (n, 2) with the straight line from geometry along every axis where the images agree with it.

    Where the bends let expect real drift beside what geometry knows, the line is the likeliest between geometry and
    images. Where they do not agree, only what light from behind the face added is taken off.
    """
    for axis, line in enumerate(lines):
        if line.agrees and line.expected is not None:
            shifts = replace_line(shifts, line.expected.shifts_px, usable, axis)
            odds = (line.real_px / max(line.sigma_px, 1e-6)) ** 2
            share = odds**2 / (1 + odds**2)  # the strength of drift is itself read off few bends
            shifts[:, axis] += np.linspace(0, share * (line.seen_px - line.expected_px), len(shifts))
        elif line.parallax_px:
            shifts = shifts.copy()
            shifts[:, axis] -= np.linspace(0, line.parallax_px, len(shifts))
    return shifts
