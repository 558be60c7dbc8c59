"""What a user types at the products and previews of the command line."""

import numpy as np
import pytest
import tifffile

from fibtomo.cli.app import run_cli


@pytest.fixture
def blobs():
    from scipy.ndimage import gaussian_filter

    return (gaussian_filter(np.random.default_rng(0).normal(size=(12, 30, 32)), 2) > 0).astype(np.uint8)


def says(capsys, code, *argv):
    assert run_cli([str(a) for a in argv]) == code
    captured = capsys.readouterr()
    assert "a fault in fibtomo" not in captured.err
    return captured.out + captured.err


def fraction(path):
    import csv

    rows = list(csv.DictReader(path.read_text().splitlines()))
    return {int(r["phase"]): float(r["value"]) for r in rows if r["quantity"] == "volume_fraction"}


@pytest.mark.parametrize("stored", ["u1", "u2", "i4", "bool", "mask"])
def test_labels_of_any_whole_type_measure_the_same(blobs, stored, tmp_path, capsys):
    labels = blobs * np.uint8(255) if stored == "mask" else blobs.astype(stored)
    tifffile.imwrite(tmp_path / "labels.tif", labels)
    says(capsys, 0, "measure", tmp_path / "labels.tif", "--voxel-nm", 5, 5, 5, "-o", tmp_path / "m.csv")
    assert fraction(tmp_path / "m.csv") == pytest.approx({0: 1 - blobs.mean(), 1: blobs.mean()})


def test_unseen_voxels_are_named(blobs, tmp_path, capsys):
    blobs[:2] = 255
    tifffile.imwrite(tmp_path / "labels.tif", blobs)
    assert "outside the field of view" in says(capsys, 0, "measure", tmp_path / "labels.tif")


@pytest.mark.parametrize("command", ["measure", "mesh"])
def test_a_grey_volume_is_no_labels(command, tmp_path, capsys):
    grey = np.random.default_rng(0).integers(0, 255, (6, 20, 20), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "grey.tif", grey)
    out = ["-o", tmp_path / "x.ply"] if command == "mesh" else []
    assert "segment it first" in says(capsys, 2, command, tmp_path / "grey.tif", *out)


def test_a_phase_that_is_not_there_leaves_no_empty_mesh(blobs, tmp_path, capsys):
    tifffile.imwrite(tmp_path / "labels.tif", blobs)
    text = says(capsys, 2, "mesh", tmp_path / "labels.tif", "-o", tmp_path / "x.ply", "--phase", 7)
    assert "--phase" in text
    assert not (tmp_path / "x.ply").exists()


@pytest.mark.parametrize("name", ["nowhere/m.csv", "m.xlsx"])
def test_measurements_that_cannot_be_written(blobs, name, tmp_path, capsys):
    tifffile.imwrite(tmp_path / "labels.tif", blobs)
    assert name in says(capsys, 2, "measure", tmp_path / "labels.tif", "-o", tmp_path / name).replace("\n", "")


def test_export_overwrites_when_told(blobs, tmp_path, capsys):
    tifffile.imwrite(tmp_path / "labels.tif", blobs)
    words = ["export", tmp_path / "labels.tif", "-o", tmp_path / "x.nrrd"]
    says(capsys, 0, *words)
    assert "--overwrite" in says(capsys, 2, *words)
    says(capsys, 0, *words, "--overwrite")


def test_preview_takes_the_options_it_asks_for(tmp_path, capsys):
    slices = np.random.default_rng(0).integers(0, 255, (5, 40, 48), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", slices)
    words = ["preview", tmp_path / "a.tif", "-o", tmp_path / "p.png", "--stage", "geometry.resample"]
    words += ["--voxel-nm", 10, 5, 5, "--tilt-corrected", "no", "--column-angle-deg", 52]
    assert "--tracked" in says(capsys, 2, *words)
    says(capsys, 0, *words, "--tracked", "yes")
    assert (tmp_path / "p.png").is_file()


@pytest.mark.parametrize("stage", ["drift.import", "drift.estimate", "label.components"])
def test_preview_names_the_stages_it_can_show(stage, tmp_path, capsys):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 20, 20), np.uint8))
    text = says(capsys, 2, "preview", tmp_path / "a.tif", "-o", tmp_path / "p.png", "--stage", stage)
    assert "curtain.remove" in text


def test_pattern_chooses_between_series(tmp_path, capsys):
    for k in range(4):
        for name in ("se", "map"):
            tifffile.imwrite(tmp_path / f"{name}_{k:03d}.tif", np.full((20, 20), 9 * k, np.uint8))
    assert "channels" in says(capsys, 0, "info", tmp_path)
    text = says(capsys, 0, "info", tmp_path, "--pattern", "map_*.tif")
    assert "map_000.tif" in text
    assert "channels" not in text


def test_usage_errors_name_the_help(capsys):
    assert "fibtomo run --help" in says(capsys, 2, "run")
    assert "see fibtomo --help" in says(capsys, 2, "bogus")
    assert "fibtomo: \n" not in says(capsys, 2)


def test_ctrl_c_says_how_to_go_on(monkeypatch, tmp_path, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("fibtomo.api.open_stack", interrupted)
    assert "run the same command again" in says(capsys, 130, "info", tmp_path)
