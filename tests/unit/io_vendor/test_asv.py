from pathlib import Path

import pytest

from fibtomo.io.vendor import read_project

EMXML = """<?xml version="1.0" encoding="utf-8"?>
<EMProject xmlns="EMProject"><ApplicationName>Auto Slice &amp; View 4</ApplicationName>
<ZCutSpacing>2.5E-08</ZCutSpacing>
<Datasets><Dataset><Name>SEM Image</Name><BoxSize><SizeX>7.5E-05</SizeX></BoxSize>
<NumberOfCuts>185</NumberOfCuts></Dataset></Datasets></EMProject>"""


def results(*measured: str, target: str = "1E-08") -> str:
    slices = "".join(f'<Slice TargetThickness="{target}" MeasuredThickness="{value}"/>' for value in measured)
    return f'<?xml version="1.0"?><ProjectData><Results>{slices}</Results></ProjectData>'


@pytest.fixture
def project(tmp_path: Path):
    def write(text: str, slices: int = 4) -> Path:
        (tmp_path / "ProjectData.dat").write_text(text)
        for k in range(1, slices + 1):
            (tmp_path / f"SEM Image - SliceImage - {k:03}.tif").touch()
        return tmp_path

    return write


def test_measured_thickness_is_cumulated(project) -> None:
    info = read_project(project(results("1.1E-08", "0.9E-08", "1.2E-08", "1.0E-08")))
    assert info.vendor == "Thermo/FEI"
    assert info.calibration.slice_nm.value == 10.0
    assert info.calibration.slice_z_nm.value == pytest.approx((0.0, 9.0, 21.0, 31.0))
    assert info.calibration.slice_z_nm.confidence == "measured"
    assert info.thickness_nm_by_number == pytest.approx({1: 11.0, 2: 9.0, 3: 12.0, 4: 10.0})
    assert info.slice_z_nm_by_name["SEM Image - SliceImage - 003.tif"] == pytest.approx(21.0)
    assert len(info.slice_z_nm_by_name) == 4
    assert info.warnings == []


def test_nan_takes_the_target_and_says_so(project) -> None:
    info = read_project(project(results("1.1E-08", "NaN", "1.2E-08", "0")))
    assert info.calibration.slice_z_nm.value == pytest.approx((0.0, 10.0, 22.0, 32.0))
    (warning,) = info.warnings
    assert "2 of 4" in warning
    assert "slice 2" in warning


def test_nothing_measured_leaves_the_target_alone(project) -> None:
    info = read_project(project(results("NaN", "NaN")))
    assert info.calibration.slice_nm.value == 10.0
    assert not info.calibration.slice_z_nm
    assert info.slice_z_nm_by_name == {}


def test_numbers_in_the_file_count(project) -> None:
    text = (
        results("1E-08", "2E-08").replace("<Slice ", '<Slice Number="7" ', 1).replace("<Slice T", '<Slice Number="8" T')
    )
    assert read_project(project(text)).thickness_nm_by_number == pytest.approx({7: 10.0, 8: 20.0})


def test_decimal_comma(project) -> None:
    assert read_project(project(results("1,5E-08", "1,5E-08"))).thickness_nm_by_number == pytest.approx({1: 15, 2: 15})


def test_project_in_the_parent(project) -> None:
    root = project(results("1E-08", "1E-08"))
    (root / "Images").mkdir()
    (root / "Images" / "a_001.tif").touch()
    info = read_project(root / "Images")
    assert info.path == root / "ProjectData.dat"
    assert info.slice_z_nm_by_name == {"a_001.tif": 0.0}


@pytest.mark.parametrize("text", ["", "<ProjectData><Results><Slice", "not xml at all"])
def test_damaged_project_is_a_warning(project, text: str) -> None:
    info = read_project(project(text))
    assert "damaged" in info.warnings[0]
    assert not info.calibration.slice_nm


def test_project_without_slices_knows_nothing_but_the_column(project) -> None:
    info = read_project(project("<ProjectData><Results/></ProjectData>"))
    assert not info.calibration.slice_nm
    assert info.calibration.column_angle_deg.value == 52.0


def test_version_4_project_and_its_layout(tmp_path: Path) -> None:
    (tmp_path / "run.emxml").write_text(EMXML)
    own, other = tmp_path / "Images" / "SEM Image", tmp_path / "Images" / "unrelated"
    own.mkdir(parents=True)
    other.mkdir()
    for folder in (tmp_path, own):
        info = read_project(folder)
        assert info.calibration.slice_nm.value == 25.0
        assert info.calibration.slice_nm.origin == "project run.emxml ZCutSpacing"
        assert info.metadata["slices"].value == 185
        assert info.metadata["box_x_um"].value == 75.0
        assert info.metadata["datasets"].value == ("SEM Image",)
    assert read_project(other) is None


def test_no_project(tmp_path: Path) -> None:
    assert read_project(tmp_path) is None
    assert read_project(tmp_path / "absent") is None
