"""Deletion of the Fourier wedge that holds the curtains, refilled by total variation, after Schwartz et al. 2019."""

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import to_host
from fibtomo.ops.curtain_parts import Float, Spans, cycles
from fibtomo.ops.curtain_tv import SplitStripes

HALF_ANGLE_DEG = 1.0
"""Half the opening of the wedge."""
ENDS = 10.0
"""The wedge is nowhere narrower than the spectrum of a stripe that ends: half of it, 1 / (2 ENDS length_px)."""
NOISE_LEFT = 3.0
"""Power of the noise in the coefficients found, in units of the noise."""
LEAST_POWER = 1e-3
"""Power of an octave that shows nothing, in units of the noise."""


def wedge_stripes(
    upright: Float, spans: Spans | None = None, *, length_px: float = 20.0, width_px: float = 60.0
) -> Float:
    """Return what leaves the wedge about the stripes' line when its coefficients are those of least total variation.

    The coefficients outside the wedge are known and stay as they are; inside, nothing is known, and the plane of least
    total variation is taken. Both are enforced at once, since only coefficients of the wedge are ever looked for.
    Cosine coefficients take the place of Fourier's: the plane goes on mirrored, and its rim does not ring. Edges of the
    structure have no say (`curtain_parts.flatness`). Unlike in the paper, the wedge is emptied no further than it is
    full: last, what is taken is held to the power found in its octave beyond that of noise.

    Parameters
    ----------
    upright
        (y, x) float32 grey values with upright stripes, NumPy or CuPy.
    spans
        (y, 2) columns [first, end) of each row that count; all if None.
    length_px
        Stripes much shorter than ten times this lie outside the wedge.
    width_px
        The wedge begins at waves of twice this width.

    Returns
    -------
    Array
        (y, x) float32 stripes in grey units; all their coefficients lie in the wedge.

    References
    ----------
    J. Schwartz, Y. Jiang, Y. Wang, A. Aiello, P. Bhattacharya, H. Yuan, Z. Mi, N. Bassim, R. Hovden, Microsc.
    Microanal. 25 (2019) 705, doi:10.1017/S1431927619000254, arXiv:1901.08001.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> stripes = np.tile(5 * np.sin(np.arange(128) / 2), (128, 1)).astype(np.float32)
    >>> found = wedge_stripes(stripes + rng.normal(0, 3, (128, 128)).astype(np.float32))
    >>> bool(np.std(found - stripes) < 0.25 * np.std(stripes))
    True
    """
    wedge = wedge_of(upright.shape, length_px, width_px)
    free = np.where(wedge[: int(wedge.any(axis=1).sum())], np.inf, 0.0)
    split = SplitStripes(upright, spans, len(free))
    split.step(free, 10)
    split.step(free, 10, split.flatness())
    split.step(_held(split, free), 20, split.flatness())
    return split.stripes


def _held(split: SplitStripes, free: NDArray[np.float64]) -> NDArray[np.float64]:
    """Power (row, x) found in each octave of the free coefficients beyond that of noise."""
    wedge, square = free > 0, to_host(split.spectrum).astype(np.float64) ** 2
    noise, power, end = split.noise**2, free.copy(), wedge.shape[1]
    while wedge[:, :end].any():
        octave = np.s_[:, end // 2 : end]
        inside = wedge[octave]
        found = float(square[octave][inside].mean()) if inside.any() else 0.0
        power[octave][inside] = max(found - NOISE_LEFT * noise, LEAST_POWER * noise)
        end //= 2
    return power


def wedge_of(shape: tuple[int, int], length_px: float, width_px: float) -> NDArray[np.bool_]:
    """Cosine coefficients (y, x) in the wedge about the line of upright stripes."""
    down, across = (cycles(n) for n in shape)
    widest = np.maximum(np.tan(np.radians(HALF_ANGLE_DEG)) * across, 1 / (2 * ENDS * length_px))
    return np.asarray((down[:, None] <= widest) & (across >= 1 / (2 * width_px)))
