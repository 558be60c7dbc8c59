"""A drift from a file in a run: for every detector, resumable, part of the identity of the run, in every format."""

import json

import numpy as np
import pytest
import tifffile

import fibtomo
from fibtomo.cli.app import run_cli
from fibtomo.core.drift import Drift
from fibtomo.errors import CancelledError, OutputError, PipelineError
from fibtomo.io.shifts import read_shifts
from fibtomo.pipeline.config import load_pipeline
from fibtomo.pipeline.progress import SilentObserver

N = 9
FACTS = {"voxel_nm": (5, 5, 5), "column_angle_deg": 90, "tilt_corrected": True, "tracked": True}


@pytest.fixture(scope="module")
def truth():
    shifts = np.random.default_rng(3).integers(-4, 5, (N, 2)).astype(float)
    return shifts - shifts[0]


@pytest.fixture(scope="module")
def detectors(truth, tmp_path_factory):
    """Two detectors that see different scenes of the same motion; nothing in the first shows the motion."""
    from scipy.ndimage import gaussian_filter

    folder = tmp_path_factory.mktemp("detectors")
    scenes = gaussian_filter(np.random.default_rng(0).normal(size=(2, 80, 90)), (0, 2, 2))
    scenes = np.clip(128 + 400 * scenes, 0, 255).astype(np.uint8)
    moved = np.stack(
        [[s[10 - int(dy) : 70 - int(dy), 10 - int(dx) : 80 - int(dx)] for s in scenes] for dy, dx in truth]
    )
    names = {"axes": "ZCYX", "Channel": {"Name": ["SE", "BSE"]}}
    tifffile.imwrite(folder / "both.ome.tif", moved, metadata=names)
    return folder / "both.ome.tif", scenes


@pytest.mark.parametrize("name", ["d.json", "d.txt"])
def test_the_same_drift_corrects_both_detectors(detectors, truth, tmp_path, name):
    path, scenes = detectors
    given = tmp_path / name
    if name == "d.txt":
        given.write_text("\n".join(f"{dy} {dx}" for dy, dx in truth))
    else:
        Drift(truth, notes=("from the BSE",)).save(given)
    for scene, channel in zip(scenes, ("SE", "BSE"), strict=True):
        out = tmp_path / channel
        run = fibtomo.run(path, out, "drift-only", channel=channel, import_shifts=given, memory_bytes=1e8, **FACTS)
        np.testing.assert_array_equal(run.drift.shifts_px, truth)
        y, x = (10 - truth.min(axis=0)).astype(int)
        volume = run.volume.compute()
        inside = scene[y : y + volume.shape[1], x : x + volume.shape[2]]
        assert np.abs(volume.astype(int) - inside).max() <= 1
        assert run.provenance["files"][str(given)]
        assert run.voxel_nm == (5, 5, 5)


class Impatient(SilentObserver):
    def __init__(self):
        self.seen = 0

    def advance(self, voxels):
        self.seen += 1

    def cancelled(self):
        return self.seen > 1


def test_an_unfinished_run_goes_on_only_with_the_same_shifts(detectors, truth, tmp_path):
    given, out = tmp_path / "d.csv", tmp_path / "out"
    Drift(truth).save(given)
    arguments = {"channel": "SE", "import_shifts": given, "memory_bytes": 4e5, "workers": 1, **FACTS}
    with pytest.raises(CancelledError):
        fibtomo.run(detectors[0], out, "drift-only", observer=Impatient(), **arguments)
    kept = given.read_text()
    Drift(truth + np.outer(np.arange(N), (1, 0))).save(given)
    with pytest.raises(OutputError, match="unfinished run with another file among the parameters"):
        fibtomo.run(detectors[0], out, "drift-only", **arguments)
    given.write_text(kept)
    run = fibtomo.run(detectors[0], out, "drift-only", **arguments)
    assert run.provenance["resumed"]
    np.testing.assert_array_equal(run.drift.shifts_px, truth)


def test_drift_from_a_file_takes_the_place_of_the_estimate():
    config = load_pipeline("default").with_drift_from("a.csv", "steps")
    assert [c.name for c in config.calls][2:5] == ["drift.import", "face.find", "geometry.resample"]
    assert config.calls[2].params.shifts_are == "steps"
    from fibtomo.pipeline.config import parse_pipeline

    bare = parse_pipeline("stages: [denoise.gaussian, geometry.resample]", "bare")
    assert [c.name for c in bare.with_drift_from("a.csv").calls] == [
        "denoise.gaussian", "drift.import", "geometry.resample",
    ]  # fmt: skip
    with pytest.raises(PipelineError, match="no stage of this pipeline uses a drift"):
        parse_pipeline("stages: [denoise.gaussian]", "none").with_drift_from("a.csv")


def test_settings_reach_the_given_drift(detectors, truth, tmp_path):
    Drift(truth, bad_slices=[2]).save(tmp_path / "d.csv")
    setting = ["drift.import.also_bad=[4]"]
    run = fibtomo.run(
        detectors[0], tmp_path / "o", "drift-only", settings=setting, import_shifts=tmp_path / "d.csv", **FACTS
    )
    assert run.drift.bad_slices == (2, 4)


@pytest.fixture(scope="module")
def finished(detectors, truth, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    Drift(truth, bad_slices=[3]).save(folder / "d.csv")
    fibtomo.run(detectors[0], folder / "out", "drift-only", channel="SE", import_shifts=folder / "d.csv", **FACTS)
    return folder / "out"


@pytest.mark.parametrize("name", ["mine.csv", "mine.json", "mine.txt"])
def test_command_writes_the_drift_of_a_run_for_other_programs(finished, truth, tmp_path, capsys, name):
    assert run_cli(["drift", str(finished), "-o", str(tmp_path / name)]) == 0
    assert "9 slices" in capsys.readouterr().out
    np.testing.assert_allclose(read_shifts(tmp_path / name).shifts_px, truth, atol=1e-12)
    if name == "mine.json":
        row = json.loads((tmp_path / name).read_text())["slices"][3]
        assert (row["z_nm"], row["flags"]) == (15.0, "bad: given")
    if name == "mine.txt":
        assert "35.0\t30.0" in (tmp_path / name).read_text()


def test_command_turns_signs_and_chains(finished, truth, tmp_path):
    back, twice = tmp_path / "back.csv", tmp_path / "twice.csv"
    assert run_cli(["drift", str(finished), "--inverse", "-o", str(back)]) == 0
    np.testing.assert_array_equal(Drift.load(back).shifts_px, -truth)
    assert run_cli(["drift", str(finished), "--then", str(back), "-o", str(twice)]) == 0
    np.testing.assert_array_equal(Drift.load(twice).shifts_px, 0 * truth)


def test_a_warp_file_belongs_to_the_identity_of_a_run(detectors, truth, tmp_path):
    from fibtomo.core.warp import Warp

    Drift(truth).save(tmp_path / "d.csv")
    Warp(np.zeros((N, 2, 2, 2)), (60, 70)).save(tmp_path / "w.npz")
    setting = [f"geometry.resample.warp={tmp_path / 'w.npz'}"]
    run = fibtomo.run(
        detectors[0], tmp_path / "o", "drift-only", settings=setting, import_shifts=tmp_path / "d.csv", **FACTS
    )
    assert len(run.provenance["files"]) == 2
