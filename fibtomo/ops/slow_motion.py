"""The straight-line part of the motion, where images alone are blind and the acquisition's geometry is not.

Changing structure feigns a random walk of the image, so correlation knows the mean slope only to the spread of that
walk. Geometry allows few slopes: that of a field of view fixed to the sample, and none for one that tracks the face.
Where one of them is far likelier than the others it is chosen; where the images agree with it, its line is taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fibtomo.ops.parallax import Parallax

Float = NDArray[np.float64]

_WITHIN_SIGMA = 3.0
_LIKELIER = 9.0  # difference of the squared misfits, in variances: odds of 90 to 1
PLAUSIBLE_DRIFT_PX = 0.3
"""Mean drift, px per slice, that stage and sample show in practice."""
SLOW_SLICES = 30.0
"""Length in slices from which on a bend of the path counts as slow."""
_JUMP, _LEAST_JUMP_PX = 6.0, 2.0  # robust standard deviations and px by which a jump stands out from the steps
_TRACE = 1e-6
_UNLIKELY = 0.5
_LEAST_ODDS, _OF_DRIFT = 0.15, 1 / 3  # of drift, that bends never exclude; part of the usual one that makes it even
_SHOWN = 0.1


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
    drifts
        Probability that something drifts beside what geometry knows.
    share
        Part of the difference between images and geometry that is real, in the mean over what may be.
    """

    letter: str
    seen_px: float
    sigma_px: float
    expected: ExpectedMotion | None
    expected_px: float
    others: tuple[tuple[str, float], ...]
    parallax_px: float = 0.0
    drifts: float = 0.0
    share: float = 1.0

    @property
    def agrees(self) -> bool:
        """Whether the images agree with the chosen motion, and it is likelier that nothing else drifts."""
        return self.expected is not None and self.drifts < _UNLIKELY

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
            left = f", less {100 * self.share:.0f} % of the difference for real drift" if self.share > _SHOWN else ""
            return f"{head}, which agrees with {fits}: the straight line was taken from there{left}."
        away = abs(self.seen_px - self.expected_px)
        kept = "kept" if self.share > 1 - _SHOWN else f"{100 * self.share:.0f} % of the difference kept"
        text = f"{head}, {away:.1f} px away from {fits}: {kept}, but it may be real drift or inclined structure."
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


def replace_slow(shifts: Float, expected: Float, usable: NDArray[np.bool_]) -> Float:
    """Return the shifts (n, 2) with their slow part replaced by `expected`: jitter and jumps stay.

    Slow are the straight line and all bends longer than some `SLOW_SLICES` slices (the smoothest curve beside the
    path). A step that stands out from the others is a jump, not a bend.

    Parameters
    ----------
    shifts, expected
        (n, 2) path, and the motion that takes the place of its slow part.
    usable
        (n,) False for slices that have no say.

    References
    ----------
    Whittaker 1923, Proc. Edinb. Math. Soc. 41:63; Hodrick & Prescott 1997, J. Money Credit Bank. 29:1.

    Examples
    --------
    >>> path = np.outer(np.arange(60.0), [0.5, -0.2])
    >>> path[30:] += 8
    >>> replace_slow(path, np.zeros((60, 2)), np.ones(60, bool))[[1, 29, 30, 59], 0].round(3).astype(int).tolist()
    [0, 0, 8, 8]
    """
    from scipy.sparse import block_array, csc_array, diags_array
    from scipy.sparse.linalg import spsolve

    n = len(shifts)
    away, at = shifts - expected, np.flatnonzero(usable)
    steps = np.diff(away[at], axis=0)
    odd = np.linalg.norm(steps - np.median(steps, axis=0), axis=1) if len(steps) else np.zeros(0)
    jumps = at[1:][odd > max(_LEAST_JUMP_PX, _JUMP * 1.4826 * float(np.median(odd)))] if len(odd) else at[:0]
    # unknown are the slow path and the height of every jump, at once, since each hides in the other's scatter
    after = csc_array((np.arange(n)[:, None] >= jumps).astype(np.float64))
    weight = diags_array(np.where(usable, 1.0, _TRACE))
    bends = diags_array([1.0, -2.0, 1.0], offsets=[0, 1, 2], shape=(max(n - 2, 0), n))
    stiff = (SLOW_SLICES / (2 * np.pi)) ** 4 * (bends.T @ bends) + weight
    normal, right = stiff, weight @ away
    if len(jumps):
        normal = block_array([[stiff, weight @ after], [after.T @ weight, after.T @ weight @ after]])
        right = np.concatenate([right, after.T @ right])
    result = shifts - spsolve(csc_array(normal), right)[:n]
    return np.asarray(result - result[0])


def end_to_end(shifts: Float, usable: NDArray[np.bool_], axis: int) -> float:
    """Motion of the fitted straight line from the first to the last slice, px."""
    at = np.arange(len(shifts))
    return float(np.polyfit(at[usable], shifts[usable, axis], 1)[0] * (len(shifts) - 1))


def judge_line(
    shifts: Float,
    end_sigmas_px: Sequence[float],
    usable: NDArray[np.bool_],
    allowed: Sequence[ExpectedMotion],
    parallax: Parallax | None = None,
    real_px: Sequence[float] = (0.0, 0.0),
) -> list[AxisLine]:
    """Compare the straight line of a motion with those that geometry allows.

    Along each axis the nearest of them is chosen if it is the only one, or if structure and real drift (three standard
    deviations at `PLAUSIBLE_DRIFT_PX`) explain what is seen and make the next one much less likely.

    How much of what is left over is real drift follows from the misfits of both axes together, since what drifts along
    one drifts along the other, and from the bends: a path without real bends has hardly a real slope.

    Parameters
    ----------
    shifts
        (n, 2) measured motion (dy, dx).
    end_sigmas_px
        Standard deviations of the last slice against the first, per axis, from changing structure: one or several
        estimates, as likely as each other. Motions are told apart by the largest.
    usable
        (n,) False for bad slices.
    allowed
        Motions that geometry allows.
    parallax
        Light from behind the face, which adds to the motion along y.
    real_px
        Standard deviation (y, x) of a real straight line that the bends let expect, from `real_line_sigma`.

    Returns
    -------
    list of AxisLine
        For y and x; empty without anything to compare.

    Examples
    --------
    >>> still, rising = (ExpectedMotion(name, np.outer(np.arange(9), (v, 0))) for name, v in (("a", 0), ("b", -2)))
    >>> seen = np.outer(np.arange(9), (-1.9, 0.0))
    >>> judge_line(seen, [1.0], np.ones(9, bool), [still, rising])[0].expected.name
    'b'
    """
    n = len(shifts)
    if usable.sum() < 3 or max(end_sigmas_px) <= 0 or not allowed:
        return []
    drift = PLAUSIBLE_DRIFT_PX / 3 * (n - 1)
    lines, sigmas = [], np.tile(np.asarray(end_sigmas_px, dtype=np.float64), (2, 1))
    for axis, letter in enumerate("yx"):
        added = 0.0
        if parallax is not None and letter == "y":
            added, sigmas[axis] = parallax.bias_px * (n - 1), np.hypot(sigmas[axis], parallax.sigma_px * (n - 1))
        sigma = float(sigmas[axis].max())
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
        lines.append(AxisLine(letter, seen, sigma, chosen, chosen_px, others, added))
    return _weighed(lines, sigmas, float(np.hypot(*real_px)) / 2**0.5, n)


def _weighed(lines: Sequence[AxisLine], sigmas: Float, real_px: float, n: int) -> list[AxisLine]:
    """Return the lines with the probability that something drifts, and the real share of their misfits.

    Mean over two questions, weighted with the likelihood of what is seen: which of the `sigmas` (axes, estimates)
    holds, and whether anything drifts, of which the bends are the witness beforehand.
    """
    decided = [i for i, line in enumerate(lines) if line.expected is not None]
    if not decided:
        return list(lines)
    misfit2 = np.array([(lines[i].seen_px - lines[i].expected_px) ** 2 for i in decided])[:, None]
    drift_px = PLAUSIBLE_DRIFT_PX / 3 * (n - 1)
    structure = np.maximum(sigmas[decided], 1e-6) ** 2
    odds = np.clip((real_px / (_OF_DRIFT * drift_px)) ** 2, _LEAST_ODDS, 1 / _LEAST_ODDS)
    odds = odds ** told_by_bends(n) ** 2 * told_by_bends(n)  # where little could drift, little is gained by thinking so
    before = odds / (1 + odds)
    still, drifting = (
        np.log(prior) - 0.5 * (np.log(variance) + misfit2 / variance).sum(axis=0)
        for prior, variance in ((1 - before, structure), (before, structure + drift_px**2))
    )
    top = max(still.max(), drifting.max())
    still, drifting = np.exp(still - top), np.exp(drifting - top)
    usual = drift_px**2 + misfit2  # a drift as large as the misfit is no surprise
    real = usual / (usual + structure)
    total = float(still.sum() + drifting.sum())
    shares = dict(zip(decided, (real @ drifting) / total, strict=True))
    told = float(drifting.sum()) / total
    return [replace(line, drifts=told, share=float(shares.get(i, 1.0))) for i, line in enumerate(lines)]


def told_by_bends(n: int) -> float:
    """0 to 1: how much the bends of n slices tell of slow motion; a short stack shows hardly one."""
    return min(1.0, (n - 1) / (2 * SLOW_SLICES))


def take_lines(shifts: Float, lines: Sequence[AxisLine], usable: NDArray[np.bool_]) -> Float:
    """Return the shifts (n, 2) with the straight line from geometry along every axis where that is known.

    The share of the difference to the images that is believed to be real drift stays in. Elsewhere only what light from
    behind the face added is taken off.
    """
    for axis, line in enumerate(lines):
        if line.expected is not None:
            shifts = replace_line(shifts, line.expected.shifts_px, usable, axis)
            shifts[:, axis] += np.linspace(0, line.share * (line.seen_px - line.expected_px), len(shifts))
        elif line.parallax_px:
            shifts = shifts.copy()
            shifts[:, axis] -= np.linspace(0, line.parallax_px, len(shifts))
    return shifts
