"""Black, white, decay and noise of virtual stacks, found from their rays."""

import itertools
from functools import cache
from math import radians, tan

import numpy as np
import pytest

from fibtomo.errors import InputError
from fibtomo.ops.light_decay import LAGS, fit_light, sample_rays
from fibtomo.phantom import acquire

DOWN = 1 / tan(radians(52.0))


@cache
def stack(seed, decay_nm, porosity=0.6, size_nm=180.0, noise=0.03, angle=52.0):
    artefacts = {"noise": {"electrons": 1.4 / noise**2, "read": 0.7 * noise}, "jitter": {"rms_px": 0.1}}
    if decay_nm:
        artefacts["shine_through"] = {"decay_nm": decay_nm, "step_nm": 5.0}
    metal = {"kind": "nanoporous_metal", "wavelength_nm": size_nm, "solid_fraction": 1 - porosity, "seed": seed}
    return acquire(
        metal | {"greys": (0.2, 0.7)}, shape=(56, 72, 72), pixel_nm=10.0, slice_nm=10.0, column_angle_deg=angle,
        tilt_corrected=True, tracked=True, seed=seed, artefacts=artefacts, oversample=1,
    )  # fmt: skip


def fitted(volume, rows_per_slice=DOWN, **options):
    return fit_light([sample_rays(volume, 0, (0, len(volume)), volume.shape, rows_per_slice, **options)])


@pytest.mark.parametrize(("seed", "decay_nm"), [(501, 60.0), (502, 150.0), (503, 360.0)])
def test_light_of_open_pores(seed, decay_nm):
    found = fitted(stack(seed, decay_nm).slices)
    assert found.light.decay_slices == pytest.approx(decay_nm / 10, rel=0.2)
    assert found.light.black / 255 == pytest.approx(0.2, abs=0.05)
    assert found.light.white / 255 == pytest.approx(0.7, abs=0.02)
    assert found.light.noise == pytest.approx(0.03 / 0.5, rel=0.35)
    assert not found.upwards
    assert not found.blind


@pytest.mark.parametrize("seed", [504, 505])
def test_nothing_shines_through_filled_pores(seed):
    found = fitted(stack(seed, 0.0).slices)
    assert found.light.decay_slices == 0
    assert found.light.black / 255 == pytest.approx(0.2, abs=0.03)


def test_rows_that_run_up_are_told():
    found, upright = fitted(stack(502, 150.0).slices[:, ::-1]), fitted(stack(502, 150.0).slices)
    assert found.upwards
    assert found.light.decay_slices == pytest.approx(upright.light.decay_slices, rel=0.1)


def test_slabs_give_the_same_light_as_the_whole():
    volume, whole = stack(502, 150.0).slices, fitted(stack(502, 150.0).slices)
    for cut in ((0, 7, 8, 30, 56), (0, 56), tuple(range(57))):
        slabs = [
            sample_rays(volume[a : b + LAGS[-1]], a, (0, b - a), volume.shape, DOWN) for a, b in itertools.pairwise(cut)
        ]
        assert fit_light(slabs) == whole


def test_what_is_not_seen_does_not_count():
    volume = stack(502, 150.0).slices.copy()
    seen = np.ones(volume.shape, bool)
    seen[:, :, :20] = False
    volume[~seen] = 255
    found = fitted(volume, seen=seen)
    assert found.light.white / 255 == pytest.approx(0.7, abs=0.02)
    assert found.light.decay_slices == pytest.approx(15, rel=0.25)


def test_a_piece_too_small_is_blind_and_counts_as_filled():
    found = fitted(stack(502, 150.0).slices[:12])
    assert found.blind
    assert found.light.decay_slices == 0


def test_one_grey_or_nothing_seen_is_refused():
    flat = np.full((24, 48, 48), 90, np.uint8)
    with pytest.raises(InputError, match="one grey only"):
        fitted(flat)
    with pytest.raises(InputError, match="no place"):
        fitted(flat, seen=np.zeros(flat.shape, bool))
