"""Slices written as instruments do, with headers that are silent or wrong about the tilt: what a run makes of them."""

import re

import pytest

import fibtomo
from fibtomo.errors import CalibrationError
from fibtomo.phantom import acquire, write_slices
from fibtomo.phantom import write as writer
from fibtomo.phantom.specimens import NanoporousMetal, Tpms

FINE = NanoporousMetal(greys=(0.28, 0.72), wavelength_nm=80.0)
LATTICE = Tpms(surface="P", period_nm=150.0)
ANGLES = {"thermo": 52.0, "zeiss": 54.0, "tescan": 55.0}
SILENT = {
    "thermo": [
        ("TiltCorrectionIsOn=.*", "TiltCorrectionIsOn=yes"),
        ("TiltCorrectionAngle=.*", "TiltCorrectionAngle=0"),
    ],
    "zeiss": [("Tilt Corrn. = .*", "Tilt Corrn. = On"), ("Tilt Angle = .*", "Tilt Angle = 0.0 °")],
    "tescan": [("TiltCorrection=.*", "TiltCorrection=0.611")],
}
CORRECTED = {
    "thermo": [
        ("TiltCorrectionIsOn=.*", "TiltCorrectionIsOn=yes"),
        ("TiltCorrectionAngle=.*", "TiltCorrectionAngle=-0.663242"),
    ],
    "zeiss": [("Tilt Corrn. = .*", "Tilt Corrn. = On"), ("Tilt Angle = .*", "Tilt Angle = 36.0 °")],
    "tescan": [("TiltCorrection=.*", "TiltCorrection=35.000")],
}
STYLES = [(corrected, tracked) for corrected in (True, False) for tracked in (True, False)]


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Write slices of a vendor whose headers have some lines changed; returns the folder."""

    def write(vendor, corrected, tracked, edits, specimen=FINE):
        original = getattr(writer, f"{vendor}_text")

        def edited(frame):
            text = original(frame)
            for pattern, line in edits:
                text, times = re.subn(rf"{pattern}(?=\r?\n)", line, text)
                assert times, pattern
            return text

        monkeypatch.setattr(writer, f"{vendor}_text", edited)
        run = acquire(
            specimen,
            shape=(24, 160, 192),
            column_angle_deg=ANGLES[vendor],
            tilt_corrected=corrected,
            tracked=tracked,
            artefacts={"noise": True, "curtains": {"rms": 0.02}, "jitter": {"rms_px": 0.3}},
            oversample=1,
        )
        write_slices(run, tmp_path / "slices", vendor=vendor, z_in_names=vendor == "zeiss")
        return tmp_path / "slices"

    return write


@pytest.fixture
def pipeline(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("stages: [drift.estimate, geometry.resample]\n")
    return path


def fact(result, name):
    return next(row[1:] for row in result.provenance["input"]["values"] if row[0] == name)


@pytest.mark.parametrize(
    ("vendor", "corrected", "tracked"),
    [
        pytest.param(vendor, *style, marks=[pytest.mark.slow] if (k + i) % 4 else [])
        for i, vendor in enumerate(ANGLES)
        for k, style in enumerate(STYLES)
    ],
)
def test_silent_headers_are_answered_by_the_slices(written, pipeline, tmp_path, vendor, corrected, tracked):
    """TESCAN headers give the slice thickness, the others a project or file names do: nothing has to be said."""
    folder = written(vendor, corrected, tracked, SILENT[vendor])
    assert fibtomo.open_stack(folder).tilt_corrected is None
    result = fibtomo.run(folder, tmp_path / "out", pipeline)
    yes = {True: "yes", False: "no"}
    assert fact(result, "tilt_corrected") == [yes[corrected], "self-test of the slices", "measured"]
    evidence = {item["fact"]: item for item in result.provenance["input"]["evidence"]}
    assert evidence["tracked"]["value"] in (yes[tracked], None)
    assert result.voxel_nm == pytest.approx((5.0, 5.0, 5.0))


@pytest.mark.parametrize("vendor", ["zeiss"])
def test_slices_that_cannot_tell_leave_one_clear_question(written, pipeline, tmp_path, vendor):
    folder = written(vendor, False, True, SILENT[vendor], LATTICE)
    with pytest.raises(CalibrationError) as asked:
        fibtomo.run(folder, tmp_path / "out", pipeline)
    assert "--tilt-corrected" in str(asked.value)
    assert not any(option in str(asked.value) for option in ("--voxel-nm", "--tracked", "--column-angle-deg"))
    assert not (tmp_path / "out").exists()
    said = fibtomo.run(folder, tmp_path / "out", pipeline, tilt_corrected=False)
    assert fact(said, "tilt_corrected")[0] == "no"


@pytest.mark.parametrize(
    "vendor", ["thermo", *(pytest.param(vendor, marks=pytest.mark.slow) for vendor in ("zeiss", "tescan"))]
)
def test_a_header_that_lies_stops_the_run_until_somebody_decides(written, pipeline, tmp_path, vendor):
    folder = written(vendor, False, False, CORRECTED[vendor])
    assert fibtomo.open_stack(folder).tilt_corrected is True
    with pytest.raises(CalibrationError, match=r"contradicted by the slices.*--tilt-corrected yes or no"):
        fibtomo.run(folder, tmp_path / "out", pipeline)
    assert not (tmp_path / "out").exists()
    right = fibtomo.run(folder, tmp_path / "right", pipeline, tilt_corrected=False)
    assert fact(right, "tilt_corrected")[::2] == ["no", "given"]
    assert not any("speak for" in text for text in right.provenance["input"]["warnings"])


def test_what_the_user_says_is_never_overruled(written, pipeline, tmp_path):
    folder = written("thermo", False, False, CORRECTED["thermo"])
    result = fibtomo.run(folder, tmp_path / "out", pipeline, tilt_corrected=True, tracked=True)
    assert fact(result, "tilt_corrected")[::2] == ["yes", "given"]
    assert fact(result, "tracked")[::2] == ["yes", "given"]
    assert any("the slices speak for no" in text for text in result.provenance["input"]["warnings"])


def test_a_header_that_is_right_passes_in_silence(written, pipeline, tmp_path):
    folder = written("thermo", True, False, CORRECTED["thermo"])
    result = fibtomo.run(folder, tmp_path / "out", pipeline)
    assert fact(result, "tilt_corrected")[::2] == ["yes", "given"]
    assert result.provenance["input"]["warnings"] == []
