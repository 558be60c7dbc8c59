"""Variational stationary noise remover of Fehrenbach, Weiss and Lorenzo 2012, for curtains."""

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import to_host
from fibtomo.ops.curtain_parts import NEGLIGIBLE, Float, Spans, cycles
from fibtomo.ops.curtain_tv import SplitStripes

LENGTHS = (2.5, 5.0, 10.0)
"""Standard deviations of the atoms along the stripes, in units of `length_px`."""
FINEST_PX = 0.35
"""Width (standard deviation) of the narrowest atom; the others are each twice as wide."""
FIRST_POWER = 16000.0
"""Power that each atom may have before anything is known, over that of the noise in one coefficient."""
NOISE_LEFT = 15.0
"""Power of what noise and structure leave in the coefficients found, in units of the noise."""
LEAST_POWER = 0.02
"""Power of an atom that shows nothing, in units of the noise."""


def vsnr_stripes(
    upright: Float, spans: Spans | None = None, *, length_px: float = 20.0, width_px: float = 60.0
) -> Float:
    """Return the stripes as a sum of noise convolved with line atoms, at the least total variation of the rest.

    ``min ‖w ∇(u0 - Σ ψᵢ∗λᵢ)‖₁ / b + Σ ‖λᵢ‖² / (2 aᵢ)``. With squares on all λᵢ only their sum matters, and its weight
    is the power spectrum ``P = Σ aᵢ |ψ̂ᵢ|²``: one unknown plane whatever the number of atoms, so there is one for
    each octave of widths up to `width_px` and three lengths. The paper leaves the strengths 1/aᵢ to the user. Here b is
    the noise of the plane, and aᵢ, generous at first, is the power then found in each octave beyond that of noise. w is
    0 on edges of the structure (`curtain_parts.flatness`): in the plain norm every pixel of an edge pulls as much as
    noise, and columns of structure leak into the stripes.

    Parameters
    ----------
    upright
        (y, x) float32 grey values with upright stripes, NumPy or CuPy.
    spans
        (y, 2) columns [first, end) of each row that count; all if None.
    length_px
        Atoms are 2.5, 5 and 10 times as long (standard deviation).
    width_px
        Stripes much wider than this are left in.

    Returns
    -------
    Array
        (y, x) float32 stripes in grey units.

    References
    ----------
    J. Fehrenbach, P. Weiss, C. Lorenzo, IEEE Trans. Image Process. 21 (2012) 4420, doi:10.1109/TIP.2012.2206037.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> stripes = np.tile(5 * np.sin(np.arange(128) / 2), (128, 1)).astype(np.float32)
    >>> found = vsnr_stripes(stripes + rng.normal(0, 3, (128, 128)).astype(np.float32))
    >>> bool(np.std(found - stripes) < 0.2 * np.std(stripes))
    True
    """
    down, across = _atoms(upright.shape, length_px, width_px)
    split = SplitStripes(upright, spans, len(down))
    first = FIRST_POWER * split.noise**2 * down[:, None] * across.sum(axis=0)
    split.step(first, 10)
    split.step(first, 10, split.flatness())
    split.step(down[:, None] * (_strengths(split, down, across) @ across), 20, split.flatness())
    return split.stripes


def _atoms(
    shape: tuple[int, int], length_px: float, width_px: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Power spectra of the atoms along the stripes (row,), and across them (atom, x) with a peak of 1 each.

    Along: Gaussians; across: slopes of Gaussians, which hold no mean.
    """
    ny, nx = shape
    lengths = np.array(LENGTHS)[:, None]
    down = (lengths * np.exp(-((2 * np.pi * cycles(ny) * lengths * length_px) ** 2))).sum(axis=0) / lengths.sum()
    count = max(1, round(np.log2(width_px / 2.5 / FINEST_PX)) + 1)
    scaled = (2 * np.pi * cycles(nx) * FINEST_PX * 2.0 ** np.arange(count)[:, None]) ** 2
    return np.asarray(down[down > NEGLIGIBLE]), scaled * np.exp(1 - scaled)


def _strengths(split: SplitStripes, down: NDArray[np.float64], across: NDArray[np.float64]) -> NDArray[np.float64]:
    """Power aᵢ (atom,) of the atoms in the stripes found so far."""
    found = (to_host(split.spectrum).astype(np.float64) ** 2).sum(axis=0) / down.sum()
    power, noise = across @ found / across.sum(axis=1), split.noise**2
    return np.asarray(np.maximum(power - NOISE_LEFT * noise, LEAST_POWER * noise))
