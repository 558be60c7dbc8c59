"""What the report says of curtains: how many, which way, how much went, and whether that is fine."""

import numpy as np
import pytest

from fibtomo.report import ReportData, curtains, write_report
from fibtomo.report.gallery import corrections, gather

NAN = np.nan


def notes(index, angle=0.0, second=NAN, removed=4.0, damage=0.3, loss=0.001, r=0.01, **more):
    """Notes of slices with these stripe indices; where there are no curtains the rest is as the stage leaves it."""
    index = np.asarray(index, dtype=float)
    on = index > 1
    parts = {"angle_deg": angle, "second_angle_deg": second, "removed_rms": removed, "damage_rms": damage}
    parts |= {"structure_loss": loss, "structure_r": r}
    table = {name: np.where(on, value, NAN if "angle" in name else 0.0) for name, value in parts.items()}
    return {"index": index, **table, "frame": "slice", "stages": ["curtain.remove"], **more}


def test_how_many_and_which_not():
    said = curtains.summary(notes([5, 0.2, 0.9, 30, 8], removed=[2, 0, 0, 9, 4]))
    assert "3 slices of 5 showed curtains and were corrected; the others were left as they were: 1–2." in said
    assert "4 grey rms in the median, 9 at most" in said
    assert "All 3 slices" in curtains.summary(notes([5, 6, 7]))
    said = curtains.summary(notes([0.2, 0.73]))
    assert said.startswith("No slice showed curtains (stripe index up to 0.73")
    assert curtains.verdict(notes([0.2, 0.73])) == ("", True)


@pytest.mark.parametrize(
    ("angle", "second", "words"),
    [
        (1.2, NAN, "They run at +1.2° to the columns (positive"),
        ([-1, 0, 3], NAN, "They run at 0.0° to the columns, from −1.0° to +3.0°"),
        ([-4, 5, 5], [5, -4, -4], "They run in two directions, −4.0° and +5.0° (positive"),
        ([1, -4, 5], [NAN, 5, -4], "They run at +1.0° to the columns; on 2 slices they run in two directions, −4.0°"),
    ],
)
def test_directions(angle, second, words):
    assert words in curtains.summary(notes([5, 6, 7], angle, second))


@pytest.mark.parametrize(
    ("loss", "r", "fine", "words"),
    [
        (0.0012, 0.02, True, "0.12 % went with them"),
        (0.00001, [0.4, -0.02, 0.01], True, "under 0.01 % went"),
        ([0.001, 0.02, 0.001], 0.0, False, "slice 1 lost more than 1 %"),
        ([0.03, 0.02, 0.001], 0.0, False, "slices 0–1 lost more than 1 %"),
        (0.0, -0.06, False, "|r| is above 0.05"),
    ],
)
def test_verdict(loss, r, fine, words):
    text, good = curtains.verdict(notes([5, 6, 7], loss=loss, r=r))
    assert good is fine
    assert words in text
    assert ("Look at it" in text) is not fine
    assert (": fine (" in text) is fine


@pytest.mark.parametrize(("loss", "r", "word"), [(0.009, 0.049, "fine"), (0.011, 0.0, "look"), (0.0, -0.051, "look")])
def test_line_of_one_slice_ends_with_a_verdict(loss, r, word):
    line = curtains.slice_line(notes([5.0], -4.0, 5.0, loss=loss, r=r), 0, 40)
    assert line.startswith("curtains on slice 40: stripe index 5, directions −4.0° and +5.0°, 4 grey rms removed")
    assert line.rpartition(": ")[2].startswith(word)


def test_the_strongest_is_a_usable_slice_of_the_stack():
    found = notes([5, 90, 30, 0.5])
    assert curtains.strongest([found], 4) == 1
    assert curtains.strongest([found], 4, bad=[1]) == 2
    assert curtains.strongest([found], 9) is None
    assert curtains.strongest([{**found, "frame": "specimen"}], 4) is None
    assert curtains.strongest([notes([0.5, 0.2])], 2) is None
    assert curtains.strongest([{**found, "frame": "specimen"}, found], 4) == 1


def page(tmp_path, *tables):
    data = ReportData("t", "c", curtains=list(tables))
    return write_report(tmp_path / "r.html", data).read_text(encoding="utf-8")


def test_section_with_curves_and_table(tmp_path):
    text = page(tmp_path, notes([5, 0.5, 900, 20], [1, 1, 2, 3], damage=[0.3, 0.2, 0.1, 1.7]))
    assert text.count("<svg") == 2
    assert ">stripe index against slice<" in text
    assert all(f">{level}</text>" in text for level in ("1", "10", "100"))
    assert '>damage / grey rms</td><td class="num">0.30</td><td class="num">1.7</td><td class="num">3<' in text
    assert "nan" not in text.lower()
    assert 'class="problem"' not in text
    assert 'class="problem"' in page(tmp_path, notes([5, 6], loss=0.5))


def test_json_has_null_where_there_is_no_angle(tmp_path):
    table = notes([5, 0.5])
    listed = {k: v if isinstance(v, str | list) else [None if np.isnan(x) else x for x in v] for k, v in table.items()}
    assert page(tmp_path, listed) == page(tmp_path, table)


@pytest.mark.parametrize("index", [[], [0.3], [7.0], [0.3, 0.4]])
def test_few_slices(index, tmp_path):
    text = page(tmp_path, notes(index))
    assert ('id="curtains"' in text) is bool(index)
    assert text.count("<svg") == (len(index) > 1)


def test_two_passes(tmp_path):
    text = page(tmp_path, notes([5, 6]), notes([0.1, 0.2, 0.3], frame="specimen"))
    assert text.index('id="curtains"') < text.index('id="curtains-2"')
    assert "Curtains, second pass" in text
    assert "against slice of the volume" in text


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        (["curtain.remove"], "what was taken out: middle grey is zero, black and white are 7 grey"),
        (
            ["intensity.flicker", "curtain.remove"],
            "before − after of intensity.flicker + curtain.remove: middle grey is 10, the median, black and white are",
        ),
    ],
)
def test_the_strongest_slice_is_shown_with_what_went(stages, words):
    raw = np.random.default_rng(0).integers(80, 120, (5, 40, 60)).astype(np.uint8)
    corrected = raw.copy()
    corrected[3, :, ::2] -= 7
    corrected[3, :, 1::2] += 7
    corrected[3] -= 10 * (len(stages) - 1)
    data = ReportData("t", "c", raw=raw, corrected=corrected, curtains=[notes([2, 3, 4, 50, 0.5], stages=stages)])
    text = corrections(gather(data))
    assert "Slice 3, which shows the strongest curtains, and " + words in text
    nothing = ReportData("t", "c", raw=raw, corrected=corrected, curtains=[notes([0.5] * 5)])
    assert "strongest" not in corrections(gather(nothing))
