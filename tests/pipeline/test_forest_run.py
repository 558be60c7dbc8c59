"""Scribbles to measured phases: ``fibtomo train``, then a run with the stage ``segment.forest``."""

import json

import numpy as np
import pytest
import tifffile
from stage_fixtures import CALIBRATION, SHAPE, forest_file, grey_stack, spec_for

from fibtomo.cli.app import run_cli
from fibtomo.core.stage import StageContext, get_stage
from fibtomo.errors import InputError, PipelineError
from fibtomo.io.zarr_store import open_array
from fibtomo.ops.pixel_forest import PixelForest
from fibtomo.pipeline.config import parse_pipeline

VOXEL = ["--voxel-nm", "10", "5", "5"]
STAGES = "schema: 1\nstages:\n  - use: segment.otsu\n  - use: measure.phases\n"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A stack, its scribbles as a volume and as single slices, and a pipeline."""
    folder = tmp_path_factory.mktemp("drawn")
    grey = grey_stack()
    rng = np.random.default_rng(0)
    labels = np.where(
        (rng.random(SHAPE) < 0.05) & np.isin(np.arange(len(grey)), [4, 12])[:, None, None], 1 + (grey > 120), 0
    )
    tifffile.imwrite(folder / "grey.tif", grey, photometric="minisblack")
    tifffile.imwrite(folder / "labels.tif", labels.astype(np.uint8), photometric="minisblack")
    (folder / "single").mkdir()
    for k in (4, 12):
        tifffile.imwrite(folder / "single" / f"drawn_{k:03d}.tif", labels[k].astype(np.uint8))
    (folder / "plain.yaml").write_text(STAGES)
    return folder


@pytest.fixture(scope="module")
def trained(drawn):
    words = ["train", f"{drawn}/grey.tif", f"{drawn}/labels.tif", "-o", f"{drawn}/model.npz", "--names", "pore,metal"]
    assert run_cli([*words, "--trees", "10", *VOXEL]) == 0
    return drawn / "model.npz"


def test_train_tells_what_it_learned(drawn, capsys):
    words = ["train", f"{drawn}/grey.tif", f"{drawn}/labels.tif", "-o", f"{drawn}/told.npz", "--names", "pore,metal"]
    assert run_cli([*words, "--trees", "10", "--scales-nm", "5,12", "--kinds", "gaussian,variance", *VOXEL]) == 0
    told = capsys.readouterr().out
    for text in ("pore", "metal", "left out", "most important: ", "segment.forest.model="):
        assert text in told
    recipe = PixelForest.load(drawn / "told.npz").recipe
    assert (recipe.sigmas_nm, recipe.kinds, recipe.voxel_nm) == (
        (5.0, 12.0),
        ("gaussian", "variance"),
        (10.0, 5.0, 5.0),
    )


def test_single_labelled_slices_are_as_good_as_a_volume(drawn, trained):
    words = [
        "train",
        f"{drawn}/grey.tif",
        f"{drawn}/single",
        "-o",
        f"{drawn}/single.npz",
        "--names",
        "pore,metal",
        "-q",
    ]
    assert run_cli([*words, "--trees", "10", *VOXEL]) == 0
    assert (drawn / "single.npz").read_bytes() == trained.read_bytes()


def test_one_more_volume(drawn):
    words = ["train", f"{drawn}/grey.tif", f"{drawn}/labels.tif", "-o", f"{drawn}/two.npz", "-q", "--trees", "5"]
    assert run_cli([*words, "--also", f"{drawn}/grey.tif={drawn}/labels.tif", *VOXEL]) == 0
    found = PixelForest.load(drawn / "two.npz")
    assert len(found.greys) == 2
    assert sum(found.drawn) == 2 * np.count_nonzero(tifffile.imread(drawn / "labels.tif"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["-o", "model.pkl"], "written as .npz"),
        (["--also", "one"], "must be VOLUME=LABELS"),
        (["--scales-nm", "a,b"], "must be lengths in nm"),
        (["--scales-nm", "0.1"], "cannot be sampled"),
        (["--kinds", "colour"], "no features"),
        (["--names", "one"], "1 names were given for 2 classes"),
    ],
)
def test_mistakes_are_one_sentence(drawn, change, message, capsys):
    words = ["train", f"{drawn}/grey.tif", f"{drawn}/labels.tif", "-q", *VOXEL]
    assert run_cli([*words, *(["-o", f"{drawn}/x.npz"] if "-o" not in change else []), *change]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_labelled_slices_without_a_number_are_named(drawn, tmp_path, capsys):
    tifffile.imwrite(tmp_path / "mine.tif", np.ones(SHAPE[1:], np.uint8))
    tifffile.imwrite(tmp_path / "other.tif", np.ones(SHAPE[1:], np.uint8))
    assert run_cli(["train", f"{drawn}/grey.tif", str(tmp_path), "-o", f"{tmp_path}/m.npz", "-q", *VOXEL]) == 2
    assert "does not end in the number of a slice" in " ".join(capsys.readouterr().err.split())


def test_a_run_takes_the_forest_in_place_of_the_threshold(drawn, trained, tmp_path):
    words = ["run", f"{drawn}/grey.tif", "-o", f"{tmp_path}/out", "-p", f"{drawn}/plain.yaml", "-q", *VOXEL]
    assert run_cli([*words, "--set", f"segment.forest.model={trained}", "--tracked", "yes"]) == 0
    labels = open_array(tmp_path / "out" / "volume.ome.zarr/labels/phases/0")[:]
    grey = grey_stack()
    np.testing.assert_array_equal(labels, PixelForest.load(trained).predict(grey))
    rows = json.loads((tmp_path / "out" / "measurements.json").read_text())["rows"]
    fractions = {row["phase"]: row for row in rows if row["quantity"] == "volume_fraction"}
    assert fractions[0]["value"] == pytest.approx(np.mean(labels == 0))
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["tables"]["threshold"]["class_names"] == ["pore", "metal"]
    told = record["tables"]["forest"]
    doubt = PixelForest.load(trained).uncertainty(grey)
    assert told["mean_uncertainty"] == pytest.approx(doubt.mean(dtype=float), rel=1e-4)
    p = PixelForest.load(trained).probabilities(grey).astype(float)
    expected = np.where(labels == 0, 1 - p[0], p[0]).mean() / 2
    assert told["fraction_sigma"] == pytest.approx([expected, expected], rel=1e-4)
    assert fractions[0]["uncertainty"] >= expected


def test_a_setting_replaces_only_what_does_the_same():
    config = parse_pipeline(STAGES, "t")
    names = [call.name for call in config.with_settings(["segment.hysteresis.reach_px=3"]).calls]
    assert names == ["segment.hysteresis", "measure.phases"]
    with pytest.raises(PipelineError, match="not in this pipeline"):
        config.with_settings(["curtain.remove.levels=3"])


def slab(z0, z1, tables):
    return StageContext(spec_for("grey"), z0, (0, z1 - z0), tables, CALIBRATION)


def test_outside_the_valid_boxes_is_255(tmp_path):
    stage = get_stage("segment.forest")
    params = stage.params(model=str(forest_file(tmp_path / "model.npz")))
    boxes = np.tile([4, 30, 6, 50], (SHAPE[0], 1))
    grey = grey_stack()
    inside = np.zeros(SHAPE, bool)
    inside[:, 4:30, 6:50] = True
    results = []
    for fill in (0, 255):
        block = np.where(inside, grey, fill).astype(np.uint8)
        ctx = slab(0, SHAPE[0], {"valid": {"boxes": boxes}})
        ctx.tables["threshold"] = stage.combine([stage.measure(block, params, ctx)], params, ctx)
        results.append(stage.apply(block, params, ctx))
        assert ctx.notes["labels"].sum() == inside.sum()
        assert (results[-1][~inside] == 255).all()
        assert results[-1][inside].max() == 1
    np.testing.assert_array_equal(*results)


def test_what_a_forest_cannot_do_is_told_before_work(tmp_path):
    stage = get_stage("segment.forest")
    with pytest.raises(PipelineError, match=r"segment\.forest needs a forest"):
        stage.check(stage.params(), spec_for("grey"))
    with pytest.raises(InputError, match="there is no pixel forest"):
        stage.check(stage.params(model=str(tmp_path / "none.npz")), spec_for("grey"))
    params = stage.params(model=str(forest_file(tmp_path / "model.npz")))
    stage.check(params, spec_for("grey"))
    with pytest.raises(InputError, match="cannot be sampled with voxels of 40 nm"):
        stage.check(params, spec_for("grey").with_(voxel_nm=(40.0, 40.0, 40.0)))
    with pytest.raises(InputError, match="learned in nm and the volume is in voxel"):
        stage.check(params, spec_for("grey").with_(voxel_nm=None))
