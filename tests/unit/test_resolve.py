"""From known, doubted and missing facts to a geometry, or to one question."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fibtomo.core.resolve import (
    GUESSES,
    alternatives,
    open_questions,
    outcome,
    question_of_guesses,
    resolve_geometry,
    unaccepted_guesses,
)
from fibtomo.core.volume import Calibration, Sourced
from fibtomo.errors import CalibrationError
from fibtomo.io.facts import UserFacts

FULL = {
    "pixel_nm": (5.0, 5.0),
    "slice_nm": 10.0,
    "column_angle_deg": 52.0,
    "tilt_corrected": False,
    "tracked": False,
}


def known(**changes):
    """Calibration with all facts given, some changed; a `Sourced` stays as it is, ``None`` leaves a fact out."""
    facts = {k: v for k, v in (FULL | changes).items() if v is not None}
    return Calibration(**{k: v if isinstance(v, Sourced) else Sourced(v, "tag", "given") for k, v in facts.items()})


def guess(value):
    return Sourced(value, "notes", "guess")


def test_every_fact_reaches_the_geometry():
    calibration = known(overtilt_deg=2.0, sample_tilt_deg=50.0, slice_z_nm=(0.0, 9.0, 21.0))
    geometry = resolve_geometry(calibration, shear_from_images=False)
    assert geometry.voxel_nm == (10.0, 5.0, 5.0)
    assert (geometry.column_angle_deg, geometry.overtilt_deg, geometry.face_angle_deg) == (52.0, 2.0, 36.0)
    assert geometry.y_factor == pytest.approx(1.23607, abs=1e-5)
    assert geometry.sample_tilt_deg == 50.0
    assert geometry.slice_z_nm == (0.0, 9.0, 21.0)
    measured = resolve_geometry(replace(calibration, face_tilt_deg=Sourced(70.0)), shear_from_images=False)
    assert measured.y_factor == pytest.approx(2.924, abs=1e-3)


def test_a_measured_face_needs_no_column_angle():
    calibration = known(column_angle_deg=None, face_tilt_deg=38.0)
    assert resolve_geometry(calibration, shear_from_images=False).shear_px_per_slice == pytest.approx(1.2313, abs=1e-4)


def test_a_guessed_sample_tilt_turns_nothing():
    calibration = known(sample_tilt_deg=guess(19.3))
    assert resolve_geometry(calibration, shear_from_images=False).sample_tilt_deg is None


@pytest.mark.parametrize(
    ("left_out", "shear_from_images", "words"),
    [
        ({"pixel_nm": None}, True, ["--voxel-nm 10 DY DX", "voxel_nm=("]),
        ({"slice_nm": None}, True, ["--voxel-nm DZ 5 5"]),
        (
            {"tilt_corrected": None},
            True,
            ["--tilt-corrected yes", "voxel 10 × 5 × 5 nm", "1.563 px", "voxel 10 × 6.345"],
        ),
        ({"column_angle_deg": None}, True, ["--column-angle-deg 52", "Zeiss 54: voxel 10 × 6.18 × 5 nm"]),
        ({"column_angle_deg": None, "tilt_corrected": None}, True, ["--column-angle-deg", "--tilt-corrected"]),
        ({"tracked": None}, False, ["--tracked yes", "no shear", "shear 1.231 px per slice"]),
        ({"column_angle_deg": None, "tilt_corrected": True}, False, ["--column-angle-deg 52", "--tracked yes"]),
    ],
)
def test_the_one_question(left_out, shear_from_images, words):
    with pytest.raises(CalibrationError) as question:
        resolve_geometry(known(**left_out), shear_from_images=shear_from_images)
    for word in words:
        assert word in str(question.value)


@pytest.mark.parametrize(
    "left_out", [{"tracked": None}, {"column_angle_deg": None, "tilt_corrected": True, "tracked": None}]
)
def test_with_drift_from_the_images_the_shear_is_no_question(left_out):
    resolve_geometry(known(**left_out), shear_from_images=True)


def test_what_each_answer_makes_of_the_voxels():
    text = alternatives(known(tilt_corrected=None, tracked=None), "tilt_corrected")
    assert text == (
        "yes: voxel 10 × 5 × 5 nm, shear 1.563 px per slice unless tracked; "
        "no: voxel 10 × 6.345 × 5 nm, shear 1.231 px per slice unless tracked"
    )
    assert outcome(known(pixel_nm=None)) == "rows × 1.269"
    assert "6.345 × 5 nm at a column angle of 52°" in outcome(known(column_angle_deg=None))
    assert outcome(known(tilt_corrected=None)) == ""


@pytest.mark.parametrize("name", GUESSES)
def test_a_guess_stops_the_run_until_it_is_accepted(name):
    values = FULL | {"overtilt_deg": 1.0, "slice_z_nm": (0.0, 10.0)}
    if name == "face_tilt_deg":
        values["face_tilt_deg"] = 38.0
    if name == "slice_nm":
        values["slice_z_nm"] = None
    calibration = known(**values | {name: guess(values[name])})
    assert unaccepted_guesses(calibration) == [name]
    question = question_of_guesses(calibration)
    assert f"--accept-guess {name}" in question
    assert f"accept_guess=('{name}',)" in question
    assert "(notes)" in question
    accepted = replace(calibration, others={"accepted": Sourced((name,))})
    assert unaccepted_guesses(accepted) == []
    assert question_of_guesses(accepted) is None
    in_voxels = replace(calibration, others={"in_voxels": Sourced(True)})
    assert open_questions(in_voxels, shear_from_images=False) == []


@pytest.mark.parametrize(
    ("facts", "from_images"),
    [
        ({"tracked": guess(True)}, True),
        ({"column_angle_deg": 90.0, "tracked": guess(True), "tilt_corrected": guess(True)}, False),
        ({"column_angle_deg": guess(52.0), "face_tilt_deg": 38.0}, False),
        ({"column_angle_deg": guess(52.0), "tilt_corrected": True}, True),
        ({"column_angle_deg": guess(52.0), "tilt_corrected": True, "tracked": True}, False),
        ({"slice_nm": guess(10.0), "slice_z_nm": Sourced((0.0, 10.0), "names", "measured")}, False),
        ({"sample_tilt_deg": guess(16.0)}, False),
    ],
)
def test_a_guess_on_which_nothing_rests_stops_nothing(facts, from_images):
    assert unaccepted_guesses(known(**facts), shear_from_images=from_images) == []


@given(st.dictionaries(st.sampled_from(GUESSES), st.sampled_from(["given", "measured", "default", "guess"])))
@settings(max_examples=60)
def test_accepting_what_is_asked_settles_it(confidences):
    values = FULL | {"overtilt_deg": 1.0, "face_tilt_deg": 37.0, "slice_z_nm": (0.0, 10.0)}
    facts = {name: Sourced(values[name], "x", confidences.get(name, "given")) for name in GUESSES}
    asked = unaccepted_guesses(Calibration(**facts))
    assert set(asked) <= {name for name, confidence in confidences.items() if confidence == "guess"}
    accepted = UserFacts(accept_guess=asked).calibration().others
    assert unaccepted_guesses(Calibration(**facts, others=accepted)) == []


def test_all_open_questions_at_once():
    calibration = Calibration(pixel_nm=guess((5.0, 5.0)), column_angle_deg=Sourced(52.0, "vendor", "default"))
    asked = open_questions(calibration, shear_from_images=True)
    assert [
        word for q, word in zip(asked, ("--voxel-nm", "--tilt-corrected", "--accept-guess"), strict=True) if word in q
    ]
    assert len(asked) == 3
