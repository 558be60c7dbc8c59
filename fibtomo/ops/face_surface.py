"""What the line of the sample surface says about an acquisition: whether the field of view followed the face."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fibtomo.core.evidence import Evidence
from fibtomo.core.geometry import Geometry

Float = NDArray[np.float64]

_LEAST_SLICES = 10
_BLOCKS = 6
_WANDER_PX = 0.2  # per slice: slow drift of an ordinary microscope,
_MEMORY = 30  # slices over which it persists
_DIP = 0.1  # of the difference between the candidates: a surface that is not at right angles to the ion beam
_AGREES, _EXCLUDED, _DECISIVE = 3.0, 3.0, 5.0


@dataclass(frozen=True)
class SurfaceSlope:
    """Motion of the surface line through the stack.

    Attributes
    ----------
    px_per_nm
        Rows per nm of milling advance, negative where the surface rises.
    sigma_px_per_nm
        Its standard deviation, slow drift included.
    rough_px
        Robust standard deviation of the rows about the straight line.
    slices
        Slices on which the surface was seen.
    """

    px_per_nm: float
    sigma_px_per_nm: float
    rough_px: float
    slices: int


def surface_slope(rows_px: ArrayLike, z_nm: ArrayLike) -> SurfaceSlope | None:
    """Fit a straight line through the rows of the surface, by medians of slopes.

    Parameters
    ----------
    rows_px
        (n,) row of the surface on each slice as stored, NaN where it was not found.
    z_nm
        (n,) positions of the slices.

    Returns
    -------
    SurfaceSlope or None
        ``None`` if the surface was found on fewer than 10 slices.

    References
    ----------
    Theil 1950, Proc. K. Ned. Akad. Wet. 53:386; Sen 1968, J. Am. Stat. Assoc. 63:1379.

    Examples
    --------
    >>> z = np.arange(100) * 10.0
    >>> round(surface_slope(50 - 0.12 * z, z).px_per_nm, 6)
    -0.12
    """
    rows, z = np.asarray(rows_px, dtype=np.float64), np.asarray(z_nm, dtype=np.float64)
    known = np.isfinite(rows)
    if known.sum() < _LEAST_SLICES:
        return None
    rows, z = rows[known], z[known]
    slope = _median_slope(z, rows)
    rest = rows - slope * z
    rest -= np.median(rest)
    rough = 1.4826 * float(np.median(np.abs(rest)))
    blocks = np.array_split(np.arange(len(z)), _BLOCKS if len(z) >= 5 * _BLOCKS else 2)
    parts = [_median_slope(z[b], rows[b]) for b in blocks]
    scatter = float(np.std(parts, ddof=1)) / np.sqrt(len(parts))
    step_nm = (z[-1] - z[0]) / (len(z) - 1)
    wander = _WANDER_PX / step_nm * min(1.0, float(np.sqrt(2 * _MEMORY / len(z))))
    return SurfaceSlope(slope, float(np.hypot(scatter, wander)), rough, int(known.sum()))


def _median_slope(z: Float, rows: Float) -> float:
    """Median of the slopes between points half a record apart, and more."""
    half = len(z) // 2
    pairs = [(rows[gap:] - rows[:-gap]) / (z[gap:] - z[:-gap]) for gap in range(max(1, half), len(z))]
    return float(np.median(np.concatenate(pairs)))


def motion_candidates(geometry: Geometry) -> dict[bool, float]:
    """Rows per nm by which the surface moves if the field of view tracks the face (True), or is fixed (False).

    Examples
    --------
    >>> found = motion_candidates(Geometry((10.0, 5.0, 5.0), column_angle_deg=52.0))
    >>> found[True], round(found[False], 5)
    (0.0, -0.12313)
    """
    from dataclasses import replace

    return {tracked: 0.0 - replace(geometry, tracked=tracked).shear_px_per_nm for tracked in (True, False)}


def evidence_from_surface(rows_px: ArrayLike, z_nm: ArrayLike, candidates: Mapping[bool, float]) -> Evidence:
    """Tell from the surface line whether the field of view tracked the face.

    A surface at right angles to the ion beam stays on its row when the field of view tracks the face, and rises
    when it is fixed. A surface that dips along the milling direction moves by itself; some degrees are allowed for.

    Parameters
    ----------
    rows_px
        (n,) row of the surface on each slice as stored (not aligned), NaN where it was not found.
    z_nm
        (n,) positions of the slices.
    candidates
        Rows per nm that the geometry predicts for tracked (True) and fixed (False); see `motion_candidates`.

    Returns
    -------
    Evidence
        On the fact "tracked"; value ``None`` where neither or both agree.

    Examples
    --------
    >>> z = np.arange(100) * 10.0
    >>> found = evidence_from_surface(200 - 0.123 * z, z, {True: 0.0, False: -0.12313})
    >>> found.value, found.decisive
    (False, True)
    """
    line = surface_slope(rows_px, z_nm)
    if line is None:
        return Evidence("tracked", None, "no surface of the sample was found on enough slices")
    apart = abs(candidates[True] - candidates[False])
    sigma = float(np.hypot(line.sigma_px_per_nm, _DIP * apart))
    away = {tracked: abs(line.px_per_nm - slope) / sigma for tracked, slope in candidates.items()}
    numbers = {
        "surface_slope_px_per_nm": line.px_per_nm,
        "surface_slope_sigma_px_per_nm": sigma,
        "tracked_px_per_nm": candidates[True],
        "fixed_px_per_nm": candidates[False],
        "slices": float(line.slices),
    }
    seen = (
        f"the sample surface moves by {1000 * line.px_per_nm:+.1f} ± {1000 * sigma:.1f} rows per µm; "
        f"{1000 * candidates[True]:+.1f} is expected if the field of view tracks the face, "
        f"{1000 * candidates[False]:+.1f} if it is fixed"
    )
    best = min(away, key=lambda tracked: away[tracked])
    if away[best] > _AGREES or away[not best] < _EXCLUDED:
        return Evidence("tracked", None, seen, numbers=numbers)
    return Evidence("tracked", best, seen, away[not best] >= _DECISIVE, numbers)
