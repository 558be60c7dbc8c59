"""What slices tell of their own acquisition: was the tilt corrected, did the field of view follow the face, how thick.

All of it rests on the specimen being isotropic, or at least not leaning; signs that it is not are looked for, and then
nothing is said. Nothing here is taken without being weighed against what metadata and user say.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.evidence import Evidence
from fibtomo.ops.advance import cross_power, measure_advance
from fibtomo.ops.isotropy import Isotropy, measure_isotropy
from fibtomo.ops.tile_spectra import Tiles, make_tiles, tile_spectra, typical_wavelength_px

Float = NDArray[np.float64]

_AGREES, _EXCLUDED, _DECISIVE = 3.0, 2.5, 4.0  # standard deviations
_FITS_DECISIVE = 2.5
_COMMON_FORESHORTENING = 0.818, 0.02  # of columns at 52 to 58 degrees
_LEAST_APART, _VAGUE = 0.03, 0.4  # difference between the answers, and share of it that the error may reach
_STRETCHED = 1.15  # advance from which on foreshortened rows may as well be a specimen stretched along x
_SAME_ADVANCE = 0.22  # relative difference that does not speak against an isotropic specimen
_WANDER_PX, _MEMORY_SLICES = 0.2, 30.0  # slow drift of an ordinary microscope, per slice
_FEWEST_STEPS = 4
_LIGHT_BEHIND = 0.02  # of the ratio, from which on what lies behind the face biases motion, and the ratio upwards
_MOTION_DECISIVE = 5.0


@dataclass
class SliceSigns:
    """Measurements on runs of consecutive slices, taken in one after the other.

    Attributes
    ----------
    tiles
        Chosen by the first slice; ``None`` if slices are too small.
    """

    tiles: Tiles | None = None
    _power: list[Float] = field(default_factory=list)
    _bright: list[Float] = field(default_factory=list)
    _cross: list[list[Float | None]] = field(default_factory=list)
    _steps_px: list[tuple[float, float]] = field(default_factory=list)

    def add(self, run: Any) -> None:
        """Take in some consecutive slices (n, y, x)."""
        if not self._power:
            self.tiles = make_tiles(run[0])
        if self.tiles is None:
            return
        spectra = [tile_spectra(image, self.tiles) for image in run]
        chosen = range(0, len(run), 2)  # neighbours show almost the same
        self._power.append(_mean_power(spectra[k] for k in chosen))
        self._bright.append(_mean_power(tile_spectra(run[k], self.tiles, bright=True) for k in chosen))
        cross, steps = cross_power(run, spectra, self.tiles)
        self._cross.append(cross)
        self._steps_px += steps

    def isotropy(self) -> Isotropy | None:
        """Shape of the structure in the plane of the slices."""
        if self.tiles is None or not self._power:
            return None
        return measure_isotropy(np.array(self._power), np.array(self._bright), self.tiles)

    def advance_px(self, shape: Isotropy) -> tuple[float, float] | None:
        """Slice thickness in columns if the specimen is isotropic, and its standard deviation."""
        if self.tiles is None or shape.doubts:
            return None
        mean = np.mean(self._power, axis=(0, 1))
        return measure_advance(
            self._cross, self.tiles, shape.ratio, shape.skew, typical_wavelength_px(mean, self.tiles)
        )

    def motion_px(self) -> tuple[float, float] | None:
        """Rows per slice by which the content moves, and the standard error of that median."""
        rows = np.array([step[0] for step in self._steps_px])
        if len(rows) < _FEWEST_STEPS:
            return None
        middle = float(np.median(rows))
        spread = 1.4826 * float(np.median(np.abs(rows - middle)))
        return middle, 1.25 * spread / len(rows) ** 0.5


def _mean_power(spectra: Iterable[Any]) -> Float:
    return np.asarray(np.mean([np.abs(s) ** 2 for s in spectra], axis=0, dtype=np.float64))


def tilt_evidence(
    shape: Isotropy | None,
    pixel_ratio: float = 1.0,
    face_angle_deg: float | None = None,
    advance: float | None = None,
) -> Evidence:
    """Tell from the shape of structures whether the scan corrected the tilt.

    Parameters
    ----------
    shape
        From `SliceSigns.isotropy`.
    pixel_ratio
        Height over width of a stored pixel, as scanned.
    face_angle_deg
        Angle between electron beam and face normal; ``None`` compares with columns at 52 to 58 degrees.
    advance
        Slice thickness as the slices show it over that which is known: 1 for isotropic specimens; ``None`` if either
        is not known.

    Returns
    -------
    Evidence
        On the fact "tilt_corrected"; value ``None`` where the structure is not suited, or fits neither or both.

    Examples
    --------
    >>> seen = Isotropy(ratio=0.78, sigma=0.02, skew=0.0, features=900.0, behind=0.0)
    >>> found = tilt_evidence(seen, face_angle_deg=38.0, advance=1.05)
    >>> found.value, found.decisive
    (False, True)
    """
    if shape is None:
        return Evidence("tilt_corrected", None, "too little structure stands above the noise to tell its shape")
    foreshortened, spread = _COMMON_FORESHORTENING
    if face_angle_deg is not None:
        foreshortened, spread = float(np.cos(np.radians(face_angle_deg))), 0.0
    expected = {True: 1.0 / pixel_ratio, False: foreshortened / pixel_ratio}
    error = {True: shape.sigma, False: float(np.hypot(shape.sigma, spread))}
    away = {answer: abs(shape.ratio - expected[answer]) / error[answer] for answer in expected}
    numbers = {
        "ratio": shape.ratio,
        "ratio_sigma": shape.sigma,
        "expected_corrected": expected[True],
        "expected_uncorrected": expected[False],
        "features": shape.features,
    }
    seen = (
        f"structures are {shape.ratio:.3f} ± {shape.sigma:.3f} as long along y as along x, in pixels; "
        f"{expected[True]:.3f} is expected if the scan corrected the tilt, {expected[False]:.3f} if not"
    )
    if abs(expected[True] - expected[False]) < _LEAST_APART:
        return Evidence("tilt_corrected", None, seen, numbers=numbers)
    if shape.doubts:
        return Evidence("tilt_corrected", None, f"{seen}; no verdict, as {'; '.join(shape.doubts)}", numbers=numbers)
    best = min(away, key=lambda answer: away[answer])
    too_vague = shape.sigma > _VAGUE * abs(expected[True] - expected[False])
    if too_vague or away[best] > _AGREES or away[not best] < _EXCLUDED:
        return Evidence("tilt_corrected", None, f"{seen}; undecided", numbers=numbers)
    clear = away[best] <= _FITS_DECISIVE and away[not best] >= _DECISIVE
    if face_angle_deg is None and best:
        clear = False  # a face at right angles to the beam shows true rows, whatever the scan did
    if advance is not None:
        numbers["advance_over_known"] = advance
        if not best and advance > _STRETCHED:
            text = (
                f"{seen}; no verdict, as along z they are {1 / advance:.2f} as long as along x, too: a specimen "
                f"stretched along x looks the same"
            )
            return Evidence("tilt_corrected", None, text, numbers=numbers)
        if abs(advance - 1) > _SAME_ADVANCE:
            seen += f"; along z they are {1 / advance:.2f} as long as along x, so that the specimen may be anisotropic"
            clear = False
    deep = shape.behind > _LIGHT_BEHIND or (advance is not None and advance < 1 - _SAME_ADVANCE)
    if best and not clear and deep:
        text = f"{seen}; no verdict, as what is seen behind the face may lengthen structures along y"
        return Evidence("tilt_corrected", None, text, numbers=numbers)
    return Evidence("tilt_corrected", best, seen, clear, numbers)


def thickness_evidence(
    advance_px: tuple[float, float] | None, pixel_nm: float, known_nm: float | None = None
) -> Evidence:
    """Mean slice thickness from the likeness of neighbours; good to about 15 %, never decisive.

    Parameters
    ----------
    advance_px
        From `SliceSigns.advance_px`.
    pixel_nm
        Width of a pixel.
    known_nm
        What others say, for comparison.
    """
    if advance_px is None:
        return Evidence("slice_nm", None, "neighbouring slices are too like or too unlike to tell how thick they are")
    value, sigma = (v * pixel_nm for v in advance_px)
    text = f"neighbours are as alike as slices of {value:.3g} ± {sigma:.2g} nm of an isotropic specimen"
    numbers = {"slice_nm": value, "slice_nm_sigma": sigma} | ({"slice_nm_known": known_nm} if known_nm else {})
    return Evidence("slice_nm", float(f"{value:.3g}"), text, numbers=numbers)


def motion_evidence(
    motion_px: tuple[float, float] | None, shear_px: float, n_slices: int, shape: Isotropy | None
) -> tuple[Evidence, str]:
    """Tell from the mean motion of the content whether the field of view followed the face.

    Parameters
    ----------
    motion_px
        From `SliceSigns.motion_px`.
    shear_px
        Rows per slice by which the content of a fixed field of view rises.
    n_slices
        Of the stack, over which slow drift averages out.
    shape
        Light from behind the face moves by itself; then nothing is decided.

    Returns
    -------
    Evidence
        On the fact "tracked".
    str
        A warning if the content moves the wrong way, as in images that stand on their heads; else empty.

    Examples
    --------
    >>> motion_evidence((-1.2, 0.05), 1.231, 200, None)[0].value
    False
    """
    if motion_px is None:
        return Evidence("tracked", None, "too few neighbouring slices could be aligned to tell how they move"), ""
    moved, error = motion_px
    sigma = float(np.hypot(error, _WANDER_PX * min(1.0, (2 * _MEMORY_SLICES / max(n_slices, 1)) ** 0.5)))
    numbers = {"motion_px": moved, "motion_px_sigma": sigma, "fixed_px": -shear_px}
    seen = (
        f"the content moves by {moved:+.2f} ± {sigma:.2f} rows per slice; 0 is expected if the field of view follows "
        f"the face, {-shear_px:+.2f} if it is fixed"
    )
    if shape is not None and shape.behind > _LIGHT_BEHIND:
        text = f"{seen}; no verdict, as what is seen behind the face moves by itself"
        return Evidence("tracked", None, text, numbers=numbers), ""
    away = {True: abs(moved) / sigma, False: abs(moved + shear_px) / sigma}
    best = min(away, key=lambda answer: away[answer])
    if abs(moved - shear_px) / sigma < _AGREES and away[best] > _MOTION_DECISIVE:
        return Evidence("tracked", None, seen, numbers=numbers), (
            f"{seen}: it moves the other way, as in images that stand on their heads (--orientation rotated-180) or "
            f"slices in reverse order"
        )
    if away[best] > _AGREES or away[not best] < _EXCLUDED:
        return Evidence("tracked", None, f"{seen}; undecided", numbers=numbers), ""
    return Evidence("tracked", best, seen, away[not best] >= _MOTION_DECISIVE, numbers), ""
