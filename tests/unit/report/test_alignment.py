"""How good the alignment is, in plain words: table, chart, line of the command."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from fibtomo.core.drift import Drift
from fibtomo.core.drift_quality import DriftQuality
from fibtomo.report import ReportData, write_report
from fibtomo.report.alignment import alignment, quality_line, undecided


def drift_of(n=12, **changes):
    rng = np.random.default_rng(0)
    numbers = {
        "left_out_px": np.full(n, 0.04),
        "ncc_before": np.r_[np.nan, rng.uniform(0.6, 0.7, n - 1)],
        "ncc_after": np.r_[np.nan, rng.uniform(0.88, 0.92, n - 1)],
        "left_out_rms_px": (0.041, 0.032),
        "closure_px": 0.061,
        "closure_mean_px": (0.01, 0.0),
        "checked_pairs": 21,
    }
    return Drift(rng.normal(size=(n, 2)), np.linspace(0, 2.5, n), quality=DriftQuality(**numbers | changes))


def text_of(html):
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_table_and_chart_stand_in_the_drift_section(tmp_path):
    data = ReportData("t", "c", drift=drift_of(), pixel_nm=(8.0, 8.0))
    page = write_report(tmp_path / "r.html", data).read_text(encoding="utf-8")
    text = text_of(page[page.index('id="drift"') :])
    for words in ("How good is the alignment?", "0.041 px (y), 0.032 px (x)", "0.061 px", "±2.5 px (±20 nm)"):
        assert words in text
    assert re.search(r"0\.6\d+ → 0\.9\d*|0\.6\d+ → 0\.8\d+", text)
    assert "always the same way" not in text
    assert "NCC against slice" in text


def test_a_loop_that_misses_one_way_is_said_to():
    text = text_of(alignment(drift_of(closure_mean_px=(0.0, 0.055))))
    assert "always the same way, (0, 0.055) px along y and x" in text


def test_what_is_not_known_is_left_out():
    nothing = np.full(12, np.nan)
    bare = drift_of(
        ncc_before=nothing, ncc_after=nothing, closure_px=np.nan, closure_mean_px=(np.nan, np.nan), checked_pairs=0
    )
    page = alignment(bare)
    assert "<svg" not in page
    assert "–" not in text_of(page)
    assert "nan" not in text_of(page).lower()
    assert quality_line(bare) == "undecided at the end ±2.5 px"
    assert alignment(SimpleNamespace(shifts_px=np.zeros((3, 2)))) == ""


@pytest.mark.parametrize(
    ("pixel_nm", "words"),
    [(None, "±2.5 px"), ((8.0, 8.0), "±2.5 px (±20 nm)"), ((10.0, 8.0), "±2.5 px (±25 nm y, ±20 nm x)")],
)
def test_the_undecided_part_as_a_length(pixel_nm, words):
    assert undecided(drift_of(), pixel_nm) == words


def test_bad_slices_at_the_end_do_not_count():
    drift = Drift(np.zeros((4, 2)), [0, 1, 2, 30], [1, 1, 1, 0])
    assert drift.undecided_px == 2
    assert Drift(np.zeros((2, 2)), [0, 3], [0, 0]).undecided_px == 3
