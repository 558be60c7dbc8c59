"""Named sample acquisitions, each one specimen with the artefacts it is usually imaged with."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fibtomo.core.volume import Shape
from fibtomo.errors import InputError
from fibtomo.phantom.microscope import Acquisition, acquire
from fibtomo.phantom.packing import Particles, Polycrystal
from fibtomo.phantom.specimens import Layered, NanoporousMetal, Specimen, Tpms
from fibtomo.phantom.write import write_slices

SIZES: dict[str, Shape] = {
    "tiny": (16, 96, 128),
    "small": (32, 160, 192),
    "medium": (64, 320, 400),
    "large": (200, 512, 640),
}

MILD: dict[str, Any] = {
    "drift": {"rate_px": 0.02},  # the fiducial is found again before every slice
    "jitter": {"rms_px": 0.4},
    "curtains": {"rms": 0.025},
    "defocus": {"best_px": 0.5, "worst_px": 0.8},
    "flicker": {"gain": 0.02, "offset": 0.01},
    "noise": {"electrons": 250, "read": 0.01},
}


@dataclass(frozen=True)
class Sample:
    """One recipe.

    Attributes
    ----------
    description
        One line for people.
    specimen
        Its seed is replaced by the caller's.
    pixel_nm, slice_nm, column_angle_deg, tilt_corrected
        The acquisition.
    artefacts
        Those switched on.
    vendor, z_in_names
        Style of the files.
    """

    description: str
    specimen: Specimen
    pixel_nm: float
    slice_nm: float
    column_angle_deg: float = 52.0
    tilt_corrected: bool = False
    artefacts: dict[str, Any] = field(default_factory=lambda: MILD)
    vendor: str = "thermo"
    z_in_names: bool = False


SILVER = NanoporousMetal(greys=(0.28, 0.72), wavelength_nm=170.0, solid_fraction=0.4)
BINDER = NanoporousMetal(greys=(0.2, 0.48), wavelength_nm=400.0, solid_fraction=0.45)

SAMPLES: dict[str, Sample] = {
    "nanoporous-silver": Sample(
        "nanoporous silver, pores filled with resin, 52 degrees, no tilt correction", SILVER, 5.0, 10.0
    ),
    "nanoporous-silver-unfilled": Sample(
        "nanoporous silver with empty pores: back walls shine through, bright rims",
        SILVER,
        5.0,
        10.0,
        artefacts={**MILD, "shine_through": {"decay_nm": 80.0}, "edge_rim": {"gain": 0.15}},
    ),
    "battery-electrode": Sample(
        "active particles, binder and resin-filled pores: three greys, tilt-corrected scan",
        Particles(greys=(0.2, 0.48, 0.8), radius_nm=260.0, spread=0.25, fraction=0.32, matrix=BINDER),
        10.0,
        20.0,
        tilt_corrected=True,
        artefacts={**MILD, "shading": {"bottom": 0.1, "side": 0.0}},
    ),
    "layered-alloy": Sample(
        "three inclined, slightly wavy lamellae of an alloy, Zeiss-style files at 54 degrees",
        Layered(waviness_nm=15.0),
        5.0,
        10.0,
        column_angle_deg=54.0,
        vendor="zeiss",
        z_in_names=True,
    ),
    "gyroid": Sample(
        "gyroid labyrinth of known area and Euler number", Tpms(surface="gyroid", period_nm=240.0), 5.0, 10.0
    ),
    "polycrystal": Sample(
        "grains with channelling contrast, TESCAN-style files at 55 degrees",
        Polycrystal(grain_nm=260.0),
        5.0,
        10.0,
        column_angle_deg=55.0,
        vendor="tescan",
    ),
}


def samples() -> dict[str, str]:
    """Names of the samples with one line each.

    Examples
    --------
    >>> "nanoporous-silver" in samples()
    True
    """
    return {name: sample.description for name, sample in SAMPLES.items()}


def acquire_sample(name: str, *, size: str | Shape = "medium", seed: int = 0) -> Acquisition:
    """Make a named sample acquisition without writing it.

    Parameters
    ----------
    name
        One of `samples`.
    size
        "tiny", "small", "medium", "large", or (slices, rows, columns).
    seed
        Seed of specimen and artefacts.

    Raises
    ------
    InputError
        The name or size is not known.

    Examples
    --------
    >>> acquire_sample("gyroid", size=(2, 16, 20)).slices.shape
    (2, 16, 20)
    """
    if name not in SAMPLES:
        raise InputError(f"sample {name!r} does not exist (there are: {', '.join(SAMPLES)})")
    if isinstance(size, str) and size not in SIZES:
        raise InputError(f"size = {size!r} must be one of {', '.join(SIZES)}, or (slices, rows, columns)")
    sample = SAMPLES[name]
    return acquire(
        _reseeded(sample.specimen, seed),
        shape=SIZES[size] if isinstance(size, str) else size,
        pixel_nm=sample.pixel_nm,
        slice_nm=sample.slice_nm,
        column_angle_deg=sample.column_angle_deg,
        tilt_corrected=sample.tilt_corrected,
        seed=seed,
        artefacts=sample.artefacts,
    )


def write_sample(name: str, folder: str | Path, *, size: str | Shape = "medium", seed: int = 0) -> Acquisition:
    """Write a named sample acquisition with its ground truth into a new folder.

    Parameters
    ----------
    name, size, seed
        As for `acquire_sample`.
    folder
        New or empty folder.

    Returns
    -------
    Acquisition
        What was written.

    Raises
    ------
    InputError
        The name or size is not known.
    OutputError
        The folder holds something already, or cannot be written.
    """
    acquisition = acquire_sample(name, size=size, seed=seed)
    write_slices(acquisition, folder, vendor=SAMPLES[name].vendor, z_in_names=SAMPLES[name].z_in_names)
    return acquisition


def _reseeded(specimen: Specimen, seed: int) -> Specimen:
    """`specimen` (and what it holds) with another seed, where it has one."""
    changes: dict[str, Any] = {"seed": seed} if hasattr(specimen, "seed") else {}
    matrix = getattr(specimen, "matrix", None)
    if matrix is not None:
        changes["matrix"] = _reseeded(matrix, seed)
    return replace(specimen, **changes)
