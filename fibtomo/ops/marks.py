"""Ruler marks: two notches of a chevron whose distance tells how far the face has been milled.

Two marks run through the protective layer at an angle to each other. Every slice shows them at a distance that changes
by a known amount per nanometre of advance. Errors of single slices do not add up, as they do from image to image, so
that marks decide the slow part of the slice positions and images the fast one.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import namespace, to_host
from fibtomo.errors import InputError
from fibtomo.ops.reference import Roi, check_roi

Float = NDArray[np.float64]

_SEARCH_PX = 4
_PASSES = 3
_SPLINE_PX = 8  # beyond which a cubic spline does not feel its values
_LEAST_SIGMA_PX = 0.05  # what sampling of sharp edges leaves
_LEAST_CONTRAST = 5.0  # of a mark, in standard deviations of the profile's noise
_ODD = 5.0  # robust standard deviations from the course of the distance, from which on a slice is left out


def check_marks_roi(roi: Roi, shape: tuple[int, int]) -> None:
    """Refuse a region (y0, y1, x0, x1) that leaves slices of `shape` or is too small for two marks.

    Raises
    ------
    InputError
        The message gives the limits.
    """
    check_roi(roi, shape, "marks_roi", (2, 24), ", and hold both marks on every slice")


def mark_profile(image: Any, roi: Roi, shift_px: Float) -> Float:
    """Mean over the rows of the region, which follows the drift.

    Parameters
    ----------
    image
        (y, x) slice.
    roi
        (y0, y1, x0, x1) in slice 0.
    shift_px
        (dy, dx) drift of the slice; whole pixels of it are followed.

    Returns
    -------
    array
        (x1 - x0,) grey values on the host; NaN where the region leaves the slice.

    Examples
    --------
    >>> mark_profile(np.tile(np.arange(40.0), (8, 1)), (2, 6, 0, 30), np.array([0.0, 4.0]))[:3]
    array([4., 5., 6.])
    """
    dy, dx = (round(float(s)) for s in shift_px)
    y0, y1, x0, x1 = roi
    rows = slice(max(0, y0 + dy), max(0, min(image.shape[0], y1 + dy)))
    cols = slice(max(0, x0 + dx), max(0, min(image.shape[1], x1 + dx)))
    profile = np.full(x1 - x0, np.nan)
    if rows.stop > rows.start and cols.stop > cols.start:
        xp = namespace(image)
        mean = to_host(image[rows, cols].mean(axis=0, dtype=xp.float64))
        profile[cols.start - x0 - dx : cols.stop - x0 - dx] = mean
    return profile


def track_marks(profiles: Float, usable: NDArray[np.bool_]) -> tuple[Float, Float]:
    """Follow the two strongest marks from slice to slice and measure their distance.

    Each mark is found by its centroid near where it should be, then fitted, by least squares, with the mean shape that
    it has over all slices.

    Parameters
    ----------
    profiles
        (n, width) from `mark_profile`.
    usable
        (n,) False for bad slices.

    Returns
    -------
    distance_px, sigma_px
        (n,) distance of the marks and its standard deviation, infinite where they were not found.

    Raises
    ------
    InputError
        No usable slice shows two marks.

    Examples
    --------
    >>> x, gap = np.arange(120.0), 60 - 0.5 * np.arange(20)
    >>> profiles = np.stack([np.exp(-((x - 20) / 4) ** 2) + np.exp(-((x - 20 - g) / 4) ** 2) for g in gap])
    >>> distance, _ = track_marks(profiles, np.ones(20, dtype=bool))
    >>> bool(np.abs(distance - gap).max() < 0.02)
    True
    """
    flat = profiles - np.nanmedian(np.where(np.isfinite(profiles).any(axis=1)[:, None], profiles, 0.0), axis=1)[:, None]
    usable = usable & np.isfinite(flat).all(axis=1)
    if not usable.any():
        raise InputError("marks_roi leaves every usable slice: give a region that stays in view, or more of it")
    flat = np.where(np.isfinite(flat), flat, 0.0)
    seen = flat[usable]
    flat = flat if np.quantile(seen, 0.995) > -np.quantile(seen, 0.005) else -flat
    first = int(np.flatnonzero(usable)[0])
    starts, width = _two_marks(flat[first])
    sides = [_follow(flat, start, width, usable, first) for start in starts]
    distance = sides[1][0] - sides[0][0]
    sigma = np.hypot(sides[0][1], sides[1][1])
    sigma[~usable | (np.abs(distance) < width)] = np.inf
    return distance, _without_odd(distance, sigma)


def _two_marks(profile: Float) -> tuple[Float, float]:
    """Places, left to right, of the two strongest marks in a profile, and their width at half height."""
    from scipy.ndimage import gaussian_filter1d
    from scipy.signal import find_peaks, peak_widths

    smooth = gaussian_filter1d(profile, 1.5)
    noise = 1.4826 * float(np.median(np.abs(np.diff(profile)))) / np.sqrt(2)
    peaks, found = find_peaks(smooth, prominence=max(_LEAST_CONTRAST * noise, 1e-6))
    if len(peaks) < 2:
        raise InputError(
            f"marks_roi shows {len(peaks)} mark{'s' if len(peaks) != 1 else ''} in its first usable slice, where two "
            f"are needed: give a region that holds both"
        )
    best = np.sort(peaks[np.argsort(-found["prominences"])[:2]])
    return best.astype(np.float64), float(peak_widths(smooth, best, rel_height=0.5)[0].max())


def _follow(flat: Float, start: float, width: float, usable: NDArray[np.bool_], first: int) -> tuple[Float, Float]:
    """Positions (n,) of one mark and their standard deviations."""
    n, reach = len(flat), int(np.ceil(width)) + 2
    place, sigma = np.full(n, np.nan), np.full(n, np.inf)
    here, speed = start, 0.0
    for k in range(first, n):
        here += speed
        if not usable[k] or not reach < here < flat.shape[1] - 1 - reach:
            continue
        found = _centroid(flat[k], here, reach)
        if np.isfinite(found) and abs(found - here) < _SEARCH_PX:
            speed += 0.2 * (found - here) if np.isfinite(place[:k]).any() else 0.0
            place[k] = here = found
    known = np.isfinite(place)
    for _ in range(_PASSES):
        shape = np.mean([_window(flat[k], place[k], reach) for k in np.flatnonzero(known)], axis=0)
        slope = np.gradient(shape)
        design = np.stack([shape, slope, np.ones_like(shape)], axis=1)
        covariance = np.linalg.inv(design.T @ design)
        for k in np.flatnonzero(known):
            seen = _window(flat[k], place[k], reach)
            scale, moved, offset = covariance @ (design.T @ seen)
            rest = seen - design @ np.array([scale, moved, offset])
            size = max(abs(scale), 0.1)
            place[k] -= np.clip(moved / np.copysign(size, scale), -1.0, 1.0)
            sigma[k] = max(np.sqrt((rest**2).sum() / (len(rest) - 3) * covariance[1, 1]) / size, _LEAST_SIGMA_PX)
    return place, sigma


def _centroid(profile: Float, near: float, reach: int) -> float:
    """Centre of what stands above half height, iterated so that the window follows it."""
    for _ in range(3):
        at = np.arange(max(0, round(near) - reach), min(len(profile), round(near) + reach + 1))
        weight = profile[at] - 0.5 * (profile[at].max() + profile[at].min())
        weight = np.maximum(weight, 0.0)
        if not weight.sum() > 0:
            return float("nan")
        near = float((weight * at).sum() / weight.sum())
    return near


def _window(profile: Float, place: float, reach: int) -> Float:
    """Profile around `place`, interpolated."""
    from scipy.ndimage import map_coordinates

    low = max(0, int(place) - reach - _SPLINE_PX)
    near = profile[low : int(place) + reach + _SPLINE_PX + 2]
    at = place - low + np.arange(-reach, reach + 1)
    return np.asarray(map_coordinates(near, at[None], order=3, mode="nearest"))


def _without_odd(distance: Float, sigma: Float) -> Float:
    """Sigma with infinity where the distance leaves its course."""
    from scipy.ndimage import median_filter

    known = np.flatnonzero(np.isfinite(sigma))
    if len(known) < 5:
        return sigma
    away = distance[known] - median_filter(distance[known], size=5, mode="nearest")
    limit = _ODD * max(1.4826 * float(np.median(np.abs(away))), 0.1)
    return np.where(np.isin(np.arange(len(sigma)), known[np.abs(away) > limit]), np.inf, sigma)
