"""What a user can say about an acquisition, and what is refused until it is said."""

import json

import numpy as np
import pytest
import tifffile

import fibtomo
from fibtomo.cli.app import run_cli
from fibtomo.core.evidence import Evidence
from fibtomo.errors import CalibrationError
from fibtomo.phantom import acquire

ONLY_RESAMPLE = "stages: [geometry.resample]\ninput: {tracked: true%s}\n"


def says(capsys, code, *argv):
    assert run_cli([str(a) for a in argv]) == code, capsys.readouterr()
    got = capsys.readouterr()
    return " ".join((got.out + got.err).split())


@pytest.fixture(scope="module")
def slices():
    return acquire("nanoporous_metal", shape=(6, 48, 64), artefacts="none", oversample=1).slices


@pytest.fixture
def guessed(slices, tmp_path):
    """Slices whose pixel size is known from resolution tags only."""
    folder = tmp_path / "slices"
    folder.mkdir()
    for k, image in enumerate(slices):
        tifffile.imwrite(
            folder / f"s_{k}.tif", image, resolution=(2e6, 2e6), resolutionunit="CENTIMETER", metadata=None
        )
    return folder


@pytest.fixture
def pipeline(tmp_path):
    def write(more=""):
        path = tmp_path / "p.yaml"
        path.write_text(ONLY_RESAMPLE % more)
        return path

    return write


def run(folder, tmp_path, pipeline, **options):
    facts = {"voxel_nm": (10, None, None), "column_angle_deg": 52, "tilt_corrected": False} | options
    return fibtomo.run(folder, tmp_path / "out", pipeline, look=False, **facts)


def test_a_guess_stops_the_run_before_work(guessed, tmp_path, pipeline):
    with pytest.raises(CalibrationError, match=r"pixel_nm = 5 × 5 \(TIFF resolution tags\).*--accept-guess pixel_nm"):
        run(guessed, tmp_path, pipeline())
    assert not (tmp_path / "out" / "run.json").exists()


def test_an_accepted_guess_runs_and_stands_in_the_report(guessed, tmp_path, pipeline):
    result = run(guessed, tmp_path, pipeline(), accept_guess="pixel_nm")
    assert result.voxel_nm == pytest.approx((5, 5, 5))
    assert any(
        "pixel_nm" in text and "guess" in text and "accepted by the user" in text
        for text in result.provenance["input"]["assumptions"]
    )


def test_acceptance_in_the_pipeline_file_adds_to_that_of_the_caller(guessed, tmp_path, pipeline):
    path = pipeline(", accept_guess: [pixel_nm], orientation: rotated-180, overtilt_deg: 1.0")
    result = run(guessed, tmp_path, path, accept_guess=("slice_nm",))
    values = {row[0]: row[1] for row in result.provenance["input"]["values"]}
    assert (values["orientation"], values["overtilt_deg"]) == ("rotated-180", "1")


def test_labels_of_a_guessed_size_are_not_measured_in_nm(slices, tmp_path, capsys):
    path = tmp_path / "labels.tif"
    scale = {
        "resolution": (0.2, 0.2),
        "resolutionunit": "NONE",
        "metadata": {"axes": "ZYX", "spacing": 5.0, "unit": "nm"},
    }
    tifffile.imwrite(path, (slices > 99).astype(np.uint8), imagej=True, **scale)
    assert "is only a guess (ImageJ description" in says(capsys, 2, "measure", path)
    assert "nm^-1" in says(capsys, 0, "measure", path, "--voxel-nm", 5, 5, 5)
    assert "nm^-1" not in says(capsys, 0, "measure", path, "--voxel-nm", "unknown")


def test_the_caller_outranks_the_pipeline_file(guessed, tmp_path, pipeline, capsys):
    words = ["-p", pipeline(", column_angle_deg: 54, tilt_corrected: true"), "--voxel-nm", 10, 5, 5, "--no-look"]
    says(capsys, 0, "run", guessed, "-o", tmp_path / "o", *words, "--tilt-corrected", "no")
    values = {row[0]: row[1] for row in fibtomo.Run(tmp_path / "o").provenance["input"]["values"]}
    assert (values["tilt_corrected"], values["column_angle_deg"], values["tracked"]) == ("no", "54", "yes")


def test_a_run_in_voxels_rests_on_no_guess(guessed, tmp_path, pipeline):
    assert fibtomo.run(guessed, tmp_path / "out", pipeline(), voxel_nm="unknown").voxel_nm is None


def test_options_of_the_command_line(guessed, tmp_path, pipeline, capsys):
    words = [
        "plan",
        guessed,
        "-p",
        pipeline(),
        "--voxel-nm",
        10,
        5,
        5,
        "--column-angle-deg",
        52,
        "--tilt-corrected",
        "no",
    ]
    says(capsys, 0, *words, "--over-tilt-deg", 1, "--sample-tilt-deg", 52, "--orientation", "flipped-rows", "--no-look")
    assert "--accept-guess dz" in says(capsys, 2, *words, "--accept-guess", "dz")
    assert "orientation = 'up'" in says(capsys, 2, *words, "--orientation", "up")
    assert "face_tilt_deg = 95" in says(capsys, 2, *words, "--face-tilt-deg", 95)


def test_info_tells_what_the_facts_amount_to(guessed, capsys):
    words = ["info", guessed, "--voxel-nm", 10, 5, 5, "--column-angle-deg", 52, "--tilt-corrected", "no"]
    text = says(capsys, 0, *words)
    for told in (
        "face angle 38°",
        "y factor 1.26902",
        "10 × 6.3451 × 5 nm",
        "1.2313 px = 7.813 nm per slice",
        "were the",
    ):
        assert told in text
    document = json.loads(says(capsys, 0, *words, "--tracked", "yes", "--json"))
    rows = {row["name"]: row["value"] for row in document["consequences"]}
    assert rows["shear between slices"] == "none: the field of view follows the face"
    assert document["questions"] == []
    assert document["contradictions"] == []


def test_info_asks_all_that_is_open(guessed, capsys):
    document = json.loads(says(capsys, 0, "info", guessed, "--column-angle-deg", 54, "--json", "--no-look"))
    assert len(document["questions"]) == 3
    assert {row["name"]: row["value"] for row in document["consequences"]} == {
        "face angle": "36°",
        "y factor": "1 if tilt-corrected, 1.23607 if not",
    }


def test_raw_voxels_are_described_on_the_command_line(slices, tmp_path, capsys):
    slices.tofile(tmp_path / "v.raw")
    says(capsys, 2, "info", tmp_path / "v.raw")
    text = says(capsys, 0, "info", tmp_path / "v.raw", "--shape", 6, 48, 64, "--dtype", "uint8")
    assert "6 slices × 48 rows × 64 columns" in text


def test_preview_counts_from_the_end(slices, tmp_path, capsys):
    tifffile.imwrite(tmp_path / "a.tif", slices)
    words = ["preview", tmp_path / "a.tif", "-o", tmp_path / "p.png", "--stage", "denoise.gaussian"]
    assert "on slice 5" in says(capsys, 0, *words, "--slice", -1)
    assert "slices 0 to 5" in says(capsys, 2, *words, "--slice", -7)


def test_own_exports_keep_their_scale(slices, tmp_path):
    from fibtomo.core.source import ArraySource
    from fibtomo.core.volume import VolumeSpec
    from fibtomo.io.export import export

    for frame in ("specimen", "slice"):
        spec = VolumeSpec(slices.shape, "uint8", (10.0, 6.0, 5.0), frame=frame)
        for name in (f"{frame}.tif", f"{frame}"):
            stack = fibtomo.open_stack(export(ArraySource(slices, spec), tmp_path / name))
            assert stack.voxel_nm == pytest.approx((10, 6, 5))
            assert stack.calibration.pixel_nm.confidence == "given"
            assert not stack.warnings
            assert stack.tilt_corrected is (True if frame == "specimen" else None)
            np.testing.assert_array_equal(stack.read(0, 6), slices)


@pytest.fixture
def looks(monkeypatch):
    """Let the self-test say something; returns how often it was asked."""
    asked = []

    class Seen:
        evidence = (Evidence("tilt_corrected", False, "ratio 0.79 ± 0.01", decisive=True),)
        warnings = ("slices 3 and 4 are twins",)

    def examine(stack):
        asked.append(stack)
        return Seen()

    monkeypatch.setattr("fibtomo.api.examine", examine)
    return asked


def test_slices_that_contradict_a_bare_voxel_size_stop_the_run(slices, tmp_path, pipeline, looks):
    with pytest.raises(CalibrationError, match=r"contradicted by the slices.*--tilt-corrected yes or no"):
        fibtomo.run(slices, tmp_path / "out", pipeline(), voxel_nm=(10, 5, 5))
    fibtomo.run(slices, tmp_path / "a", pipeline(), voxel_nm=(10, 5, 5), look=False)
    accepted = fibtomo.run(slices, tmp_path / "b", pipeline(), voxel_nm=(10, 5, 5), accept_guess=["tilt_corrected"])
    assert accepted.voxel_nm == pytest.approx((5, 5, 5))
    said = fibtomo.run(slices, tmp_path / "c", pipeline(), voxel_nm=(10, 5, 5), tilt_corrected=True)
    warnings = said.provenance["input"]["warnings"]
    assert any("the slices speak for no: ratio 0.79 ± 0.01" in text for text in warnings)
    assert "slices 3 and 4 are twins" in warnings
    assert len(looks) == 3


def test_slices_answer_what_nobody_says(slices, tmp_path, pipeline, looks):
    result = fibtomo.run(slices, tmp_path / "out", pipeline(), voxel_nm=(10, 5, 5), column_angle_deg=52)
    seen = {"fact": "tilt_corrected", "value": "no", "text": "ratio 0.79 ± 0.01", "decisive": True, "numbers": {}}
    assert result.provenance["input"]["evidence"] == [seen]
    rows = {row[0]: row for row in result.provenance["input"]["values"]}
    assert rows["tilt_corrected"][1:] == ["no", "self-test of the slices", "measured"]


def test_a_stack_is_looked_at_once(slices, guessed, tmp_path, looks, capsys):
    words = ["run", guessed, "-o", tmp_path / "o", "-p", "drift-only", "--voxel-nm", 10, 5, 5, "--column-angle-deg", 52]
    assert "tilt_corrected = no (self-test of the slices, measured)" in says(capsys, 0, *words, "--tracked", "yes")
    assert len(looks) == 1
    assert "slices: tilt_corrected: no follows" in says(capsys, 0, "info", guessed, "--column-angle-deg", 52)
    assert "slices:" not in says(capsys, 0, "info", guessed, "--column-angle-deg", 52, "--no-look")
    assert len(looks) == 2
    fibtomo.plan(slices, "drift-only", voxel_nm="unknown")
    assert len(looks) == 2


def test_a_pixel_size_that_changes_within_the_stack_is_refused(tmp_path):
    """One drift cannot hold two scales: the stack is to be split, or the user says that the headers are wrong."""
    folder = tmp_path / "slices"
    fibtomo.phantom.write_sample("nanoporous-silver", folder, size="tiny")
    files = sorted(folder.glob("*.tif"))
    for path in files[len(files) // 2 :]:
        content = path.read_bytes()
        assert b"PixelWidth=5e-09" in content
        path.write_bytes(content.replace(b"PixelWidth=5e-09", b"PixelWidth=8e-09"))
    with pytest.raises(CalibrationError, match=r"5 nm in SEM Image.*, 8 nm in SEM Image.*; split the stack there"):
        fibtomo.run(folder, tmp_path / "out", "drift-only")
    assert not (tmp_path / "out").exists()
    assert fibtomo.plan(folder, "drift-only", voxel_nm=(None, 5, 5)).sections
