"""How good an alignment is without ground truth: pairs left out, triples of slices, likeness of neighbours."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.drift_quality import DriftQuality
from fibtomo.ops.correlation import ring_moments
from fibtomo.ops.spectra import Band, SliceSpectrum
from fibtomo.ops.trajectory import Pairs, Trajectory, banded_inverse

Float = NDArray[np.float64]

_LEAST_FREE = 1e-4  # share of a pair that the others must check, for it to say something
_LEAST_SIGMA_PX = 1e-3  # as in the solve
_LOOSE_PX = 100.0  # ties between slices that no pair joins; too weak to change what is measured
_MOST_CHANGE = 0.5  # logarithm up to which the parabola at the peak of a correlation holds


def measure_likeness(a: SliceSpectrum, b: SliceSpectrum, band: Band, shift_px: tuple[float, float]) -> Float:
    """Normalised cross-correlation of two slices in the band, as stored and with a shift taken back.

    It follows from the spectra that are at hand: exact for every shift, free of noise above the band, of shading and
    of curtains. The windows' overlap is divided out, so that only the common area counts.

    Parameters
    ----------
    a, b
        From `slice_spectrum` with the same band.
    band
        The frequencies in use.
    shift_px
        (dy, dx) motion from `a` to `b`, pixels of the unbinned slice.

    Returns
    -------
    array
        (7,) correlation at shift 0, correlation at `shift_px`, and there its gradient (y, x) and negative curvature
        (yy, yx, xx) per pixel; NaN where a slice shows nothing.

    Examples
    --------
    >>> from scipy.ndimage import gaussian_filter
    >>> from fibtomo.ops.spectra import make_band, slice_spectrum
    >>> scene = gaussian_filter(np.random.default_rng(0).normal(size=(140, 140)), 2)
    >>> band = make_band((128, 128))
    >>> first, second = (slice_spectrum(scene[s : s + 128, :128], band) for s in (5, 2))
    >>> measure_likeness(first, second, band, (3.0, 0.0))[:2].round(1).tolist()
    [0.5, 1.0]
    """
    power = float(np.sqrt(a.power.sum() * b.power.sum()))
    if not power > 0:
        return np.full(7, np.nan)
    cross = a.values.conj() * b.values
    shift = np.asarray(shift_px) / band.binning
    before = ring_moments(cross, np.zeros(2), band)[0].sum() / power
    after = ring_moments(cross, shift, band).sum(axis=1) / power
    scale = np.array([1, band.binning, band.binning, *[band.binning**2] * 3])
    return np.append(before / _overlap(a, b, np.zeros(2)), after / scale / _overlap(a, b, shift))


def _overlap(a: SliceSpectrum, b: SliceSpectrum, shift: Float) -> float:
    """Share of the power that both windows let through once `b` is moved back."""
    share = 1.0
    for wa, wb, step in zip(a.windows, b.windows, shift, strict=True):
        at = np.arange(len(wa), dtype=np.float64)
        share *= float(wa @ np.interp(at + step, at, wb, 0, 0)) / max(float(np.sqrt((wa @ wa) * (wb @ wb))), 1e-12)
    return max(share, 1e-3)


def drift_quality(pairs: Pairs, track: Trajectory, shifts: Float, column: Mapping[str, Any]) -> DriftQuality:
    """Gather the quality of a finished motion.

    Parameters
    ----------
    pairs, track
        All pairs, and what they were solved to.
    shifts
        (n, 2) the motion as it is given out.
    column
        What `measure_slab` left, in z order: ``likeness`` per slice, and the shifts of the pairs as measured.
    """
    missed = left_out(pairs, track)
    counted = np.isfinite(missed).all(axis=1)
    squares, count = np.zeros(len(shifts)), np.zeros(len(shifts))
    for ends in (pairs.first[counted], pairs.second[counted]):
        np.add.at(squares, ends, (missed[counted] ** 2).mean(axis=1))
        np.add.at(count, ends, 1)
    dy, dx = np.sqrt((missed[counted] ** 2).mean(axis=0)) if counted.any() else (np.nan, np.nan)
    loops = closures(pairs, track.pair_weight > 0)
    before, after = likeness_before_and_after(column, shifts)
    return DriftQuality(
        left_out_px=np.sqrt(np.where(count > 0, squares, np.nan) / np.maximum(count, 1)),
        ncc_before=before,
        ncc_after=after,
        left_out_rms_px=(float(dy), float(dx)),
        closure_px=float(np.sqrt((loops**2).sum(axis=1).mean())) if len(loops) else np.nan,
        closure_mean_px=tuple(loops.mean(axis=0)) if len(loops) else (np.nan, np.nan),
        checked_pairs=int(counted.sum()),
    )


def left_out(pairs: Pairs, track: Trajectory) -> Float:
    """By how much every accepted pair misses what the trajectory solved without it predicts.

    The solve is linear once the votes of the pairs stand, so that nothing need be solved again: leaving a pair out
    turns its residual r into r / (1 − h), where the leverage h is the share that it has in its own prediction.

    Parameters
    ----------
    pairs, track
        All pairs, and what they were solved to.

    Returns
    -------
    array
        (m, 2) measured minus predicted shift (dy, dx); NaN for rejected pairs, and for those that no other pair checks.

    References
    ----------
    Allen 1974, Technometrics 16:125 (prediction sum of squares).

    Examples
    --------
    >>> from fibtomo.ops.trajectory import solve_trajectory
    >>> shift = np.array([[1.0, 0.0], [1.0, 0.0], [2.03, 0.0]])
    >>> pairs = Pairs(np.array([0, 1, 0]), np.array([1, 2, 2]), shift, np.full((3, 2), 0.1), np.ones(3))
    >>> left_out(pairs, solve_trajectory(3, pairs))[:, 0].round(3).tolist()
    [-0.03, -0.03, 0.03]
    """
    accepted = track.pair_weight > 0
    kept, n = pairs.only(accepted), len(track.shifts_px)
    missed = np.full((len(pairs.first), 2), np.nan)
    if not accepted.any():
        return missed
    gap = kept.second - kept.first
    residual = kept.shift_px - (track.shifts_px[kept.second] - track.shifts_px[kept.first])
    for axis in (0, 1):
        sigma = np.maximum(kept.sigma_px[:, axis], _LEAST_SIGMA_PX)
        weight = kept.weight * track.pair_weight[accepted] / sigma**2
        band = np.zeros((int(gap.max()) + 1, n))
        band[0, 0] = _LOOSE_PX**-2
        for first, second, w in (
            (kept.first, kept.second, weight),
            (np.arange(n - 1), np.arange(1, n), np.full(n - 1, _LOOSE_PX**-2)),
        ):
            np.add.at(band, (0, first), w)
            np.add.at(band, (0, second), w)
            np.add.at(band, (second - first, first), -w)
        inverse = banded_inverse(band)
        spread = inverse[0, kept.first] + inverse[0, kept.second] - 2 * inverse[gap, kept.first]
        free = 1 - weight * spread
        checked = free > _LEAST_FREE
        missed[np.flatnonzero(accepted)[checked], axis] = residual[checked, axis] / free[checked]
    return missed


def closures(pairs: Pairs, accepted: NDArray[np.bool_]) -> Float:
    """(t, 2) m_ik − m_ij − m_jk in pixels of every triple of slices whose three pairs were all accepted.

    Examples
    --------
    >>> shift = np.array([[1.0, 0.0], [1.0, 0.0], [2.3, 0.4]])
    >>> pairs = Pairs(np.array([0, 1, 0]), np.array([1, 2, 2]), shift, np.ones((3, 2)), np.ones(3))
    >>> closures(pairs, np.ones(3, dtype=bool)).round(3).tolist()
    [[0.3, 0.4]]
    """
    kept = pairs.only(accepted)
    shift = dict(zip(zip(kept.first.tolist(), kept.second.tolist(), strict=True), kept.shift_px, strict=True))
    onward: dict[int, list[int]] = {}
    for i, j in shift:
        onward.setdefault(i, []).append(j)
    missed = [shift[i, k] - shift[i, j] - shift[j, k] for i, j in shift for k in onward.get(j, ()) if (i, k) in shift]
    return np.array(missed).reshape(-1, 2)


def likeness_before_and_after(column: Mapping[str, Any], shifts: Float) -> tuple[Float, Float]:
    """Correlation of each slice with the one before, as stored and as finally aligned; NaN where it is not known.

    The final step may differ a little from the one measured: then the parabola at the peak tells, in logarithms.
    """
    n = len(shifts)
    measured = np.full((n, 2), np.nan)
    single = np.flatnonzero(column["second"] - column["first"] == 1)
    measured[column["second"][single]] = column["shift_px"][single]
    before, value, gy, gx, hyy, hyx, hxx = column["likeness"].T
    step = np.diff(shifts, axis=0, prepend=np.nan)
    y, x = (step - measured).T
    with np.errstate(invalid="ignore", divide="ignore"):
        rise = (gy * y + gx * x - (hyy * y**2 + 2 * hyx * y * x + hxx * x**2) / 2) / value
        after = value * np.exp(np.clip(rise, -1, 1))
    known = (value > 0) & (np.abs(rise) < _MOST_CHANGE)
    return np.clip(before, -1, 1), np.where(known, np.clip(after, -1, 1), np.nan)
