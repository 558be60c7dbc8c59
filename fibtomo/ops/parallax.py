"""Light from behind the face: through empty pores the walls behind the face are seen, and they move otherwise.

The electron beam meets the face at an angle, so what lies behind it seems lower in the image the deeper it lies, and
rises to its place as the face comes nearer: in a frame that follows the face it flows down. The dark half of the grey
values shows more of it than the bright half, so the motion of the dark against the bright half tells of it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import namespace, to_host
from fibtomo.ops.correlation import pair_shift
from fibtomo.ops.slice_pixels import thumbnail
from fibtomo.ops.spectra import make_band, slice_spectrum
from fibtomo.ops.thresholds import multi_otsu

Float = NDArray[np.float64]

EVERY = 4
"""Slices between two measurements."""
_LEAST_CONFIDENCE = 0.5
_LEAST_MEASURED, _LEAST_FOR_SUSPICION = 3, 6  # without geometry chance alone passes for light with fewer
_SHARE = 1.0  # motion of the whole image over that of dark against bright: 0.8 to 1.35 on phantoms
_SHARE_ERROR = 0.3
_LEAST_OF_SHEAR = 0.2
_LEAST_SIGMA = 4.0
_LEAST_SUSPECTED_PX = 0.2


def dark_against_bright(first: Any, second: Any) -> Float:
    """Motion of the dark half of the grey values less that of the bright half, from one slice to the next.

    Parameters
    ----------
    first, second
        (y, x) grey values of any real type.

    Returns
    -------
    array
        (dy, dx) in pixels; NaN where it cannot be measured.

    Examples
    --------
    >>> from scipy.ndimage import gaussian_filter
    >>> scene = gaussian_filter(np.random.default_rng(0).normal(size=(140, 140)), 2)
    >>> bool(np.abs(dark_against_bright(scene[2:130, 5:133], scene[:128, 8:136])).max() < 0.1)
    True
    """
    (a, binning), (b, _) = thumbnail(first), thumbnail(second)
    return thumbnail_dark_against_bright(a, b, binning)


def thumbnail_dark_against_bright(first: Any, second: Any, binning: int) -> Float:
    """`dark_against_bright` of slices that `thumbnail` has binned."""
    halves = [_halves(image) for image in (first, second)]
    band = make_band(halves[0][0].shape, xp=namespace(halves[0][0]))
    moves = []
    for a, b in zip(*halves, strict=True):
        pair = pair_shift(slice_spectrum(a, band), slice_spectrum(b, band), band)
        if pair.confidence < _LEAST_CONFIDENCE:
            return np.full(2, np.nan)
        moves.append(np.array(pair.shift_px) * binning)
    return np.asarray(moves[0] - moves[1])


def _halves(grey: Any) -> tuple[Any, Any]:
    """The image with all brighter than Otsu's threshold levelled, and with all darker."""
    counts, edges = np.histogram(to_host(grey), bins=256)
    threshold = float(multi_otsu(counts, edges)[0])
    return grey.clip(None, threshold), grey.clip(threshold, None)


@dataclass(frozen=True)
class Parallax:
    """What light from behind the face does to the mean motion along y.

    Attributes
    ----------
    dark_px
        Motion of the dark against the bright half of the grey values, rows per slice.
    bias_px, sigma_px
        Rows per slice by which the motion of the whole image is therefore too large, and how sure that is.
    """

    dark_px: float
    bias_px: float
    sigma_px: float


def find_parallax(moves: Float, behind_px: float) -> Parallax | None:
    """Tell from all measurements of a stack whether light from behind the face shows.

    Parameters
    ----------
    moves
        (n, 2) from `dark_against_bright`, NaN where there is none.
    behind_px
        Rows per slice by which all that lies behind the face flows, in a frame that follows the face.

    Returns
    -------
    Parallax or None
        ``None`` when dark and bright move together.

    References
    ----------
    Salzer et al. 2012, Mater. Charact. 69:115 (shine-through in porous materials).

    Examples
    --------
    >>> moves = np.column_stack([0.5 + 0.05 * np.cos(np.arange(16)), np.zeros(16)])
    >>> round(find_parallax(moves, 1.23).bias_px, 2), find_parallax(moves * 0.01, 1.23)
    (0.5, None)
    """
    apart, error = _apart(moves)
    if behind_px <= 0 or apart < max(_LEAST_OF_SHEAR * behind_px, _LEAST_SIGMA * error):
        return None
    return Parallax(apart, _SHARE * apart, _SHARE_ERROR * apart)


def suspected_parallax(moves: Float) -> float:
    """Rows per slice by which dark and bright move apart along y where no geometry says which way light flows.

    Examples
    --------
    >>> moves = np.column_stack([-0.5 + 0.05 * np.cos(np.arange(16)), np.zeros(16)])
    >>> round(suspected_parallax(moves), 2), suspected_parallax(moves * 0.01)
    (0.5, 0.0)
    """
    apart, error = _apart(moves)
    if np.isfinite(moves).all(axis=1).sum() < _LEAST_FOR_SUSPICION:
        return 0.0
    return abs(apart) if abs(apart) >= max(_LEAST_SUSPECTED_PX, _LEAST_SIGMA * error) else 0.0


def _apart(moves: Float) -> tuple[float, float]:
    """Motion of dark against bright along y and its error; 0 where there is too little to tell."""
    known = moves[np.isfinite(moves).all(axis=1)]
    if len(known) < _LEAST_MEASURED:
        return 0.0, np.inf
    middle = np.median(known, axis=0)
    # the motion along x, where nothing flows, tells how much chance moves the halves apart
    return float(middle[0]), float(np.linalg.norm([*known.std(axis=0) / np.sqrt(len(known)), middle[1]]))
