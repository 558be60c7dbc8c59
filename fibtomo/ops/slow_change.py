"""Slow change of greys over a plane: shading, and the shadow of the side walls."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from fibtomo.backend.array import like, namespace
from fibtomo.ops.stripe_frame import BAND_ROWS
from fibtomo.ops.stripe_gate import stretched

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
ORDER = 3
"""Order of the polynomial in y and x."""
SHADOW_PX = (15.0, 45.0)
"""Decay lengths of what falls off from the left and right edge."""
COARSE = 16
"""Cells along y, at most, that the fit sees."""
STANDS_OUT = 10.0
"""Ratio of variances (per degree of freedom) from which the plane is shaded across the stripes."""
RIDGE = 1e-4
PRIOR_PIXELS = 0.5


def slow_change(count: Float32, total: Float32, stripes: Float32, cell_px: int, width_px: float, plane: Any) -> Any:
    """Smooth surfaces (phase, band, x), float32, through the means of cells; where the plane is, as wide as it.

    A polynomial fitted by least squares, and the remainder averaged over `width_px` (standard deviation): the average
    alone would be drawn off at the edges of a shaded plane. Across the stripes the polynomial and what decays from
    both sides take part only if they stand out from the stripes themselves, whose broad part they would take away.

    Parameters
    ----------
    count, total
        (phase, band, cell) pixels and sums, less the stripes.
    stripes
        (band, cell) stripes as known so far.
    cell_px
        Columns of a cell; its rows are those of a band.
    width_px
        Standard deviation of the average, columns and rows.
    plane
        (y, x) array of which the cells are; NumPy or CuPy. The cells are few and NumPy.
    """
    (_, bands, cells), nx = count.shape, plane.shape[1]
    middle = (np.arange(cells) + 0.5) * cell_px - 0.5
    along = _powers(np.linspace(-1, 1, bands) if bands > 1 else np.zeros(1))
    across, fine = _across(middle, nx), _across(np.arange(nx), nx)
    surfaces = [_fit(n, t, along, across[:, :1]) for n, t in zip(count, total, strict=True)]
    rest = sum(t - n * (along @ c @ across[:, :1].T) for n, t, c in zip(count, total, surfaces, strict=True))
    everything = count.sum(axis=0)
    if _stands_out(everything.sum(axis=0), (rest + everything * stripes).sum(axis=0), across):
        surfaces = [_fit(n, t, along, across) for n, t in zip(count, total, strict=True)]
    sigma = (width_px / BAND_ROWS, width_px / cell_px)
    out = namespace(plane).empty((len(count), bands, nx), np.float32)
    for k, c in enumerate(surfaces):
        columns = c.shape[1]
        rest = total[k] - count[k] * (along @ c @ across[:, :columns].T).astype(np.float32)
        mean = gaussian_filter(rest, sigma, mode="nearest")
        mean /= gaussian_filter(count[k], sigma, mode="nearest") + PRIOR_PIXELS
        surface = like(plane, along @ c) @ like(plane, fine[:, :columns].T)
        out[k] = surface + stretched(like(plane, mean), cell_px, nx)
    return out


def _fit(count: Float32, total: Float32, along: Float, across: Float) -> Float:
    """Coefficients (power of y, column of `across`) of the surface through total/count, by weighted least squares."""
    columns = across.shape[1]
    chosen = [(i, j) for i in range(ORDER + 1) for j in range(columns) if i + _order(j) <= ORDER]
    starts = np.arange(0, len(count), -(-len(count) // COARSE))
    centres = np.add.reduceat(along, starts) / np.diff(np.append(starts, len(count)))[:, None]
    design = np.stack([np.outer(centres[:, i], across[:, j]).ravel() for i, j in chosen], axis=1)
    weight, sums = (np.add.reduceat(a, starts).ravel().astype(np.float64) for a in (count, total))
    normal = (design * weight[:, None]).T @ design
    normal[np.diag_indices(len(chosen))] += RIDGE * weight.sum() + 1e-12
    out = np.zeros((along.shape[1], columns))
    out[tuple(np.transpose(chosen))] = np.linalg.solve(normal, design.T @ sums)
    return out


def _stands_out(count: Float32, total: Float32, across: Float) -> bool:
    """Whether the columns of `across` explain more of a profile (cell,) than as many others would."""
    known = count > 0.1 * count.mean()
    terms = across.shape[1] - 1
    if known.sum() <= 2 * terms:
        return False
    root = np.sqrt(count[known].astype(np.float64))
    value, design = total[known] / root, across[known] * root[:, None]
    value = value - design[:, 0] * (design[:, 0] @ value) / (design[:, 0] @ design[:, 0])
    left = value - design @ np.linalg.lstsq(design, value, rcond=None)[0]
    free = int(known.sum()) - terms - 1
    return float(value @ value - left @ left) / terms > STANDS_OUT * float(left @ left) / free


def _powers(t: Float) -> Float:
    return np.stack([t**i for i in range(ORDER + 1)], axis=1)


def _across(x: Float, nx: int) -> Float:
    """Powers of x, then decays from either side."""
    decays = [np.exp(-side / length) for length in SHADOW_PX for side in (x, nx - 1 - x)]
    return np.concatenate([_powers(2 * x / max(nx - 1, 1) - 1), np.stack(decays, axis=1)], axis=1)


def _order(column: int) -> int:
    """Order of a column of `_across`; decays count as the second, so that they change at most linearly along y."""
    return column if column <= ORDER else ORDER - 1
