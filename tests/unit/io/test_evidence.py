"""What the slices say, weighed against what is known: filled in, agreed, doubted, never changed."""

from dataclasses import replace

import pytest

from fibtomo.core.evidence import Evidence
from fibtomo.core.resolve import question_of_guesses, resolve_geometry, unaccepted_guesses
from fibtomo.core.volume import Calibration, Sourced
from fibtomo.io.calibrate import merge, with_evidence
from fibtomo.io.doubts import weighed
from fibtomo.io.facts import UserFacts
from fibtomo.io.open import open_stack

SCALE = Calibration(
    pixel_nm=Sourced((5.0, 5.0), "tag", "given"),
    slice_nm=Sourced(10.0, "project", "given"),
    column_angle_deg=Sourced(52.0, "vendor default", "default"),
)
UNCORRECTED = Evidence("tilt_corrected", False, "structures are 0.79 ± 0.01 as long along y as along x", decisive=True)
HINT = replace(UNCORRECTED, decisive=False)


def only(evidence, calibration=SCALE):
    weighed, findings = with_evidence(calibration, [evidence])
    assert len(findings) == 1
    return weighed, findings[0]


def test_unknown_and_decisive_is_measured():
    weighed, finding = only(UNCORRECTED)
    assert weighed.tilt_corrected == Sourced(False, "self-test of the slices", "measured")
    assert finding.severity == "note"
    assert "0.79 ± 0.01" in finding.message
    assert resolve_geometry(weighed, shear_from_images=True).y_factor == pytest.approx(1.269, abs=1e-3)
    assert unaccepted_guesses(weighed) == []


def test_unknown_and_undecided_is_a_guess_that_stops_the_run():
    weighed, _ = only(HINT)
    assert (weighed.tilt_corrected.value, weighed.tilt_corrected.confidence) == (False, "guess")
    assert unaccepted_guesses(weighed) == ["tilt_corrected"]


@pytest.mark.parametrize("decisive", [True, False])
@pytest.mark.parametrize("confidence", ["given", "default", "guess"])
def test_agreement_changes_nothing(decisive, confidence):
    calibration = replace(SCALE, tilt_corrected=Sourced(False, "tag", confidence))
    weighed, finding = only(replace(UNCORRECTED, decisive=decisive), calibration)
    assert weighed == calibration
    assert finding.severity == "note"


@pytest.mark.parametrize("confidence", ["given", "measured", "default"])
def test_contradicted_metadata_are_kept_but_doubted(confidence):
    weighed, finding = only(UNCORRECTED, replace(SCALE, tilt_corrected=Sourced(True, "tag X", confidence)))
    assert weighed.tilt_corrected.value is True
    assert weighed.tilt_corrected.confidence == "guess"
    assert finding.kind == "evidence-contradiction"
    for words in ("tag X", "yes: voxel 10 × 5 × 5 nm", "no: voxel 10 × 6.345 × 5 nm", "--tilt-corrected"):
        assert words in finding.message
    assert "contradicted by the slices" in question_of_guesses(weighed)


def test_the_user_is_warned_but_believed():
    stated = replace(SCALE, tilt_corrected=Sourced(True, "user", "given"))
    weighed, finding = only(UNCORRECTED, stated)
    assert weighed == stated
    assert (finding.kind, finding.severity) == ("evidence-contradiction", "warning")
    assert "yes: voxel 10 × 5 × 5 nm" in finding.message


def test_a_hint_against_metadata_is_a_note():
    calibration = replace(SCALE, tilt_corrected=Sourced(True, "tag", "given"))
    weighed, finding = only(HINT, calibration)
    assert weighed == calibration
    assert finding.severity == "note"


def test_undecided_images_change_nothing_but_say_why():
    weighed, finding = only(Evidence("tracked", None, "too few slices"))
    assert weighed == SCALE
    assert (finding.severity, finding.message, finding.asks) == ("note", "tracked: too few slices", "tracked")


def test_in_voxels_nothing_is_weighed():
    in_voxels, _ = merge(UserFacts("unknown"), [SCALE], volume=False)
    assert with_evidence(in_voxels, [UNCORRECTED]) == (in_voxels, [])


def test_images_are_turned_only_when_the_evidence_is_decisive():
    turned = Evidence("orientation", "rotated-180", "the surface lies at the bottom", decisive=True)
    weighed, finding = only(turned)
    assert weighed.orientation.value == "rotated-180"
    assert finding.severity == "warning"
    assert with_evidence(SCALE, [replace(turned, decisive=False)]) == (SCALE, [])


@pytest.mark.parametrize(
    ("value", "numbers", "agrees"),
    [(10.9, {}, True), (11.5, {}, False), (11.5, {"slice_nm_sigma": 1.0}, True), (8.5, {}, False)],
)
def test_thickness_agrees_within_a_tenth_or_twice_its_error(value, numbers, agrees):
    weighed, _ = only(Evidence("slice_nm", value, "decay of the correlation", decisive=True, numbers=numbers))
    assert (weighed.slice_nm.confidence == "given") is agrees
    assert weighed.slice_nm.value == 10.0


def test_a_voxel_size_alone_can_be_contradicted_and_settled(volume):
    alone = open_stack(volume, voxel_nm=(10, 5, 5))
    assert alone.calibration.tilt_corrected.confidence == "default"
    assert any("taken as the true one" in text for text in alone.warnings)
    looked = weighed(alone, [UNCORRECTED], ["slices 3 and 4 are twins"])
    finding = next(f for f in looked.problems if f.kind == "evidence-contradiction")
    assert "voxel 10 × 6.345 × 5 nm at a column angle of 52°" in finding.message
    assert "--tilt-corrected yes or no" in question_of_guesses(looked.calibration)
    assert "--column-angle-deg 52" in question_of_guesses(looked.calibration)
    settled = open_stack(looked, tilt_corrected=True)
    assert unaccepted_guesses(settled.calibration) == []
    assert [text.split(":")[0] for text in settled.warnings] == ["slices 3 and 4 are twins", "tilt_corrected"]
    assert "is used, but the slices speak for no" in settled.warnings[1]
    agreed = open_stack(looked, tilt_corrected=False, column_angle_deg=52)
    assert agreed.warnings == ["slices 3 and 4 are twins"]
    accepted = open_stack(looked, accept_guess="tilt_corrected")
    assert unaccepted_guesses(accepted.calibration) == []
    assert finding.message in accepted.warnings


def test_an_angle_stated_later_ends_the_assumption_of_true_spacing(volume):
    later = open_stack(open_stack(volume, voxel_nm=(10, 5, 5)), column_angle_deg=52)
    assert not later.calibration.tilt_corrected
    looked = open_stack(weighed(open_stack(volume, voxel_nm=(10, 5, 5)), [UNCORRECTED]), column_angle_deg=52)
    assert looked.calibration.tilt_corrected == Sourced(False, "self-test of the slices", "measured")


@pytest.mark.parametrize("changed", [{"slices": "0:6:2"}, {"orientation": "flipped-rows"}, {"channel": "image"}])
def test_other_slices_are_looked_at_again(volume, changed):
    looked = weighed(open_stack(volume, voxel_nm=(10, 5, 5), column_angle_deg=52), [UNCORRECTED])
    assert looked.tilt_corrected is False
    again = open_stack(looked, **changed)
    assert again.evidence is None
    assert again.tilt_corrected is None
    assert open_stack(looked, tracked=True).evidence == (UNCORRECTED,)
