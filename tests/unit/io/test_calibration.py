"""Which source wins, what is assumed, and that contradictions are shown."""

import re
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from fibtomo import phantom
from fibtomo.core.resolve import resolve_geometry
from fibtomo.core.volume import UNKNOWN, Calibration, Sourced
from fibtomo.errors import CalibrationError, InputError
from fibtomo.io import open as opening
from fibtomo.io import vendor
from fibtomo.io.calibrate import merge, slice_positions
from fibtomo.io.facts import UserFacts
from fibtomo.io.open import open_stack
from fibtomo.io.vendor.info import ProjectInfo, VendorInfo
from fibtomo.phantom.headers import Frame, thermo_text

TAGS = Calibration(
    pixel_nm=Sourced((5.0, 5.0), "tag", "given"),
    column_angle_deg=Sourced(52.0, "vendor default", "default"),
    tilt_corrected=Sourced(False, "tag", "given"),
)
FACTS = {
    "pixel_nm": ((5.0, 5.0), (6.0, 6.0)),
    "slice_nm": (10.0, 20.0),
    "column_angle_deg": (52.0, 54.0),
    "tilt_corrected": (True, False),
    "tracked": (False, True),
    "overtilt_deg": (1.0, 2.0),
    "face_tilt_deg": (38.0, 36.0),
    "sample_tilt_deg": (52.0, 50.0),
    "orientation": ("upright", "rotated-180"),
}
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
    with pytest.raises(InputError, match=r"column_angle_deg = 0\.0 must lie between 20 and 90"):
        open_stack(volume, column_angle_deg=0)
    with pytest.raises(InputError, match=r"column_angle_deg = 5\.0 must lie between 20 and 90"):
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


@st.composite
def told(draw):
    """One fact as some sources tell it: confidence, or None where a source is silent."""
    return [draw(st.sampled_from([None, "given", "measured", "default", "guess"])) for _ in range(4)]


@given(told(), st.booleans(), st.sampled_from([n for n in FACTS if n != "pixel_nm"]))
@settings(max_examples=80)
def test_the_first_sure_source_wins_and_only_else_the_first_unsure(told, by_user, name):
    values = [FACTS[name][k % 2] for k in range(4)]
    sources = [
        Calibration(**{name: Sourced(value, f"source {k}", confidence)}) if confidence else Calibration()
        for k, (value, confidence) in enumerate(zip(values, told, strict=True))
    ]
    user = UserFacts(**{name: FACTS[name][0]}) if by_user and name in UserFacts.__dataclass_fields__ else UserFacts()
    merged, findings = merge(user, sources, volume=False)
    chosen = getattr(merged, name)
    sure = [k for k, confidence in enumerate(told) if confidence in ("given", "measured")]
    unsure = [k for k, confidence in enumerate(told) if confidence in ("default", "guess")]
    stated = user != UserFacts()
    expected = "user" if stated else f"source {(sure or unsure or [-1])[0]}"
    assert chosen.origin == (expected if stated or sure or unsure else "unknown")
    used = FACTS[name][0] if stated else values[(sure or [0])[0]]
    clashes = [f for f in findings if f.kind == "contradiction"]
    assert len(clashes) == sum(values[k] != used for k in (sure if stated else sure[1:]))


@given(st.lists(st.sampled_from([None, "given", "default", "guess"]), min_size=3, max_size=3))
def test_of_the_pixel_the_images_know_more_than_the_project(told):
    sources = [
        Calibration(pixel_nm=Sourced((k + 1.0, k + 1.0), f"source {k}", c)) if c else Calibration()
        for k, c in enumerate(told)
    ]
    merged, _ = merge(UserFacts(), sources, volume=False)
    sure = [k for k, c in enumerate(told) if c == "given"]
    rest = [k for k, c in enumerate(told) if c]
    assert merged.pixel_nm.origin == (f"source {(sure or rest)[-1]}" if rest else "unknown")


def test_a_contradiction_shows_both_voxels():
    project = replace(PROJECT, tilt_corrected=Sourced(True, "project", "given"))
    _, (finding,) = merge(UserFacts(), [project, TAGS], volume=False)
    assert "yes: voxel 20 × 5 × 5 nm" in finding.message
    assert "no: voxel 20 × 6.18 × 5 nm" in finding.message


@pytest.mark.parametrize("stage_tilt", [0.0, 16.0, 38.0, 54.0])
def test_the_stage_tilt_is_never_the_column_angle(tmp_path, stage_tilt):
    run = phantom.acquire(shape=(2, 24, 32), artefacts="none", oversample=1)
    header = re.sub(
        r"(StageTa|StageT)=\S+", rf"\1={np.radians(stage_tilt):.9g}", thermo_text(Frame.of(run.truth, 0, 0))
    )
    for k, image in enumerate(run.slices):
        tags = [(34682, 2, 0, header.encode() + b"\0", True)]
        tifffile.imwrite(tmp_path / f"s_{k}.tif", image, metadata=None, extratags=tags)
    stack = open_stack(tmp_path, voxel_nm=(10, None, None))
    assert stack.metadata["stage_tilt_deg"].value == pytest.approx(stage_tilt, abs=1e-6)
    assert stack.calibration.column_angle_deg == Sourced(52.0, "Thermo/FEI default", "default")
    geometry = resolve_geometry(stack.calibration, shear_from_images=True)
    assert geometry.y_factor == pytest.approx(1.26902, abs=1e-5)
    assert stack.calibration.sample_tilt_deg.value == (pytest.approx(54.0) if stage_tilt == 54 else None)


def test_pixels_that_are_stretched_already_are_not_stretched_again():
    merged, findings = merge(UserFacts(voxel_nm=(10, 6.345, 5)), [TAGS], volume=False)
    assert merged.tilt_corrected.confidence == "guess"
    assert any("1.269 × the width" in f.message and "--tilt-corrected yes" in f.message for f in findings)
    for stated in (True, False):
        merged, findings = merge(UserFacts((10, 6.345, 5), tilt_corrected=stated), [TAGS], volume=False)
        assert merged.tilt_corrected == Sourced(stated, "user", "given")
        assert not any("times the width" in f.message for f in findings)


def test_a_thickness_alone_says_nothing_of_the_tilt():
    tags = replace(TAGS, tilt_corrected=UNKNOWN)
    for voxel in ((10, None, None), (10, 5, 5)):
        merged, _ = merge(UserFacts(voxel_nm=voxel), [tags], volume=False)
        assert not merged.tilt_corrected


def test_warnings_go_when_they_are_answered(write_folder, volume, faked):
    doubts = ["rows may be true: give --tilt-corrected yes or no", "no ion column: give --column-angle-deg", "damaged"]
    faked(lambda path: VendorInfo("X", Calibration(pixel_nm=TAGS.pixel_nm), warnings=doubts))
    folder = write_folder(volume)
    assert open_stack(folder).warnings == doubts
    assert open_stack(folder, tilt_corrected=True).warnings == doubts[1:]
    answered = {"tilt_corrected": False, "column_angle_deg": 54}
    assert open_stack(folder, **answered).warnings == ["damaged"]
    assert open_stack(open_stack(folder), **answered).warnings == ["damaged"]


@pytest.mark.parametrize("names", ["slice", ("slice_nm", "dz")])
def test_a_guess_that_cannot_be_accepted(volume, names):
    with pytest.raises(InputError, match=r"--accept-guess \w+ .* there are pixel_nm, slice_nm"):
        open_stack(volume, accept_guess=names)


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        ({"overtilt_deg": 80}, "over-tilt 80"),
        ({"face_tilt_deg": 95}, "face_tilt_deg = 95"),
        ({"sample_tilt_deg": 120}, "120"),
    ],
)
def test_angles_that_cannot_be(volume, fact, words):
    with pytest.raises(InputError, match=words):
        open_stack(volume, **fact)


@pytest.mark.parametrize("name", ["tilt_corrected", "tracked"])
def test_a_text_is_no_answer(volume, name):
    with pytest.raises(InputError, match=rf"{name} = 'no' must be True, False"):
        open_stack(volume, **{name: "no"})
    assert getattr(open_stack(volume, **{name: np.bool_(False)}), name) is False


def test_a_scale_ends_a_run_in_voxels(volume):
    stack = open_stack(open_stack(volume, voxel_nm="unknown"), voxel_nm=(10, 5, 5))
    assert stack.spec.unit == "nm"
    assert resolve_geometry(stack.calibration, shear_from_images=True).voxel_nm == (10, 5, 5)
