"""Numbers, escaping and charts."""

import doctest
import importlib
import re

import numpy as np
import pytest

from fibtomo.report import charts, markup, text
from fibtomo.report.charts import Line, Mark

MODULES = ["charts", "markup", "pictures", "sections", "text", "voxelise"]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    module = importlib.import_module(f"fibtomo.report.{name}")
    failed, tried = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert tried > 0
    assert failed == 0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (np.int64(12), "12"),
        (123456, "123\u202f456"),
        (-3.14159, "−3.142"),
        (99999.6, "100\u202f000"),
        (0.00012345, "0.0001234"),
        (1e12, "1\u202f×\u202f10¹²"),
        (float("inf"), "∞"),
        (float("nan"), "–"),
        (None, "–"),
        (np.bool_(False), "no"),
        ("text", "text"),
    ],
)
def test_numbers(value, expected):
    assert text.number(value) == expected


@pytest.mark.parametrize(
    ("value", "doubt", "expected"),
    [
        (1234.5, 30.0, "1234 ± 30"),
        (0.0, 0.002, "0.0000 ± 0.0020"),
        (-4.1e-7, 3e-8, "(−4.10 ± 0.30)\u202f×\u202f10⁻⁷"),
        (0.5, None, "0.5000"),
        (0.5, float("nan"), "0.5000"),
        (True, None, "yes"),
        (None, 0.1, "–"),
    ],
)
def test_values_with_uncertainty(value, doubt, expected):
    assert text.with_uncertainty(value, doubt) == expected


def test_ranges_are_joined_and_cut():
    assert text.index_ranges([]) == ""
    assert text.index_ranges([1, 2, 3, 9]) == "1–3, 9"
    assert text.index_ranges(list(range(0, 100, 2)), most=2) == "0, 2 …"


def test_attributes_and_text_are_escaped():
    made = markup.tag("a", "<&>", title='"><b>', data_x=None)
    assert made == '<a title="&quot;&gt;&lt;b&gt;">&lt;&amp;&gt;</a>'


def numbers_in_path(svg, style):
    path = re.search(rf'<path class="{style}" d="([^"]*)"', svg).group(1)
    return np.array([[float(v) for v in pair.split()] for pair in re.split("[ML]", path.rstrip("Z"))[1:]])


def test_a_line_goes_where_its_data_are():
    y = np.array([0.0, 10.0, 5.0])
    svg = charts.line_chart([Line("a", [0, 1, 2], y)], "x", "y", height=300)
    points = numbers_in_path(svg, "curve s0")
    np.testing.assert_allclose(np.diff(points[:, 0]), (charts.WIDTH - 64 - 14) / 2, atol=0.1)
    assert points[1, 1] < points[2, 1] < points[0, 1]
    assert points[2, 1] == pytest.approx((points[0, 1] + points[1, 1]) / 2, abs=0.1)


def test_gaps_split_a_line():
    svg = charts.line_chart([Line("a", np.arange(5), [0, 1, np.nan, 3, 4])], "x", "y")
    assert re.search(r'class="curve s0" d="([^"]*)"', svg).group(1).count("M") == 2
    assert "nan" not in svg


@pytest.mark.parametrize("y", [[], [3.0], [2.0, 2.0], [np.nan, np.nan]])
def test_degenerate_lines_have_a_chart(y):
    svg = charts.line_chart([Line("a", np.arange(len(y)), y, sigma=np.zeros(len(y)))], "x", "y", marks=[Mark(0.0)])
    assert svg.startswith("<svg")
    assert "nan" not in svg


def test_histogram_areas_are_the_shares_of_the_phases():
    counts = np.array([10, 30, 20, 40])
    svg = charts.histogram(counts, np.arange(5) * 10.0, "grey", marks=[Mark(20.0, "t")], coloured=True)
    areas = []
    for phase in range(2):
        x, y = numbers_in_path(svg, f"area p{phase}").T
        areas.append(abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2)
    assert areas[0] / sum(areas) == pytest.approx(0.4, abs=0.01)


def test_sixteen_bit_histograms_are_joined_not_thinned():
    rng = np.random.default_rng(0)
    counts, edges = np.histogram(rng.normal(30_000, 500, 200_000), bins=65_536, range=(0, 65_536))
    svg = charts.histogram(counts, edges, "grey")
    x, y = numbers_in_path(svg, "area").T
    assert len(x) < 600
    assert y.min() < 60
    assert "30000" in svg


def test_empty_histogram():
    assert "nan" not in charts.histogram(np.zeros(4), np.arange(5.0), "grey")


def test_bars_are_proportional():
    svg = charts.bar_chart([("a", 1.0, "1 s"), ("b", 4.0, "4 s")])
    widths = [float(w) for w in re.findall(r'class="bar"[^>]* width="([\d.]+)"', svg)]
    assert widths[1] == pytest.approx(4 * widths[0], rel=1e-3)
