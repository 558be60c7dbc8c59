"""A static region found by itself: where it is taken, how well it tells the motion, and what is refused."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

import fibtomo
from fibtomo.core.drift import Drift
from fibtomo.ops.drift_anchor import anchor_to_region
from fibtomo.ops.static_region import find_static_region, measure_static, probed_slices
from fibtomo.phantom import describe, make_specimen
from fibtomo.phantom.fiducial import Fiducial

SHAPE = (200, 240)
BOX = (20, 76, 120, 184)
"""Rows and columns of a plate with a cross on slice 0."""
N = 40


def motion(seed, jitter_px=0.4):
    rng = np.random.default_rng(seed)
    path = np.cumsum(0.15 * rng.normal(size=(N, 2)), axis=0) + jitter_px * rng.normal(size=(N, 2))
    return path - path[0]


def with_mark(stack, path, seed=0):
    """Cover a part of every slice by a plate with a cross that moves along `path`."""
    y0, y1, x0, x1 = BOX
    rows, cols = np.ogrid[: y1 - y0, : x1 - x0]
    arms = (np.abs(rows - (y1 - y0) // 2) < 5) | (np.abs(cols - (x1 - x0) // 2) < 5)
    inner = (np.abs(rows - (y1 - y0) // 2) < 18) & (np.abs(cols - (x1 - x0) // 2) < 20)
    mark = np.zeros(stack.shape[1:])
    mark[y0:y1, x0:x1] = gaussian_filter(np.where(arms & inner, 60.0, 190.0), 0.7)
    plate = np.zeros(mark.shape)
    plate[y0:y1, x0:x1] = 1.0
    rng = np.random.default_rng(50 + seed)
    out = stack.copy()
    for image, move in zip(out, path, strict=True):
        here = shift(plate, move, order=1) > 0.5
        seen = shift(mark, move, order=3, mode="nearest") + 10 * rng.normal(size=mark.shape)
        image[here] = np.clip(np.rint(seen), 0, 255)[here]
    return out


def away(shifts, truth):
    error = shifts - truth
    return np.sqrt(((error - error.mean(axis=0)) ** 2).mean(axis=0))


def searched(stack, shifts):
    """Region that the probed slices show."""
    probes = probed_slices(len(stack))
    return find_static_region(measure_static(stack[probes])["thumbnails"], probes, shifts, stack.shape[1:])


def anchored(stack, drift, region):
    return anchor_to_region(drift, region, np.stack([region.cut(image, k) for k, image in enumerate(stack)]))


@pytest.fixture(scope="module")
def marked(lab):
    """Bicontinuous structure with a mark, and its motion."""
    truth = motion(1)
    return with_mark(lab.Waves(1, 30.0, SHAPE, 120).stack(truth, dz_px=2.0, curtains=0.04), truth), truth


def test_a_mark_is_found_and_decides_both_axes(marked):
    stack, truth = marked
    found = fibtomo.estimate_drift(stack)
    assert found.identifiable
    assert away(found.shifts_px, truth).max() < 0.15
    assert found.sigma_px.max() < 0.3
    assert sum("A static region was found at rows" in note for note in found.notes) == 1
    assert not any("Only the images speak" in note for note in found.notes)


def test_the_region_lies_on_the_mark(marked):
    stack, truth = marked
    region = searched(stack, truth)
    y0, y1, x0, x1 = region.roi
    middle = (BOX[0] + BOX[1]) / 2, (BOX[2] + BOX[3]) / 2
    assert y0 < middle[0] < y1
    assert x0 < middle[1] < x1
    assert not region.extruded
    assert away(region.path_px, truth).max() < 0.3


@pytest.mark.parametrize("wavelength_px", [20.0, 36.0])
def test_structure_that_changes_holds_no_static_region(lab, wavelength_px):
    truth = motion(2)
    stack = lab.Waves(2, wavelength_px, SHAPE, 120).stack(truth, dz_px=2.0, curtains=0.06)
    assert searched(stack, truth) is None


def test_columns_alone_are_no_reference(lab):
    """Everything looks static; the images follow the lean."""
    truth = motion(3)
    lean = np.outer(np.arange(N), (0.35, 0.0))
    stack = lab.Waves(3, 24.0, SHAPE, 120).stack(truth, columns=0.35)
    assert searched(stack, truth + lean) is None


def test_lean_of_columns_beside_a_mark_is_told(lab):
    """10 degrees: 0.35 rows per slice with slices twice as thick as rows."""
    truth = motion(4)
    per_slice = 2 * np.tan(np.radians(10.0))
    stack = with_mark(lab.Waves(4, 24.0, SHAPE, 120).stack(truth, columns=per_slice), truth)
    columns = truth + np.outer(np.arange(N), (per_slice, 0.0))
    images = fibtomo.estimate_drift(stack, slow="keep")
    found = fibtomo.estimate_drift(stack)
    assert found.identifiable
    assert "as leaning columns do" in found.notes[-1]
    assert away(found.shifts_px, truth).max() < 0.3
    assert lean_deg(columns - found.shifts_px) == pytest.approx(10.0, abs=0.5)
    assert lean_deg(columns - images.shifts_px) < 3.0


def lean_deg(path):
    """Lean in the corrected volume of what moves along `path` there."""
    return np.degrees(np.arctan(np.polyfit(np.arange(N), path[:, 0], 1)[0] / 2))


@pytest.mark.parametrize("jitter_px", [0.4, 0.1, 0.0])
def test_what_belongs_to_the_frame_is_refused(lab, jitter_px):
    """Dirt on the detector stays where it is; its path among slices that jitter is rough, or does not follow them."""
    truth = motion(5, jitter_px)
    stack = with_mark(lab.Waves(5, 30.0, SHAPE, 120).stack(truth, dz_px=2.0), np.zeros((N, 2)))
    region = searched(stack, truth)
    drift = Drift(truth, np.linspace(0.1, 3.0, N))
    assert (region is None) == (jitter_px > 0.2)
    assert region is None or anchored(stack, drift, region) is drift


def test_an_inclined_mark_is_refused(lab):
    """Half of a chevron moves steadily against a specimen that leans nowhere."""
    truth = motion(6)
    inclined = truth + np.outer(np.arange(N), (0.0, 0.3))
    stack = with_mark(lab.Waves(6, 30.0, SHAPE, 120).stack(truth, dz_px=2.0), inclined)
    drift = Drift(truth, np.linspace(0.1, 1.5, N))
    region = searched(stack, truth)
    assert region is not None
    assert anchored(stack, drift, region) is drift
    assert anchored(stack, Drift(truth, np.linspace(0.1, 9.0, N)), region).identifiable


def test_two_marks_that_move_apart_are_refused(lab):
    truth = motion(7)
    sideways = np.outer(np.arange(N), (0.0, 0.15))
    both = with_mark(lab.Waves(7, 30.0, SHAPE, 120).stack(truth, dz_px=2.0), truth + sideways)
    both = np.roll(with_mark(np.roll(both, -100, axis=1), truth - sideways), 100, axis=1)
    assert searched(both, truth) is None


def test_a_short_stack_is_not_searched(marked):
    stack, truth = marked
    assert searched(stack[:16], truth[:16]) is None


def test_places_given_by_hand_stay(marked):
    stack, truth = marked
    region = searched(stack, truth)
    pinned = Drift(truth, np.where(np.arange(N) == 9, 0.0, 1.0))
    assert anchored(stack, pinned, region) is pinned


class Counted:
    """A stack that counts how many slices are read."""

    def __init__(self, slices):
        self.slices, self.spec, self.read_slices = slices, slices, 0

    def read(self, z0, z1):
        self.read_slices += z1 - z0
        return self.slices[z0:z1]


def test_slices_are_read_again_only_where_something_stands_out(lab, marked):
    plain = Counted(lab.Waves(2, 20.0, SHAPE, 120).stack(motion(2), dz_px=2.0))
    with_one = Counted(marked[0])
    for stack in (plain, with_one):
        fibtomo.estimate_drift(stack, workers=1)
    assert plain.read_slices < 1.2 * N
    assert with_one.read_slices == plain.read_slices + N


def test_a_run_finds_it_too(marked, tmp_path):
    stack, truth = marked
    facts = {"voxel_nm": (10, 5, 5), "column_angle_deg": 52, "tilt_corrected": True, "tracked": True}
    free = ["drift.anchor.region=off", "drift.anchor.edges=off"]
    found = fibtomo.run(stack, tmp_path / "a", "drift-only", **facts).drift
    assert found.identifiable
    assert away(found.shifts_px, truth).max() < 0.2
    assert not fibtomo.run(stack, tmp_path / "b", "drift-only", settings=free, **facts).drift.identifiable


def test_the_phantom_of_a_mark_is_the_same_on_every_slice():
    for shape in ("cross", "dot", "lines"):
        specimen = Fiducial(shape=shape, at_nm=(100.0, 120.0), size_nm=80.0, arm_nm=16.0, plate_nm=120.0)
        y, x = np.arange(50.0, 150.0, 5.0)[:, None], np.arange(70.0, 170.0, 5.0)
        first, last = (specimen.phase(z, y, x) for z in (0.0, 500.0))
        np.testing.assert_array_equal(first, last)
        assert set(np.unique(first)) == {2, 3}
        assert make_specimen(**describe(specimen)) == specimen
