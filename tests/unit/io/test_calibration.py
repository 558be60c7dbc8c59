"""Which source wins, what is assumed, and that contradictions are shown."""

from dataclasses import replace

import numpy as np
import pytest

from fibtomo.core.resolve import resolve_geometry
from fibtomo.core.volume import Calibration, Sourced
from fibtomo.errors import CalibrationError, InputError
from fibtomo.io import open as opening
from fibtomo.io import vendor
from fibtomo.io.calibrate import merge, slice_positions
from fibtomo.io.facts import UserFacts
from fibtomo.io.open import open_stack
from fibtomo.io.vendor.info import ProjectInfo, VendorInfo

TAGS = Calibration(
    pixel_nm=Sourced((5.0, 5.0), "tag", "given"),
    column_angle_deg=Sourced(52.0, "vendor default", "default"),
    tilt_corrected=Sourced(False, "tag", "given"),
)
PROJECT = Calibration(slice_nm=Sourced(20.0, "project", "given"), column_angle_deg=Sourced(54.0, "project", "given"))


def test_precedence():
    merged, findings = merge(UserFacts(column_angle_deg=53), [PROJECT, TAGS], volume=False)
    assert merged.column_angle_deg == Sourced(53.0, "user", "given")
    assert merged.slice_nm.origin == "project"
    assert merged.tilt_corrected.value is False
    assert [f.kind for f in findings] == ["contradiction"]
    assert "53 (user) is used, but project says 54" in findings[0].message


def test_a_default_never_beats_a_fact_and_is_no_contradiction():
    merged, findings = merge(UserFacts(), [TAGS, PROJECT], volume=False)
    assert merged.column_angle_deg.value == 54.0
    assert findings == []


def test_image_tags_beat_the_project_for_the_pixel():
    planned = replace(PROJECT, pixel_nm=Sourced((10.0, 10.0), "project", "given"))
    merged, findings = merge(UserFacts(), [planned, TAGS], volume=False)
    assert merged.pixel_nm.value == (5.0, 5.0)
    assert "10 × 10" in findings[0].message


@pytest.mark.parametrize(("given", "warned"), [((10, 5, 5.04), False), ((10, 5, 5.2), True)])
def test_contradictions_over_one_percent(given, warned):
    _, findings = merge(UserFacts(voxel_nm=given), [TAGS], volume=False)
    assert bool(findings) is warned


def test_parts_of_the_voxel_size_may_come_from_the_tags():
    merged, _ = merge(UserFacts(voxel_nm=(10, None, None)), [TAGS], volume=False)
    assert merged.slice_nm.value == 10
    assert merged.pixel_nm.origin == "tag"


def test_the_given_voxel_size_alone_is_true_spacing(volume):
    stack = open_stack(volume, voxel_nm=(10, 6, 5))
    geometry = resolve_geometry(stack.calibration, shear_from_images=False)
    assert geometry.true_voxel_nm == (10, 6, 5)
    assert any("--tilt-corrected no --column-angle-deg 52" in text for text in stack.warnings)


def test_with_a_stated_tilt_nothing_is_assumed(volume):
    stack = open_stack(volume, voxel_nm=(10, 5, 5), tilt_corrected=False, column_angle_deg=52, tracked=False)
    assert stack.warnings == []
    geometry = resolve_geometry(stack.calibration, shear_from_images=False)
    assert geometry.y_factor == pytest.approx(1.26902, abs=1e-5)
    assert stack.tracked is False


def test_known_angle_leaves_the_question_open(volume):
    stack = open_stack(volume, voxel_nm=(10, 5, 5), column_angle_deg=52)
    assert stack.tilt_corrected is None
    with pytest.raises(CalibrationError, match="--tilt-corrected yes or --tilt-corrected no"):
        resolve_geometry(stack.calibration, shear_from_images=True)


def test_in_voxels(volume):
    stack = open_stack(volume, voxel_nm="unknown")
    assert stack.voxel_nm is None
    assert stack.spec.unit == "voxel"
    assert any("in voxels" in text for text in stack.warnings)
    assert resolve_geometry(stack.calibration, shear_from_images=False).true_voxel_nm == (1, 1, 1)


@pytest.mark.parametrize("voxel", [(10, 5), (10, 5, -5), (10, 5, float("nan")), "10 5 5", 5, (0, 5, 5)])
def test_voxel_size_that_makes_no_sense(volume, voxel):
    with pytest.raises(InputError, match=r"voxel_nm = .*--voxel-nm 10 5 5"):
        open_stack(volume, voxel_nm=voxel)


def test_angle_that_makes_no_sense(volume):
    with pytest.raises(InputError, match="column_angle_deg = 5.0 must lie between 20 and 90"):
        open_stack(volume, column_angle_deg=5)


def test_positions_must_ascend():
    calibration = Calibration(slice_nm=Sourced(10.0, "user", "given"))
    kept, findings = slice_positions(calibration, 3, None, 0, [0, 10, 5])
    assert not kept.slice_z_nm
    assert "do not ascend (slices 1 and 2: 10 and 5 nm)" in findings[0].message
    kept, findings = slice_positions(calibration, 3, None, 0, [100, 130, 160])
    assert kept.slice_z_nm.value == (0, 30, 60)
    assert "10 nm (user), but the positions from z in the file names have a median step of 30" in findings[0].message
    kept, _ = slice_positions(Calibration(), 3, None, 0, [100, 130, 160])
    assert kept.slice_nm.value == 30


@pytest.fixture
def faked(monkeypatch):
    """Let every image and folder have made-up vendor facts."""

    def fake(by_name, project=None):
        monkeypatch.setattr(vendor, "read_vendor", lambda path: by_name(path))
        monkeypatch.setattr(vendor, "read_project", lambda folder: project)

    return fake


def test_measured_thickness_of_a_project(write_folder, volume, faked, tmp_path):
    thickness = dict.fromkeys(range(1, 9), 10.0) | {4: 14.0}
    measured = Sourced((0.0,), "project MeasuredThickness", "measured")
    calibration = Calibration(slice_nm=Sourced(10.0, "project", "given"), slice_z_nm=measured)
    project = ProjectInfo("X", tmp_path / "p.dat", calibration, {}, thickness, {"job": Sourced("a", "p", "given")})
    faked(lambda path: VendorInfo("X", TAGS, {"dwell_us": Sourced(3.0, "tag", "given")}, detector="ETD"), project)
    stack = open_stack(write_folder(volume, numbers=[1, 2, 3, 4, 6, 7]))
    np.testing.assert_allclose(stack.slice_z_nm, [0, 10, 20, 34, 54, 64])
    assert stack.channels == ("ETD",)
    assert stack.voxel_nm == (10, 5, 5)
    assert {"job", "dwell_us", "vendor"} <= set(stack.metadata)
    assert stack.metadata["dwell_us"].origin == "tag"


def test_pixel_size_that_changes_within_the_stack(write_folder, volume, faked):
    def info(path):
        size = 5.0 if path.name < "slice_0004" else 6.0
        return VendorInfo("X", Calibration(pixel_nm=Sourced((size, size), "tag", "given")))

    faked(info)
    stack = open_stack(write_folder(volume))
    assert any("5 nm in slice_0000.tif, 6 nm in slice_0005.tif" in text for text in stack.warnings)


def test_vendor_rows_cut_the_info_bar(write_folder, volume, faked):
    faked(lambda path: VendorInfo("X", image_rows=33))
    stack = open_stack(write_folder(volume))
    assert stack.shape == (6, 33, 50)
    np.testing.assert_array_equal(stack.read(0, 6), volume[:, :33])
    np.testing.assert_array_equal(np.asarray(stack.data), volume[:, :33])
    assert open_stack(write_folder(volume), crop_info_bar=False).shape == (6, 40, 50)


def test_only_three_files_are_asked_for_metadata(write_folder, volume, faked):
    asked = []
    faked(lambda path: asked.append(path.name))
    open_stack(write_folder(volume))
    assert asked == ["slice_0000.tif", "slice_0003.tif", "slice_0005.tif"]
    assert opening.evenly(range(1)) == [0]
