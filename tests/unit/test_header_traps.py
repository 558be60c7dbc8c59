"""Headers as real instruments write them, with the traps that have misled programs, through the public entry.

Each trap was met in a real header or in a published reader or script. What counts is the spacing of the rows in
the end: 10 nm as scanned is 10 nm with tilt correction and 12.69 nm without, at 52 degrees between the columns.
"""

import re
from math import radians

import numpy as np
import pytest
import tifffile

from fibtomo import open_stack
from fibtomo.core.resolve import resolve_geometry
from fibtomo.errors import CalibrationError
from fibtomo.phantom import acquire
from fibtomo.phantom.headers import Frame, tescan_text, thermo_text, zeiss_text

TRUE_NM, FORESHORTENED_NM = 10.0, 12.6902
TAGS = {"thermo": 34682, "zeiss": 34118}


@pytest.fixture
def folder_with(tmp_path):
    """Write three slices whose headers are as the vendor's with some lines changed; returns the folder."""

    def write(vendor="thermo", tilt_corrected=True, edit=lambda text: text, angle=52.0):
        run = acquire(
            shape=(3, 40, 48),
            pixel_nm=10.0,
            column_angle_deg=angle,
            tilt_corrected=tilt_corrected,
            artefacts={"noise": True},
        )
        text = {"thermo": thermo_text, "zeiss": zeiss_text, "tescan": tescan_text}[vendor]
        for k, image in enumerate(run.slices):
            path = tmp_path / f"slice_{k:03d}.tif"
            header = edit(text(Frame.of(run.truth, k, bar_rows=0)))
            data = header if isinstance(header, bytes) else header.encode("cp1252")
            tags = [(TAGS[vendor], 2, 0, data + b"\0", True)] if vendor in TAGS else []
            tifffile.imwrite(path, image, photometric="minisblack", metadata=None, extratags=tags)
            if vendor == "tescan":
                path.with_name(f"{path.stem}-tif.hdr").write_bytes(data)
        return tmp_path

    return write


def line(key, value):
    """Edit that gives `key` another value."""

    def edit(text):
        changed, times = re.subn(rf"(?m)^{key}=[^\r\n]*", f"{key}={value}", text)
        assert times, key
        return changed

    return edit


def both(*edits):
    """Apply one edit after the other."""

    def edit(text):
        for change in edits:
            text = change(text)
        return text

    return edit


def row_spacing_nm(folder, **said):
    """True spacing of the rows that a run would use."""
    stack = open_stack(folder, voxel_nm=(10.0, None, None), **said)
    return resolve_geometry(stack.calibration, shear_from_images=True).true_voxel_nm[1]


@pytest.mark.parametrize("angle", [-0.663242, 0.663242])
def test_angle_of_the_correction_has_either_sign(folder_with, angle):
    folder = folder_with(edit=both(line("TiltCorrectionAngle", angle), line("StageTa", 0.907553)))
    stack = open_stack(folder)
    assert stack.tilt_corrected is True
    assert stack.metadata["tilt_correction_angle_deg"].value == pytest.approx(38.0 * np.sign(angle), abs=5e-3)
    assert stack.metadata["stage_tilt_deg"].value == pytest.approx(52.0, abs=5e-3)
    assert row_spacing_nm(folder) == TRUE_NM


def test_correction_switched_on_with_angle_zero_is_a_question(folder_with):
    folder = folder_with(edit=line("TiltCorrectionAngle", 0))
    stack = open_stack(folder)
    assert stack.tilt_corrected is None
    assert any("angle 0.00°" in text and "--tilt-corrected" in text for text in stack.warnings)
    with pytest.raises(CalibrationError, match="--tilt-corrected"):
        row_spacing_nm(folder)
    assert row_spacing_nm(folder, tilt_corrected=True) == TRUE_NM
    assert row_spacing_nm(folder, tilt_corrected=False) == pytest.approx(FORESHORTENED_NM, abs=5e-5)


@pytest.mark.parametrize("focus", ["yes", "no"])
@pytest.mark.parametrize(("corrected", "expected"), [(True, TRUE_NM), (False, FORESHORTENED_NM)])
def test_dynamic_focus_does_not_change_the_scale(folder_with, focus, corrected, expected):
    folder = folder_with(tilt_corrected=corrected, edit=line("DynamicFocusIsOn", focus))
    assert row_spacing_nm(folder) == pytest.approx(expected, abs=5e-5)


def test_correction_angle_left_over_from_earlier_does_not_count_while_switched_off(folder_with):
    folder = folder_with(tilt_corrected=False, edit=line("TiltCorrectionAngle", -0.663242))
    assert row_spacing_nm(folder) == pytest.approx(FORESHORTENED_NM, abs=5e-5)


@pytest.mark.parametrize("angle", [38, -38])
def test_degrees_where_radians_belong_are_not_believed(folder_with, angle):
    folder = folder_with(edit=line("TiltCorrectionAngle", angle))
    assert open_stack(folder).tilt_corrected is None
    with pytest.raises(CalibrationError, match="--tilt-corrected"):
        row_spacing_nm(folder)


def test_cosine_of_38_radians_is_not_the_factor(folder_with):
    spacing = row_spacing_nm(folder_with(tilt_corrected=False))
    assert spacing / TRUE_NM == pytest.approx(1.26902, abs=5e-6)
    assert abs(spacing / abs(TRUE_NM / np.cos(38)) - 1) > 0.17


@pytest.mark.parametrize("stage_tilt_deg", [0.0, 16.0, 52.0])
def test_stage_tilt_is_not_the_column_angle(folder_with, stage_tilt_deg):
    """A holder of 36 degrees reads 16 where a plain stub reads 52; the face leans as before."""
    edit = both(line("StageTa", radians(stage_tilt_deg)), line("StageT", radians(stage_tilt_deg)))
    folder = folder_with(tilt_corrected=False, edit=edit)
    assert row_spacing_nm(folder) == pytest.approx(FORESHORTENED_NM, abs=5e-5)


@pytest.mark.parametrize(
    ("vendor", "angle", "edit", "expected"),
    [
        ("zeiss", 54.0, lambda text: text, True),
        ("zeiss", 54.0, lambda text: text.replace("Tilt Angle = 36.0", "Tilt Angle = 54.0"), None),
        ("zeiss", 54.0, lambda text: text.replace("Tilt Angle = 36.0", "Tilt Angle = 0.6"), None),
        ("zeiss", 54.0, lambda text: text.replace("Tilt Corrn. = On", "Tilt Corrn. = Off"), False),
        ("tescan", 55.0, lambda text: text, True),
        ("tescan", 55.0, line("TiltCorrection", "0.611"), None),
        ("tescan", 55.0, line("TiltCorrection", "0.000"), False),
    ],
)
def test_vendors_that_write_degrees(folder_with, vendor, angle, edit, expected):
    """35 and 36 degrees are corrections of the face; the same angle in radians (0.6) is none."""
    stack = open_stack(folder_with(vendor, angle=angle, edit=edit))
    assert stack.column_angle_deg == angle
    assert stack.tilt_corrected is expected


@pytest.mark.parametrize(("corrected", "expected"), [(True, TRUE_NM), (False, FORESHORTENED_NM)])
def test_pixel_height_never_shows_the_correction(folder_with, corrected, expected):
    folder = folder_with(tilt_corrected=corrected)
    assert open_stack(folder).pixel_nm == (10.0, 10.0)
    assert row_spacing_nm(folder) == pytest.approx(expected, abs=5e-5)


def test_pixel_height_belongs_to_rows_and_width_to_columns(folder_with):
    folder = folder_with(edit=both(line("PixelHeight", "2e-008"), line("PixelWidth", "1e-008")))
    assert open_stack(folder).pixel_nm == (20.0, 10.0)


def test_repeated_sections_and_null_bytes_do_not_hide_the_scale(folder_with):
    def damage(text):
        repeated = text + "[MultiGIS]\r\nGas=Pt\r\n[MultiGIS]\r\nGas=C\r\n[EScan]\r\nPixelWidth=9\r\n"
        return repeated.encode("cp1252").replace(b"[EBeam]", b"\0[EB\0eam]") + b"\0\0\0"

    folder = folder_with(edit=damage)
    stack = open_stack(folder)
    assert (stack.pixel_nm, stack.tilt_corrected, stack.column_angle_deg) == ((10.0, 10.0), True, 52.0)
    assert row_spacing_nm(folder) == TRUE_NM
