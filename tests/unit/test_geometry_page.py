"""docs/geometry.md says what the code does."""

import doctest
import re
import subprocess
import sys
from math import cos, radians, tan

import pytest

from fibtomo import Geometry


@pytest.fixture
def page(repo):
    return (repo / "docs" / "geometry.md").read_text(encoding="utf-8")


def test_worked_example_runs(page):
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    test = doctest.DocTestParser().get_doctest(code, {}, "geometry.md", None, 0)
    assert len(test.examples) == 9
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    assert runner.run(test).failed == 0


def test_table_of_factors(page):
    rows = re.findall(r"(?m)^\| (\d\d) \| [A-Z a-z,]+ \| ([\d. |]+) \|$", page)
    assert [int(angle) for angle, _ in rows] == [52, 53, 54, 55, 58, 90]
    for angle, numbers in rows:
        theta = float(angle)
        raw, corrected = (Geometry((10, 5, 5), theta, tilt_corrected=on) for on in (False, True))
        cot = 0.0 if theta == 90 else 1 / tan(radians(theta))
        exact = [raw.y_factor, cos(radians(theta)), cot, raw.shear_px_per_slice, corrected.shear_px_per_slice]
        written = [text.strip() for text in numbers.split("|")]
        assert written == [f"{v:.5f}" for v in exact[:3]] + [f"{v:.4f}" for v in exact[3:]]


def test_figure_is_current(repo):
    done = subprocess.run([sys.executable, str(repo / "docs" / "make_figures.py"), "--check"], capture_output=True)
    assert done.returncode == 0, "run docs/make_figures.py"


def test_options_and_settings_exist(page, capsys, monkeypatch):
    from fibtomo.cli.app import run_cli
    from fibtomo.core.stage import get_stage

    monkeypatch.setenv("COLUMNS", "200")
    assert run_cli(["run", "--help"]) == 0
    told = capsys.readouterr().out
    for option in set(re.findall(r"--[a-z][a-z-]+", page)):
        assert option in told, option
    for stage, name in set(re.findall(r"(\w+\.\w+)\.(\w+)=", page)):
        assert name in get_stage(stage).params.model_fields


def test_fields_of_the_table_of_angles_exist(page):
    for name in re.findall(r"\| `(\w+_deg)` \|", page):
        assert name in Geometry.__dataclass_fields__


def test_figure_and_links_lead_somewhere(repo, page):
    for target in re.findall(r"\]\(([^)#]+)\)", page):
        assert "://" in target or (repo / "docs" / target).exists(), target
