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
MIDDLE, SURFACE = 44, 88
"""Row of the mark and of the surface below it on slice 0."""
N = 40


def motion(seed, jitter_px=0.4):
    rng = np.random.default_rng(seed)
    path = np.cumsum(0.15 * rng.normal(size=(N, 2)), axis=0) + jitter_px * rng.normal(size=(N, 2))
    return path - path[0]


def with_mark(stack, path, columns=(120,), sideways=(0.0,)):
    """Put a plain layer with crosses over the upper part; each cross drifts sideways by so much per slice."""
    rows, cols = np.ogrid[-40 : SHAPE[0] + 40, -40 : SHAPE[1] + 40]
    rng = np.random.default_rng(50)
    crosses = []
    for column in columns:
        y, x = np.abs(rows - MIDDLE), np.abs(cols - column)
        crosses.append(gaussian_filter(np.where((np.minimum(y, x) < 5) & (np.maximum(y, x) < 18), 130.0, 0.0), 0.7))
    out = stack.copy()
    for k, (image, (dy, dx)) in enumerate(zip(out, path, strict=True)):
        layer = 190.0 - sum(
            shift(cross, (dy, dx + k * slope), order=3)[40:-40, 40:-40]
            for cross, slope in zip(crosses, sideways, strict=True)
        )
        end = round(SURFACE + dy)
        image[:end] = np.clip(np.rint(layer + 10 * rng.normal(size=SHAPE)), 0, 255)[:end]
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
    assert y0 < MIDDLE < y1
    assert x0 < 120 < x1
    assert not region.extruded
    assert away(region.path_px, truth).max() < 0.3


@pytest.mark.parametrize("wavelength_px", [20.0, 36.0])
def test_structure_that_changes_holds_no_static_region(lab, wavelength_px):
    truth = motion(2)
    stack = lab.Waves(2, wavelength_px, SHAPE, 120).stack(truth, dz_px=2.0, curtains=0.06)
    assert searched(stack, truth) is None


def test_a_column_zone_in_structure_is_no_mark(lab):
    """It is as static as a mark, but stands in the face."""
    truth = motion(8)
    stack = lab.Waves(8, 30.0, SHAPE, 120).stack(truth, dz_px=2.0)
    columns = lab.Waves(9, 24.0, SHAPE, 120).stack(truth, columns=0.05)
    for image, other, (dy, dx) in zip(stack, columns, truth, strict=True):
        zone = slice(round(50 + dy), round(130 + dy)), slice(round(60 + dx), round(150 + dx))
        image[zone] = other[zone]
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
    stack = with_mark(lab.Waves(6, 30.0, SHAPE, 120).stack(truth, dz_px=2.0), truth, sideways=(0.3,))
    drift = Drift(truth, np.linspace(0.1, 1.5, N))
    region = searched(stack, truth)
    assert region is not None
    assert anchored(stack, drift, region) is drift
    assert anchored(stack, Drift(truth, np.linspace(0.1, 9.0, N)), region).identifiable


def test_two_marks_that_move_apart_are_refused(lab):
    truth = motion(7)
    apart = {"columns": (60, 180), "sideways": (-0.15, 0.15)}
    both = with_mark(lab.Waves(7, 30.0, SHAPE, 120).stack(truth, dz_px=2.0), truth, **apart)
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
    assert plain.read_slices <= 1.2 * N
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
