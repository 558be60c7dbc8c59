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


@pytest.fixture
def striped(tmp_path):
    """Slices with curtains that lean by 2°, but for slices 0 to 3."""
    rng = np.random.default_rng(0)
    slices = rng.normal(110, 5, (9, 160, 200))
    y, x = np.mgrid[:160, :200]
    for k in range(4, 9):
        slices[k] += np.interp(x - np.tan(np.radians(2)) * y + 20, np.arange(240), 12 * rng.standard_normal(240))
    tifffile.imwrite(tmp_path / "a.tif", np.clip(np.rint(slices), 0, 255).astype(np.uint8), photometric="minisblack")
    return tmp_path / "a.tif"


def preview(capsys, path, *words):
    text = says(capsys, 0, "preview", path, "-o", path.with_name("p.png"), "--voxel-nm", "unknown", *words)
    return " ".join(text.split())


def test_preview_says_what_it_found_of_curtains(striped, capsys):
    one = ["--stage", "curtain.remove"]
    text = preview(capsys, striped, *one, "--slice", 6)
    assert "curtains on slice 6: stripe index" in text
    assert "direction +2.0°" in text
    assert "grey rms removed, damage" in text
    halved = preview(capsys, striped, *one, "--slice", 6, "--set", "curtain.remove.strength=0.5")
    removed = [float(t.split(" grey rms removed")[0].split()[-1]) for t in (text, halved)]
    assert removed[1] == pytest.approx(removed[0] / 2, rel=0.1)
    text = preview(capsys, striped, *one, "--slice", 2)
    assert "no curtains found on slice 2 (stripe index 0" in text
    assert "left as it is" in text


def test_preview_shows_what_was_removed_by_one_stage_or_by_all(striped, capsys, monkeypatch):
    titles = []
    monkeypatch.setattr("fibtomo.report.pictures.write", lambda draw, place, text, *rest: titles.append(text))
    preview(capsys, striped, "--stage", "curtain.remove", "--slice", 6)
    preview(capsys, striped, "--stage", "curtain.remove", "--slice", 2)
    assert "curtains on slice 6" in preview(capsys, striped, "--pipeline", "default", "--slice", 6)
    assert titles[:2] == ["before", "curtain.remove"]
    assert titles[2].startswith("removed, ±")
    assert titles[2].endswith(" grey")
    assert titles[5] == "removed: nothing"
    assert titles[7] == "intensity.flicker + curtain.remove"
    assert titles[8].startswith("before minus after of all, ±")
    assert "curtains" not in preview(capsys, striped, "--stage", "denoise.gaussian")


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
