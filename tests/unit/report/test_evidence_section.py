"""What the slices say, as a reader of the report sees it."""

import re

import pytest

from fibtomo.core.evidence import Evidence
from fibtomo.ops.isotropy import Isotropy
from fibtomo.ops.self_test import motion_evidence, thickness_evidence, tilt_evidence
from fibtomo.pipeline.report_data import _evidence_record
from fibtomo.report import ReportData
from fibtomo.report.charts import Mark, gauge
from fibtomo.report.evidence import evidence


def section(*items):
    return str(evidence(ReportData("t", "c", evidence=[_evidence_record(item) for item in items])))


def places(svg, label):
    return float(re.search(rf'<text x="([\d.]+)"[^>]*>{label}', svg)[1])


def test_every_verdict_has_sentence_badge_and_chart():
    shape = Isotropy(0.79, 0.02, 0.0, 900.0, 0.0)
    page = section(
        tilt_evidence(shape, face_angle_deg=38.0),
        thickness_evidence((2.1, 0.3), 5.0, 10.0),
        motion_evidence((-1.2, 0.1), 1.231, 200, shape)[0],
    )
    assert page.count("<svg") == 3
    for words in (
        "Structures are 0.790 ± 0.020 as long along y as along x",
        "no, decisive",
        "not corrected: 0.788",
        "tilt corrected: 1",
        "10.5 nm, a hint",
        "known: 10 nm",
        "fixed: −1.23",
        "follows the face: 0",
    ):
        assert words in page


def test_undecided_verdicts_say_why():
    page = section(tilt_evidence(None), Evidence("tracked", None, "too few neighbouring slices could be aligned"))
    assert page.count("undecided") == 2
    assert "Too few neighbouring slices" in page
    assert "<svg" not in page


def test_upright_columns_have_one_mark():
    page = section(tilt_evidence(Isotropy(1.0, 0.02, 0.0, 900.0, 0.0), face_angle_deg=0.0))
    assert "either way: 1" in page
    assert "not corrected:" not in page


def test_nothing_without_a_look():
    assert section() == ""


@pytest.mark.parametrize("value", [0.5, 0.79, 1.0, 2.5])
def test_the_measured_value_stands_where_it_belongs(value):
    svg = str(gauge(value, 0.03, "value", "ratio", [Mark(0.788, "low"), Mark(1.0, "high")]))
    low, high = places(svg, "low"), places(svg, "high")
    dot = float(re.search(r'<circle[^>]*cx="([\d.]+)"', svg)[1])
    assert (dot - low) / (high - low) == pytest.approx((value - 0.788) / 0.212, abs=0.02)
    assert min(low, dot) >= 64
    assert max(high, dot) <= 1040
    text = re.search(r'<text x="([\d.]+)"[^>]*text-anchor="(\w+)"[^>]*>value</text>', svg)
    assert (float(text[1]) + 40 < 1040) if text[2] == "start" else (float(text[1]) - 40 > 0)
