"""What a run leaves: OME-Zarr that others can read, tables, mesh, report, provenance."""

import csv
import json

import numpy as np
import pytest
import zarr

import fibtomo
from fibtomo.core.measurements import COLUMNS
from fibtomo.io.ome import halve, multiscales, pyramid_levels


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    fibtomo.phantom.write_sample("nanoporous-silver", folder / "slices", size="tiny", seed=1)
    return fibtomo.run(folder / "slices", folder / "out", settings=["geometry.resample.voxel_nm=4"])


def test_every_promised_file_is_there(result):
    names = {p.name for p in result.path.iterdir()}
    assert names == {
        "volume.ome.zarr", "drift.csv", "measurements.csv", "measurements.json", "objects.csv", "surface_1.ply",
        "report.html", "run.json", "volume_slices.csv", "curtains.csv",
    }  # fmt: skip


def test_volume_is_ome_zarr_05(result):
    group = zarr.open_group(str(result.path / "volume.ome.zarr"), mode="r")
    ome = group.attrs["ome"]
    assert ome["version"] == "0.5"
    image = ome["multiscales"][0]
    assert [a["name"] for a in image["axes"]] == ["z", "y", "x"]
    assert {a["unit"] for a in image["axes"]} == {"nanometer"}
    assert image["datasets"][0]["coordinateTransformations"][0]["scale"] == [4, 4, 4]
    for dataset in image["datasets"]:
        array = group[dataset["path"]]
        assert array.metadata.zarr_format == 3
        assert array.ndim == 3
    assert group["labels"].attrs["ome"]["labels"] == ["phases", "objects"]
    assert "image-label" in group["labels/phases"].attrs["ome"]


def test_another_library_reads_the_volume(result):
    ome_zarr = pytest.importorskip("ome_zarr.io")
    from ome_zarr.reader import Reader

    nodes = list(Reader(ome_zarr.parse_url(str(result.path / "volume.ome.zarr")))())
    assert nodes[0].data[0].shape == result.volume.shape


def test_run_gives_arrays_and_tables(result):
    assert result.voxel_nm == (4, 4, 4)
    assert result.volume.dtype == np.uint8
    assert result.labels.shape == result.volume.shape
    assert set(np.unique(result.labels.compute())) <= {0, 1, 255}
    assert result.drift.shifts_px.shape == (16, 2)
    frame = result.measurements.to_dataframe()
    assert list(frame.columns) == list(COLUMNS)
    assert len(result.measurements.objects) == int(result.objects.max().compute())
    assert result.report_path.read_text().startswith("<!")


def test_drift_table_names_the_files(result):
    lines = [line for line in (result.path / "drift.csv").read_text().splitlines() if not line.startswith("#")]
    rows = list(csv.DictReader(lines))
    assert len(rows) == 16
    assert rows[3]["file"] == "SEM Image - SliceImage - 004.tif"
    assert float(rows[3]["z_nm"]) == pytest.approx(30)


def test_what_was_done_to_the_curtains_of_each_slice(result, capsys):
    from fibtomo.cli.app import run_cli

    rows = list(csv.DictReader((result.path / "curtains.csv").read_text().splitlines()))
    kept = json.loads((result.path / "run.json").read_text())["tables"]["curtains"]
    assert kept["stages"] == ["intensity.flicker", "curtain.remove"]
    assert kept["frame"] == "slice"
    assert len(rows) == 16
    assert rows[3]["file"] == "SEM Image - SliceImage - 004.tif"
    assert [float(row["index"]) for row in rows] == kept["index"]
    assert [float(row["removed_rms_grey"]) for row in rows] == kept["removed_rms"]
    striped = [row for row in rows if float(row["index"]) > 1]
    assert len(striped) > 8
    assert all(float(row["removed_rms_grey"]) > 0 for row in striped)
    assert {row["second_angle_deg"] == "" for row in rows} == {v is None for v in kept["second_angle_deg"]}
    assert all(float(f"{v:.4g}") == v for v in kept["structure_loss"])
    page = result.report_path.read_text()
    said = page[page.index('id="curtains"') : page.index('id="drift"')]
    assert "showed curtains" in said
    assert "which shows the strongest curtains" in page
    assert run_cli(["report", str(result.path)]) == 0
    capsys.readouterr()
    again = result.report_path.read_text()
    assert again[again.index('id="curtains"') : again.index('id="drift"')] == said
    result.report_path.write_text(page)


def test_curtains_taken_from_the_volume_name_no_files(result, tmp_path):
    stages = [
        {"use": "curtain.remove"},
        {"use": "geometry.resample"},
        {"use": "curtain.remove", "with": {"strength": 0.5}},
    ]
    (tmp_path / "p.yaml").write_text(json.dumps({"schema": 1, "stages": stages}))
    slices = result.provenance["input"]["path"]
    run = fibtomo.run(slices, tmp_path / "out", pipeline=tmp_path / "p.yaml", tracked=True)
    first, second = (
        list(csv.DictReader((run.path / name).read_text().splitlines())) for name in ("curtains.csv", "curtains_2.csv")
    )
    assert (len(first), len(second)) == (16, run.volume.shape[0])
    assert all(row["file"] for row in first)
    assert not any(row["file"] for row in second)
    assert run.provenance["tables"]["curtains_2"]["frame"] == "specimen"
    assert "Curtains, second pass" in run.report_path.read_text()
    fibtomo.run(slices, run.path, settings=["curtain.remove=off"], overwrite=True)
    assert not list(run.path.glob("curtains*"))
    assert "curtains" not in json.loads((run.path / "run.json").read_text())["tables"]


def test_quality_of_the_alignment_everywhere(result, capsys):
    from fibtomo.cli.app import run_cli

    kept = json.loads((result.path / "run.json").read_text())["tables"]["drift_quality"]
    assert kept["ncc_after"] > kept["ncc_before"]
    assert 0 < kept["left_out_dy_px"] < 0.3
    assert kept["undecided_px"] == result.drift.undecided_px
    assert result.drift.quality.summary()["ncc_after"] == kept["ncc_after"]
    assert "How good is the alignment?" in result.report_path.read_text()
    assert run_cli(["drift", str(result.path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "quality: pairs left out are met within" in said
    assert " nm)" in said


def test_provenance_says_how(result):
    record = json.loads((result.path / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["pipeline"]["stages"][0]["use"] == "intensity.flicker"
    assert record["versions"]["numpy"] == np.__version__
    assert any(row[0] == "pixel_nm" and "34682" in row[2] for row in record["input"]["values"])


def test_the_recorded_pipeline_repeats_the_run(result, tmp_path):
    (tmp_path / "again.yaml").write_text(result.provenance["pipeline_yaml"])
    again = fibtomo.run(result.provenance["input"]["path"], tmp_path / "out", pipeline=tmp_path / "again.yaml")
    np.testing.assert_array_equal(again.volume.compute(), result.volume.compute())


def test_an_uncalibrated_run_speaks_of_voxels(tmp_path):
    import tifffile

    rng = np.random.default_rng(0)
    from scipy.ndimage import gaussian_filter

    grey = (gaussian_filter(rng.standard_normal((8, 64, 80)), 3) > 0) * 100 + 50
    tifffile.imwrite(tmp_path / "s.tif", grey.astype(np.uint8), photometric="minisblack")
    run = fibtomo.run(tmp_path / "s.tif", tmp_path / "out", voxel_nm="unknown")
    assert run.voxel_nm is None
    units = set(run.measurements.to_dataframe()["unit"])
    assert not any("nm" in u for u in units)
    assert "voxel" in " ".join(units)


@pytest.mark.parametrize("shape", [(5, 7, 9), (1, 8, 8), (64, 3, 1), (2, 2, 2)])
def test_halving_averages_cells(shape):
    block = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    coarse = halve(block, labels=False)
    assert coarse.shape == tuple(max(1, n // 2) for n in shape)
    cell = block[tuple(slice(0, min(2, n)) for n in shape)]
    assert coarse[0, 0, 0] == np.rint(cell.mean(dtype=np.float32))
    assert halve(block, labels=True)[0, 0, 0] == block[0, 0, 0]


def test_levels_end_at_256():
    assert pyramid_levels((100, 200, 256)) == 1
    assert pyramid_levels((100, 200, 257)) == 2
    assert pyramid_levels((2000, 2000, 2000)) == 4
    assert pyramid_levels((64, 64, 64), wanted=3) == 3


def test_coarse_voxels_lie_in_the_middle_of_their_cells():
    entry = multiscales("x", [(8, 8, 8), (4, 4, 4)], (5.0, 5.0, 5.0), labels=False)["ome"]["multiscales"][0]
    scale, move = entry["datasets"][1]["coordinateTransformations"]
    assert scale["scale"] == [10, 10, 10]
    assert move["translation"] == [2.5, 2.5, 2.5]
