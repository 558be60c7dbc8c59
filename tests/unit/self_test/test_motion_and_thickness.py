"""Mean motion, logs and the decay of likeness: tracked or fixed, and how thick slices are."""

from itertools import product
from time import process_time
from types import SimpleNamespace

import numpy as np
import pytest

from fibtomo.core.volume import Calibration, Sourced
from fibtomo.io.logs import SliceLog
from fibtomo.ops.isotropy import Isotropy
from fibtomo.ops.self_test import motion_evidence, thickness_evidence
from fibtomo.ops.tile_spectra import make_tiles
from fibtomo.phantom import acquire
from fibtomo.phantom.samples import MILD
from fibtomo.phantom.specimens import NanoporousMetal
from fibtomo.pipeline.self_test import examine

FINE = NanoporousMetal(greys=(0.28, 0.72), wavelength_nm=100.0)
FIXED_PX = 1.231


@pytest.mark.parametrize("advance_px", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("seed", range(2))
def test_thickness_follows_from_the_decay_of_likeness(random_slices, seen, advance_px, seed):
    found = seen(random_slices(1.0, 24, advance_px=advance_px, noise=0.2, seed=seed, shape=(24, 192, 192)))["slice_nm"]
    assert found.value == pytest.approx(5.0 * advance_px, rel=0.25)
    assert abs(found.value - 5.0 * advance_px) < 3 * found.numbers["slice_nm_sigma"]
    assert not found.decisive


def test_thickness_in_foreshortened_rows_is_the_same(random_slices, seen):
    found = seen(random_slices(0.788, 24, noise=0.2, shape=(24, 192, 192)))["slice_nm"]
    assert found.value == pytest.approx(10.0, rel=0.25)


@pytest.mark.parametrize("advance_px", [0.05, 60.0])
def test_twins_and_strangers_have_no_thickness(random_slices, seen, advance_px):
    found = seen(random_slices(1.0, 14, advance_px=advance_px, noise=0.2, shape=(8, 160, 160)))["slice_nm"]
    assert found.value is None, found.text
    assert thickness_evidence(None, 5.0).value is None


@pytest.mark.parametrize(
    ("moved", "value", "decisive"),
    [
        (0.02, True, True),
        (-1.2, False, True),
        (-0.61, None, False),
        (-2.6, None, False),
        (1.9, None, False),
    ],
)
def test_motion_tells_a_field_that_follows_the_face(moved, value, decisive):
    found, warning = motion_evidence((moved, 0.03), FIXED_PX, 400, None)
    assert (found.value, found.decisive, warning) == (value, decisive, "")
    assert f"{moved:+.2f}" in found.text


def test_short_stacks_are_less_sure_as_slow_drift_does_not_average_out():
    assert motion_evidence((0.0, 0.01), FIXED_PX, 400, None)[0].numbers["motion_px_sigma"] < 0.1
    assert motion_evidence((0.0, 0.01), 0.7, 10, None)[0].numbers["motion_px_sigma"] == pytest.approx(0.2, abs=0.01)
    assert not motion_evidence((0.0, 0.01), 0.7, 10, None)[0].decisive


def test_motion_the_wrong_way_is_a_warning_and_no_verdict():
    found, warning = motion_evidence((1.2, 0.03), FIXED_PX, 200, None)
    assert (found.value, found.decisive) == (None, False)
    assert "--orientation rotated-180" in warning


@pytest.mark.parametrize("moved", [-1.2, -0.5, 0.0, 1.2])
def test_light_from_behind_moves_by_itself(moved):
    behind = Isotropy(0.8, 0.03, 0.0, 900.0, behind=0.05)
    found, warning = motion_evidence((moved, 0.03), FIXED_PX, 200, behind)
    assert (found.value, found.decisive, warning) == (None, False, "")
    assert "behind" in found.text


@pytest.mark.slow
@pytest.mark.parametrize("decay_nm", [60.0, 150.0, 400.0])
@pytest.mark.parametrize("wavelength_nm", [90.0, 150.0])
def test_empty_pores_mislead_about_nothing(seen, decay_nm, wavelength_nm):
    for corrected, tracked, solid in product((True, False), (True, False), (0.3, 0.5)):
        run = acquire(
            NanoporousMetal(greys=(0.1, 0.72), wavelength_nm=wavelength_nm, solid_fraction=solid, seed=int(decay_nm)),
            shape=(24, 224, 256),
            tilt_corrected=corrected,
            tracked=tracked,
            artefacts={**MILD, "shine_through": {"decay_nm": decay_nm}, "edge_rim": {"gain": 0.2}},
            oversample=1,
        )
        found = seen(run.slices, tilt_corrected=corrected)
        assert found["tilt_corrected"].value in (corrected, None), found["tilt_corrected"].text
        assert found["tracked"].value in (tracked, None), found["tracked"].text
        assert not found["warnings"]


def test_no_motion_without_aligned_neighbours():
    assert motion_evidence(None, FIXED_PX, 200, None) == (motion_evidence(None, FIXED_PX, 200, None)[0], "")
    assert motion_evidence(None, FIXED_PX, 200, None)[0].value is None


SCALE = Calibration(
    pixel_nm=Sourced((5.0, 5.0), "tag", "given"),
    slice_nm=Sourced(10.0, "project", "given"),
    column_angle_deg=Sourced(52.0, "vendor default", "default"),
    tilt_corrected=Sourced(False, "tag", "given"),
)


class Logged:
    """Slices without any structure, and what was logged with them."""

    def __init__(self, slices, calibration=SCALE, **rates):
        self.slices, self.calibration = slices, calibration
        self.spec = SimpleNamespace(shape=slices.shape)
        index = tuple(range(0, 40, 4))
        self.logs = {
            name: SliceLog(index, tuple(rate * k for k in index), "nm", "header") for name, rate in rates.items()
        }

    def read(self, first, stop):
        return self.slices[first:stop]


def logged(**rates):
    return [
        item for item in examine(Logged(np.zeros((40, 128, 128), np.uint8), **rates)).evidence if item.value is not None
    ]


STILL = {"stage_y_nm": 0.0, "stage_z_nm": 0.0}


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("per_slice_nm", [10 * np.sin(np.radians(38)), 10 * np.tan(np.radians(38))])
def test_a_beam_that_was_shifted_as_the_face_moves_is_decisive(sign, per_slice_nm):
    (found,) = logged(beam_shift_y_nm=sign * per_slice_nm, **STILL)
    assert (found.fact, found.value, found.decisive) == ("tracked", True, True)


def test_a_beam_and_stage_that_stand_still_are_a_hint():
    (found,) = logged(beam_shift_y_nm=0.0, **STILL)
    assert (found.fact, found.value, found.decisive) == ("tracked", False, False)


@pytest.mark.parametrize(
    "rates",
    [{"beam_shift_y_nm": 0.0}, {"beam_shift_y_nm": 3.0, **STILL}, {"beam_shift_y_nm": 0.0, **STILL, "stage_z_nm": 6.0}],
    ids=["stage not logged", "shifted by something else", "stage moved"],
)
def test_logs_that_do_not_settle_it_say_nothing(rates):
    assert logged(**rates) == []


@pytest.mark.parametrize("corrected", [True, False])
@pytest.mark.parametrize("tracked", [True, False])
def test_slices_tell_how_the_field_moved(seen, corrected, tracked):
    run = acquire(
        FINE, shape=(24, 160, 192), tilt_corrected=corrected, tracked=tracked, artefacts={"noise": True}, oversample=1
    )
    found = seen(run.slices, tilt_corrected=corrected)["tracked"]
    assert found.value is tracked, found.text
    assert found.decisive


def test_images_on_their_heads_are_warned_about(seen):
    run = acquire(FINE, shape=(24, 160, 192), artefacts={"noise": True}, oversample=1)
    found = seen(run.slices[:, ::-1, ::-1], tilt_corrected=False)
    assert found["tracked"].value is None
    assert "--orientation rotated-180" in found["warnings"][0]
    assert seen(run.slices[:, ::-1, ::-1], tilt_corrected=False, orientation="rotated-180")["tracked"].value is False


@pytest.mark.parametrize(("n_slices", "bad"), [(1, ()), (3, ()), (24, ()), (5000, (1, 2000))])
def test_few_slices_are_read_and_few_at_a_time(n_slices, bad):
    read = []

    class Source:
        spec = SimpleNamespace(shape=(n_slices, 200, 200))
        calibration, bad_slices, logs = SCALE, bad, {}

        def read(self, first, stop):
            read.append(range(first, stop))
            return np.random.default_rng(first).integers(0, 255, (stop - first, 200, 200), dtype=np.uint8)

    examine(Source())
    assert sum(map(len, read)) <= 24
    assert max(map(len, read)) <= 4
    assert not set(bad) & {k for part in read for k in part}


def test_the_work_does_not_grow_with_the_width_of_slices(random_slices):
    wide = make_tiles(np.zeros((4096, 6000), np.uint8))
    assert (len(wide.corners), wide.size) == (36, 256)
    coarse = make_tiles(np.kron(random_slices(1.0, 24, shape=(4, 256, 256))[0], np.ones((8, 8), np.uint8)))
    assert coarse.binning > 1


@pytest.mark.slow
def test_wide_slices_take_seconds(seen):
    rng = np.random.default_rng(0)
    slices = rng.integers(0, 255, (24, 2048, 2048), dtype=np.uint8)
    before = process_time()
    seen(slices)
    assert process_time() - before < 12
