"""What the removal of curtains did to a slice, in numbers that need no ground truth."""

from types import ModuleType
from typing import Any

import numpy as np

from fibtomo.backend.array import fft, namespace, ndimage

Array = Any
WEDGE_DEG = 10.0
"""Half angle of the wedge of spatial frequencies that curtains of one direction may fill."""
BINNED_PX = 4
"""Side of the boxes over which greys are averaged before they are compared: below it there is mostly noise."""


def curtain_quality(plane: Array, removed: Array, angles_deg: tuple[float, ...]) -> dict[str, float]:
    """Measure a removed layer.

    Parameters
    ----------
    plane
        (y, x) slice as it was, NumPy or CuPy.
    removed
        (y, x) what was subtracted.
    angles_deg
        Directions of the curtains.

    Returns
    -------
    dict
        ``removed_rms``, grey: the layer. ``damage_rms``, grey: the part of it that does not run along the curtains
        (outside a wedge of ±10° of spatial frequencies), which can only be structure or noise. ``structure_loss``:
        the energy of that part over the energy of the slice outside the wedge. ``structure_r``: correlation of the
        layer with what is left, both averaged over 4 × 4 pixels; curtains know nothing of the structure.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> structure, stripes = rng.normal(0, 9, (128, 128)), np.tile(rng.normal(0, 4, 128), (128, 1))
    >>> found = curtain_quality(structure + stripes, stripes, (0.0,))
    >>> abs(found["removed_rms"] - 4) < 0.5, found["damage_rms"] < 1e-3, abs(found["structure_r"]) < 0.1
    (True, True, True)
    """
    xp = namespace(plane)
    ny, nx = plane.shape
    outside = _outside_wedges(xp, ny, nx, angles_deg)
    weights = xp.where(xp.arange(nx // 2 + 1) % (nx / 2) == 0, 1.0, 2.0) * outside
    window = xp.outer(xp.hanning(ny + 1)[:-1], xp.hanning(nx + 1)[:-1]).astype(xp.float32)
    window /= xp.sqrt(xp.mean(window**2))
    energies = []
    for a in (removed, plane):
        spectrum = fft(plane).rfft2((a - a.mean()).astype(xp.float32) * window)
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float64)
        energies.append(float((power * weights).sum()) / (ny * nx) ** 2)
    lost, kept = energies
    return {
        "removed_rms": float(removed.std()),
        "damage_rms": lost**0.5,
        "structure_loss": lost / kept if kept > 0 else 0.0,
        "structure_r": _correlation(removed, plane - removed),
    }


def _outside_wedges(xp: ModuleType, ny: int, nx: int, angles_deg: tuple[float, ...]) -> Array:
    ky, kx = xp.fft.fftfreq(ny)[:, None], xp.fft.rfftfreq(nx)[None]
    outside = xp.ones((ny, nx // 2 + 1), dtype=bool)
    for angle in angles_deg:
        # stripes along (1, tan a) in (y, x) have ky = -kx tan a
        off = xp.abs(xp.arctan2(ky, xp.maximum(kx, 1e-12)) + np.radians(angle))
        near_axis = xp.abs(ky + kx * np.tan(np.radians(angle))) < 1.5 / ny
        outside &= ~((off <= np.radians(WEDGE_DEG)) | near_axis)
    outside[0, 0] = False
    return outside


def _correlation(a: Array, b: Array) -> float:
    nd, xp = ndimage(a), namespace(a)
    coarse = [nd.uniform_filter(v.astype(xp.float32), BINNED_PX)[::BINNED_PX, ::BINNED_PX] for v in (a, b)]
    one, two = (v - v.mean() for v in coarse)
    norm = float((one**2).sum() * (two**2).sum()) ** 0.5
    return float((one * two).sum()) / norm if norm > 0 else 0.0
