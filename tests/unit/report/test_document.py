"""The page as a whole: valid, self-contained, complete, honest about what is missing."""

import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fibtomo.core.source import ArraySource
from fibtomo.core.volume import OUTSIDE, VolumeSpec
from fibtomo.errors import OutputError, StackError
from fibtomo.report import ReportData, write_report
from fibtomo.report.sections import measurements

VOID = {"img", "br", "hr", "input", "meta", "link"}


class Page(HTMLParser):
    """Collects elements and checks that every one is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def ids(self) -> list[str]:
        return [a["id"] for _, a in self.elements if "id" in a]


def source(array, voxel_nm, kind="grey"):
    return ArraySource(array, VolumeSpec(array.shape, str(array.dtype), voxel_nm, kind=kind))


def waves(shape, wavelength, seed):
    rng = np.random.default_rng(seed)
    k = rng.normal(size=(40, 3))
    k *= 2 * np.pi / wavelength / np.linalg.norm(k, axis=1, keepdims=True)
    grid = np.moveaxis(np.indices(shape), 0, -1)
    return np.cos(grid @ k.T + rng.uniform(0, 2 * np.pi, 40)).sum(axis=-1) / np.sqrt(20)


@pytest.fixture(scope="module")
def data() -> ReportData:
    rng = np.random.default_rng(1)
    shape = (24, 40, 48)
    phases = (waves(shape, 14, 0) > 0.1).astype(np.uint8)
    phases[:, :2] = OUTSIDE
    grey = np.clip(60 + 100 * (phases == 1) + rng.normal(0, 8, shape), 0, 255).astype(np.uint8)
    n = len(grey)
    expected = np.zeros((n, 2))
    expected[:, 0] = -0.9 * np.arange(n)
    volumes = np.array([900.0, 20.0, 3.0])
    return ReportData(
        title="Silver, run 3",
        command="fibtomo run slices -o out",
        created="2026-01-02 10:00",
        version="0.1.0",
        summary=[("Device", "CPU")],
        metadata=[("column angle", 52.0, "vendor default", "default"), ("tracked", None, "", "unknown")],
        warnings=["Slice 5 is dark."],
        assumptions=["The field of view was fixed."],
        drift=SimpleNamespace(
            shifts_px=expected + rng.normal(0, 0.3, (n, 2)),
            sigma_px=np.full(n, 0.2),
            bad_slices=(5,),
            flags=[""] * 5 + ["bad: too dark"] + [""] * (n - 6),
            identifiable=False,
            notes=("Slope from the geometry.",),
            method="cross-correlation",
        ),
        slice_files=[f"s{k:02d}.tif" for k in range(n)],
        slice_nm=10.0,
        expected_shifts_px=expected,
        raw=source(grey, (10.0, 8.0, 8.0)),
        corrected=source(grey // 2, (10.0, 8.0, 8.0)),
        volume=source(grey, (8.0, 8.0, 8.0)),
        labels=source(phases, (8.0, 8.0, 8.0), "phases"),
        histogram=np.histogram(grey, bins=256, range=(0, 256)),
        thresholds=[110.0],
        threshold_sigma=2.0,
        measurements=[
            {
                "quantity": "volume_fraction",
                "phase": 0,
                "value": 0.6,
                "unit": "1",
                "uncertainty": 0.02,
                "definition": "d0",
            },
            {
                "quantity": "volume_fraction",
                "phase": 1,
                "value": 0.4,
                "unit": "1",
                "uncertainty": 0.02,
                "definition": "d1",
            },
            {
                "quantity": "contact",
                "phase": "0|1",
                "value": None,
                "unit": "1/nm",
                "uncertainty": None,
                "definition": "",
            },
        ],
        objects={"label": np.arange(1, 4), "volume_nm3": volumes, "touches_border": np.array([True, False, False])},
        timings=[("read", 1.0, 40.0), ("measure", 200.0, None)],
        pipeline_yaml="stages:\n  - use: segment.otsu\n",
        versions={"numpy": "2.0"},
        notes=["Nothing more."],
    )


@pytest.fixture(scope="module")
def written(data, tmp_path_factory) -> Path:
    return write_report(tmp_path_factory.mktemp("report") / "report.html", data)


@pytest.fixture(scope="module")
def page(written) -> Page:
    return Page(written.read_text(encoding="utf-8"))


def test_valid_and_small(page, written):
    assert page.open == []
    assert len(page.ids()) == len(set(page.ids()))
    assert written.stat().st_size < 6e6
    assert [p.name for p in written.parent.iterdir()] == ["report.html"]


def test_self_contained(page, written):
    for tag, attributes in page.elements:
        for key in ("src", "href", "data", "action"):
            assert attributes.get(key, "data:").startswith("data:"), (tag, attributes)
        assert tag not in {"link", "iframe", "object"}
    assert not re.search(r"https?://|@import|url\(", written.read_text(encoding="utf-8"))


def test_every_part_in_order(page):
    order = [
        "views",
        "corrections",
        "drift",
        "histogram",
        "measurements",
        "objects",
        "metadata",
        "timings",
        "notes",
        "repeat",
    ]
    assert page.ids() == order
    pictures = [a["alt"] for tag, a in page.elements if tag == "img"]
    assert pictures[0] == "Three-dimensional rendering"
    assert pictures.count("xy") == pictures.count("zy") == pictures.count("xz") == 2
    assert {"before", "after", "removed component", "yz as stacked", "xz reconstructed"} <= set(pictures)
    assert sum(tag == "svg" for tag, _ in page.elements) == 5


def test_says_what_matters(page):
    text = page.text
    assert "24 slices became a volume of 384 × 320 × 192 nm (48 × 40 × 24 voxels of 8 nm)." in text
    assert "60.0 ± 2.0 % phase 0" in text
    assert "0.600 ± 0.020" in text
    assert text.index("Slice 5 is dark.") < text.index("The field of view was fixed.") < text.index("Sections")
    for words in ("not determined by them alone", "too dark", "s05.tif", "cross-correlation", "vendor default"):
        assert words in text
    for words in ("fibtomo run slices -o out", "use: segment.otsu", "numpy 2.0", "3 min 20 s", "40 Mvoxel/s", "nm⁻¹"):
        assert words in text
    assert "nan" not in text.lower()


def test_an_identifiable_drift_is_called_so(tmp_path):
    drift = SimpleNamespace(shifts_px=np.zeros((9, 2)), identifiable=True)
    text = Page(write_report(tmp_path / "r.html", ReportData("t", "c", drift=drift)).read_text(encoding="utf-8")).text
    assert "slow part of the drift are determined" in text
    assert "not determined" not in text
    assert "standard error" not in text


def test_unmeasured_slices_are_admitted(tmp_path):
    drift = SimpleNamespace(shifts_px=np.zeros((5, 2)), confidence=[1.0, 0.0, 0.0, 0.0, 1.0], bad_slices=(3,))
    text = Page(write_report(tmp_path / "r.html", ReportData("t", "c", drift=drift)).read_text(encoding="utf-8")).text
    assert "1 bad slice was bridged by neighbours. The place of 2 slices was assumed, not measured." in text
    assert "No motion could be measured for slices 1–2" in text


def test_almost_nothing(tmp_path):
    page = Page(write_report(tmp_path / "r.html", ReportData("Empty", "fibtomo info x")).read_text(encoding="utf-8"))
    assert page.open == []
    assert page.ids() == ["repeat"]
    assert "fibtomo info x" in page.text


def test_grey_only_and_without_scale(tmp_path):
    grey = np.random.default_rng(0).integers(0, 4000, (6, 20, 30)).astype(np.uint16)
    page = Page(write_report(tmp_path / "r.html", ReportData("t", "c", volume=grey)).read_text(encoding="utf-8"))
    assert "no scale was given" in page.text
    assert "nm" not in page.text.split()
    assert "Three-dimensional rendering" in [a.get("alt") for _, a in page.elements]
    assert page.ids() == ["views", "repeat"]


def test_hostile_names_are_text(tmp_path):
    evil = "<script>alert(1)</script>\"'&.tif"
    drift = SimpleNamespace(shifts_px=np.zeros((3, 2)), bad_slices=[1], flags=["", evil, ""], notes=[evil])
    data = ReportData(
        evil,
        evil,
        summary=[(evil, evil)],
        metadata=[(evil, evil, evil, evil)],
        warnings=[evil],
        drift=drift,
        slice_files=[evil] * 3,
        measurements=[{"quantity": evil, "phase": evil, "value": evil, "unit": evil, "definition": evil}],
        timings=[(evil, 1.0, None)],
        pipeline_yaml=evil,
        versions={evil: evil},
        notes=[evil],
    )
    text = write_report(tmp_path / "r.html", data).read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert text.count("<script") == 1
    assert "alert" not in text.split("<script>")[1]
    assert not any(key.startswith("on") for _, attributes in page.elements for key in attributes)
    assert page.text.count(evil) >= 10


def test_an_unreadable_volume_is_reported(tmp_path):
    class Broken(ArraySource):
        def read(self, z0, z1):
            raise StackError("slice 'a<b>.tif' is truncated; copy it again")

    grey = np.zeros((4, 8, 8), np.uint8)
    broken = Broken(grey, VolumeSpec(grey.shape, "uint8"))
    text = write_report(tmp_path / "r.html", ReportData("t", "c", raw=broken)).read_text(encoding="utf-8")
    assert "raw stack could not be read for this report: slice &#x27;a&lt;b&gt;.tif&#x27; is truncated" in text


def test_an_unwritable_place_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"gone.*cannot be written"):
        write_report(tmp_path / "gone" / "report.html", ReportData("t", "c"))


def test_both_parts_of_an_uncertainty_are_shown():
    row = {
        "quantity": "volume_fraction",
        "phase": 1,
        "value": 0.412,
        "unit": "1",
        "uncertainty": 0.0078,
        "definition": "",
    }
    shown = measurements(ReportData("t", "c", measurements=[{**row, "sampling": 0.005, "threshold": 0.006}]))
    assert "0.4120 ± 0.0078" in shown
    assert "(sampling 0.0050, threshold 0.0060)" in shown
    assert "sampling" not in measurements(ReportData("t", "c", measurements=[row]))
