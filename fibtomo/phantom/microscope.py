"""`acquire`: a virtual slice-and-view run with its ground truth."""

from dataclasses import dataclass
from math import radians, tan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import to_dtype
from fibtomo.core.geometry import Geometry
from fibtomo.core.volume import Shape, value_range_of
from fibtomo.errors import InputError
from fibtomo.phantom import effects
from fibtomo.phantom._threads import per_slice
from fibtomo.phantom.artefacts import Artefacts
from fibtomo.phantom.catalogue import make_specimen
from fibtomo.phantom.motion import Float, draw_sequences, generator
from fibtomo.phantom.specimens import Specimen
from fibtomo.phantom.truth import Truth, per_pixel

DTYPES = ("uint8", "uint16", "float32")


@dataclass(frozen=True)
class Acquisition:
    """What the microscope delivered, and the truth behind it.

    Attributes
    ----------
    slices
        (n, rows, columns) as stored.
    truth
        The ground truth.
    """

    slices: NDArray[Any]
    truth: Truth

    @property
    def geometry(self) -> Geometry:
        """The true projection, slice positions included."""
        return self.truth.measured_geometry


def acquire(
    specimen: Specimen | str | dict[str, Any] = "nanoporous_metal",
    *,
    shape: Shape = (64, 256, 256),
    pixel_nm: float = 5.0,
    slice_nm: float = 10.0,
    column_angle_deg: float = 52.0,
    overtilt_deg: float = 0.0,
    tilt_corrected: bool = False,
    tracked: bool = False,
    seed: int = 0,
    artefacts: Artefacts | dict[str, Any] | str | None = "typical",
    dtype: str = "uint8",
    oversample: int = 2,
) -> Acquisition:
    """Mill and image a specimen slice by slice.

    Parameters
    ----------
    specimen
        A `Specimen`, its name, or ``{"kind": name, parameter: value}``.
    shape
        (slices, rows, columns).
    pixel_nm, slice_nm
        Pixel size of the scan and nominal slice thickness.
    column_angle_deg, overtilt_deg
        Angle between the columns; over-tilt of the face.
    tilt_corrected
        Whether the scan stretches y to true scale.
    tracked
        Whether the field of view follows the face (no shear between slices).
    seed
        Seed of every artefact (the specimen has its own).
    artefacts
        "typical", "none", "all", `Artefacts`, or a dictionary of those that are on.
    dtype
        "uint8", "uint16" (both full range) or "float32" (signal, 0 to 1).
    oversample
        Samples along each side of a pixel; 1 takes the pixel centre only.

    Returns
    -------
    Acquisition
        Slices and ground truth.

    Raises
    ------
    InputError
        A value makes no sense.

    References
    ----------
    Prill and Schladitz, Simulation of FIB-SEM images for analysis of porous microstructures, Scanning 35, 189 (2013).

    Examples
    --------
    >>> run = acquire(shape=(4, 32, 40), artefacts="none")
    >>> run.slices.shape, round(float(run.truth.shifts_px[1, 0]), 4)
    ((4, 32, 40), -1.2313)
    """
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(f"shape = {shape} must be three positive numbers: slices, rows, columns")
    if dtype not in DTYPES:
        raise InputError(f"dtype = {dtype!r} must be one of {', '.join(DTYPES)}")
    if not 1 <= oversample <= 8 or seed < 0:
        raise InputError(f"oversample = {oversample} must be 1 to 8 and seed = {seed} not negative")
    chosen = Artefacts.of(artefacts)
    truth = Truth(
        specimen=_specimen(specimen),
        geometry=Geometry(
            voxel_nm=(slice_nm, pixel_nm, pixel_nm),
            column_angle_deg=column_angle_deg,
            tilt_corrected=tilt_corrected,
            tracked=tracked,
            overtilt_deg=overtilt_deg,
        ),
        shape=shape,
        artefacts=chosen,
        seed=seed,
        oversample=oversample,
        dtype=dtype,
        sequences=draw_sequences(shape[0], slice_nm, chosen, seed),
    )
    return Acquisition(per_slice(lambda k: image(truth, k), shape, dtype), truth)


def _specimen(specimen: Specimen | str | dict[str, Any]) -> Specimen:
    if isinstance(specimen, Specimen):
        return specimen
    return make_specimen(specimen) if isinstance(specimen, str) else make_specimen(**specimen)


def image(truth: Truth, k: int) -> NDArray[Any]:
    """Render slice `k` (rows, columns) as stored, in the dtype of the acquisition."""
    reason = truth.bad_slices.get(k)
    if reason == "duplicate":
        return image(truth, k - 1)
    signal = np.zeros(truth.shape[1:]) if reason == "dead" else blur(truth, k, emission(truth, k))
    signal = truth.sequences.gain[k] * signal + truth.sequences.offset[k]
    if truth.artefacts.noise is not None:
        signal = effects.detect(signal, truth.artefacts.noise, generator(truth.seed, "noise", k))
    if reason == "truncated":
        kept = generator(truth.seed, "truncated", k).integers(truth.shape[1] // 4, max(1, 3 * truth.shape[1] // 4) + 1)
        signal[kept:] = 0
    white = value_range_of(truth.dtype)[1]
    return to_dtype(signal * white, truth.dtype)  # type: ignore[no-any-return]


def emission(truth: Truth, k: int) -> Float:
    """Signal (rows, columns) that leaves the face of slice `k`, before the beam blurs it."""
    on, specimen = truth.artefacts, truth.specimen
    _, dy, dx = truth.geometry.true_voxel_nm
    samples = truth.slice_samples(k)
    greys = np.asarray(specimen.greys)
    pore = per_pixel(samples == 0)
    signal = per_pixel(greys[samples])
    if on.shine_through is not None and specimen.porous:
        slope = tan(radians(truth.geometry.face_angle_deg))
        wall = effects.shine_through(
            specimen, *truth.coordinates_nm(k), slope, on.shine_through.decay_nm, on.shine_through.step_nm
        )
        signal = signal + pore * (wall - greys[0])
    if on.edge_rim is not None:
        signal = effects.edge_rim(signal, 1 - pore, on.edge_rim, (dy, dx))
    if on.shading is not None:
        signal = effects.shade(signal, on.shading)
    if on.curtains is not None:
        curtain = truth.slice_curtain(k)
        signal = signal + effects.curtain_signal(curtain, signal, greys.max(), on.curtains.multiplicative)
    if on.charging is not None:
        discs = inclusions(truth, k, on.charging.blobs, on.charging.radius_nm)
        signal = effects.charge(signal, discs, (dy, dx), on.charging, generator(truth.seed, "charging", k))
    return signal


def blur(truth: Truth, k: int, signal: Float) -> Float:
    """Convolve with the beam of slice `k`."""
    sigma_px = truth.sequences.defocus_px[k]
    if sigma_px == 0:
        return signal
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(signal, sigma_px, mode="nearest"))


def inclusions(truth: Truth, k: int, count: int, radius_nm: float) -> Float:
    """(m, 3) row, column and radius (nm) of the charging inclusions that slice `k` cuts."""
    n, rows, cols = truth.shape
    places = generator(truth.seed, "inclusions").random((count, 3))
    centre = places * [truth.slice_z_nm[-1], rows, cols]
    radius = np.sqrt(np.maximum(radius_nm**2 - (centre[:, 0] - truth.slice_z_nm[k]) ** 2, 0))
    at_centre = np.searchsorted(truth.slice_z_nm, centre[:, 0]).clip(0, n - 1)
    appear = centre[:, 1:] + truth.shifts_px[k] - truth.shifts_px[at_centre]
    return np.column_stack([appear, radius])[radius > 0]
