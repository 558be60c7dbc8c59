"""Missing and doubled slices: steps that are 2, 3, … or 0 nominal ones rather than irregular single ones."""

import numpy as np
from numpy.typing import NDArray

from fibtomo.ops._thickness_belief import filtered, step_gain

Float = NDArray[np.float64]

_USUAL_SPREAD = 0.15  # of the steps
_SUSPECT = 0.5, 1.4  # steps beyond are looked at
_NARROW = 0.1  # least spread of regular steps, and that of doubled ones
_ODDS = 3.2  # logarithm of the odds for a missing or doubled slice, from which on it is believed
_BURSTS = 4.0  # variance of what structure feigns where it does so, over its mean
_SHEAR_SAY = 3.0  # most that the motion may add to them


def find_odd_steps(
    deviation: Float, tile_steps: Float, share: Float, scatter: Float, error: Float, dy_px: Float
) -> dict[int, int]:
    """Find steps of another number of slices than one.

    All tiles must say so: what holds for one only is a change of the structure. A field of view that is fixed to the
    sample moves by the same rows with every slice; a missing slice doubles that too, so that the motion speaks for or
    against it.

    Parameters
    ----------
    deviation
        (m,) of the steps from the nominal one; NaN where slices were not compared.
    tile_steps
        (m, tiles) by which each tile alone would change them.
    share
        (tiles,) weights of the tiles, sum 1.
    scatter
        (m - 1,) spectrum of the errors that the tiles show.
    error
        (m - 1,) spectrum of all errors.
    dy_px
        (m + 1,) rows by which the slices have moved.

    Returns
    -------
    dict
        Index of the step to its number of slices, 0 for a doubled one.
    """
    known = np.isfinite(deviation)
    gain, kept = step_gain(error, _USUAL_SPREAD)
    step = 1 + filtered(np.where(known, deviation, 0.0), gain) / kept
    apart = np.stack([filtered(tile, gain) / kept for tile in tile_steps.T], axis=1)
    seen = (apart**2 * share**2).sum(axis=1) / max(1 - float((share**2).sum()), 0.1)
    unseen = _BURSTS * float((gain**2 * np.maximum(error - scatter, 0.0)).mean()) / kept**2
    doubt = np.sqrt(seen + unseen)
    spread = max(_robust(step), _NARROW)
    rows = np.diff(dy_px)
    usual, jitter = float(np.median(rows)), max(_robust(rows), 0.02)
    found: dict[int, int] = {}
    for k in np.flatnonzero(known & ((step < _SUSPECT[0]) | (step > _SUSPECT[1]))):
        count = max(2, round(step[k])) if step[k] > 1 else 0
        single = float(np.hypot(spread, doubt[k]))
        other = float(np.hypot(spread * np.sqrt(count) if count else _NARROW, doubt[k]))
        odds = _surprise(step[k] - 1, single) - _surprise(step[k] - count, other)
        motion = _surprise(rows[k] - usual, jitter) - _surprise(rows[k] - count * usual, jitter)
        if odds + np.clip(motion, -_SHEAR_SAY, _SHEAR_SAY) > _ODDS:
            found[int(k)] = count
    return found


def _surprise(away: float, spread: float) -> float:
    """Negative logarithm of a normal density."""
    return 0.5 * (away / spread) ** 2 + float(np.log(spread))


def _robust(values: Float) -> float:
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))
