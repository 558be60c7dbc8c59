"""Random structures whose shape is known, cut into slices as a microscope would store them."""

import numpy as np
import pytest

import fibtomo
from fibtomo.pipeline.self_test import examine

FORESHORTENED = 0.788
"""Length along y over length along x of isotropic structures seen at 52 degrees without tilt correction."""


def _filtered(shape, wavelength_px, spectrum, scale, seed):
    """Gaussian random field, whose lengths along (z, y, x) are `scale` × those of an isotropic one."""
    white = np.random.default_rng([seed, 17]).standard_normal(shape, dtype=np.float32)
    fz, fy, fx = (
        np.fft.fftfreq(shape[0])[:, None, None] * scale[0],
        np.fft.fftfreq(shape[1])[None, :, None] * scale[1],
        np.fft.rfftfreq(shape[2])[None, None, :] * scale[2],
    )
    r = np.sqrt(fz**2 + fy**2 + fx**2).astype(np.float32) * wavelength_px
    power = {
        "gaussian": lambda: np.exp(-(r**2)),
        "shell": lambda: np.exp(-((r - 1) ** 2) / (2 * 0.25**2)),
        "exponential": lambda: (0.2 + r**2) ** -2.0,
    }[spectrum]()
    from scipy.fft import irfftn, rfftn

    field = irfftn(rfftn(white) * np.sqrt(power), s=shape)
    return field / field.std()


def _random_slices(
    ratio=1.0,
    wavelength_px=14.0,
    *,
    spectrum="shell",
    advance_px=2.0,
    scale=(1.0, 1.0, 1.0),
    shape=(24, 256, 256),
    phases=True,
    noise=0.0,
    cut=0.0,
    seed=0,
    dtype="uint8",
):
    """Slices of a Gaussian random field, or of the two phases it parts; contrast is 1, `noise` a share of it.

    `scale` stretches the specimen along (z, y, x), `ratio` is what the scan leaves of lengths along y.
    """
    z, y, x = scale
    stored = (z / advance_px, y * ratio, x)
    grey = _filtered(shape, wavelength_px, spectrum, stored, seed)
    if phases:
        from scipy.ndimage import gaussian_filter

        grey = gaussian_filter((grey > cut).astype(np.float32), (0, 0.6, 0.6))
    else:
        grey = grey / 3
    grey = grey + noise * np.random.default_rng([seed, 18]).standard_normal(shape, dtype=np.float32)
    if dtype == "float32":
        return grey.astype(np.float32)
    return np.clip(90 + 70 * grey, 0, 255).astype(dtype)


def _seen(slices, voxel_nm=(10.0, 5.0, 5.0), **facts):
    """Evidence by fact for a stack of 52 degree columns without a header."""
    facts = {"column_angle_deg": 52.0} | facts
    found = examine(fibtomo.open_stack(slices, voxel_nm=voxel_nm, **facts))
    return {item.fact: item for item in found.evidence} | {"warnings": found.warnings}


@pytest.fixture(scope="session")
def random_slices():
    """``random_slices(ratio, wavelength_px, ...)``: slices of a Gaussian random field."""
    return _random_slices


@pytest.fixture(scope="session")
def seen():
    """``seen(slices, ...)``: evidence by fact."""
    return _seen
