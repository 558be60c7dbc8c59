"""Files on disk: pixels, metadata and ground truth come back as they were."""

import hashlib
import json
import runpy

import numpy as np
import pytest
import tifffile

from fibtomo.errors import InputError, OutputError, StackError
from fibtomo.io.open import open_stack
from fibtomo.io.vendor import read_project, read_vendor
from fibtomo.phantom import acquire, acquire_sample, load_truth, samples, write_sample, write_slices
from fibtomo.phantom.microscope import image


@pytest.fixture(scope="module")
def run():
    artefacts = {
        "jitter": True,
        "thickness": True,
        "curtains": True,
        "noise": True,
        "bad_slices": {"missing": 0.5, "dead": 0.2},
    }
    return acquire(shape=(6, 40, 200), pixel_nm=4.0, slice_nm=12.0, artefacts=artefacts, seed=4)


@pytest.mark.parametrize("vendor", ["thermo", "zeiss", "tescan", "plain"])
@pytest.mark.parametrize("info_bar", [True, False])
def test_pixels_come_back(run, tmp_path, vendor, info_bar):
    paths = write_slices(run, tmp_path / "s", vendor=vendor, info_bar=info_bar)
    stored = np.stack([tifffile.imread(p) for p in paths])
    assert np.array_equal(stored[:, :40], run.slices)
    assert (stored.shape[1] > 40) == info_bar
    assert [int(p.stem.rpartition(" " if vendor == "thermo" else "_")[2]) for p in paths] == (
        run.truth.sequences.slice_numbers + 1
    ).tolist()


@pytest.mark.parametrize("vendor", ["thermo", "zeiss", "tescan"])
@pytest.mark.parametrize("corrected", [False, True])
def test_readers_understand_the_metadata(tmp_path, vendor, corrected):
    angle = {"thermo": 52.0, "zeiss": 54.0, "tescan": 55.0}[vendor]
    run = acquire(shape=(2, 32, 128), pixel_nm=4.0, column_angle_deg=angle, tilt_corrected=corrected, artefacts="none")
    info = read_vendor(write_slices(run, tmp_path / "s", vendor=vendor)[1])
    assert info is not None
    assert info.calibration.pixel_nm.value == pytest.approx((4.0, 4.0))
    assert info.calibration.column_angle_deg.value == angle
    assert info.calibration.tilt_corrected.value is corrected
    if vendor != "zeiss":
        assert info.image_rows == 32


def test_plain_files_say_nothing(tmp_path):
    run = acquire(shape=(1, 16, 16), artefacts="none")
    assert read_vendor(write_slices(run, tmp_path / "s", vendor="plain")[0]) is None


def test_project_tells_the_positions(run, tmp_path):
    paths = write_slices(run, tmp_path / "s")
    assert run.truth.missing_before
    project = read_project(tmp_path / "s")
    z = [project.slice_z_nm_by_name[p.name] for p in paths]
    assert z == pytest.approx(run.truth.slice_z_nm, abs=1e-4)
    assert project.calibration.slice_nm.value == pytest.approx(12.0)


def test_names_may_carry_the_position(run, tmp_path):
    paths = write_slices(run, tmp_path / "s", vendor="zeiss", z_in_names=True)
    z = [float(p.stem.partition("z=")[2].removesuffix("um")) * 1000 for p in paths]
    assert z == pytest.approx(run.truth.slice_z_nm, abs=0.06)


def test_sixteen_bits_come_back(tmp_path):
    run = acquire(shape=(1, 16, 32), dtype="uint16")
    stored = tifffile.imread(write_slices(run, tmp_path / "s")[0])
    assert stored.dtype == np.uint16
    assert np.array_equal(stored[:16], run.slices[0])


def test_truth_comes_back_and_makes_the_same_slices(run, tmp_path):
    write_slices(run, tmp_path / "s")
    truth = load_truth(tmp_path / "s")
    assert truth.specimen == run.truth.specimen
    assert truth.geometry == run.truth.geometry
    assert truth.artefacts == run.truth.artefacts
    assert truth.bad_slices == run.truth.bad_slices
    assert truth.missing_before == run.truth.missing_before
    assert np.array_equal(truth.shifts_px, run.truth.shifts_px)
    assert np.array_equal(truth.drift_px, run.truth.drift_px)
    assert np.array_equal(image(truth, 3), run.slices[3])
    assert np.array_equal(truth.curtain, run.truth.curtain)


def test_no_truth_is_said(tmp_path):
    with pytest.raises(StackError, match="no readable ground truth"):
        load_truth(tmp_path)
    (tmp_path / "truth.json").write_text('{"format": "other"}')
    np.savez(tmp_path / "truth.npz", a=np.zeros(1))
    with pytest.raises(StackError, match="format 'other'"):
        load_truth(tmp_path)


def test_nothing_is_overwritten(run, tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(OutputError, match="not empty"):
        write_slices(run, tmp_path)
    with pytest.raises(OutputError, match="cannot be written"):
        write_slices(run, tmp_path / "mine.txt" / "s")
    with pytest.raises(InputError, match="thermo, zeiss"):
        write_slices(run, tmp_path / "s", vendor="acme")


@pytest.mark.parametrize("name", samples())
def test_every_sample_can_be_made_and_written(name, tmp_path):
    run = write_sample(name, tmp_path / "s", size=(3, 32, 40), seed=1)
    assert run.slices.shape == (3, 32, 40)
    assert run.slices.std() > 5
    assert load_truth(tmp_path / "s").specimen == run.truth.specimen


@pytest.mark.parametrize("name", samples())
def test_every_sample_is_read_without_a_question(name, tmp_path):
    run = write_sample(name, tmp_path / "s", size=(5, 160, 192))
    stack = open_stack(tmp_path / "s")
    assert stack.voxel_nm == pytest.approx(run.geometry.voxel_nm)
    assert stack.column_angle_deg == run.geometry.column_angle_deg
    assert stack.tilt_corrected == run.geometry.tilt_corrected
    assert all("info bar" in warning for warning in stack.warnings)
    assert np.array_equal(np.asarray(stack.data), run.slices)


def test_sample_seed_changes_the_specimen():
    first, second = (acquire_sample("battery-electrode", size=(1, 24, 24), seed=s) for s in (0, 1))
    assert not np.array_equal(first.truth.phase, second.truth.phase)


def test_unknown_samples_and_sizes_are_named(tmp_path):
    with pytest.raises(InputError, match="nanoporous-silver"):
        write_sample("gold", tmp_path / "s")
    with pytest.raises(InputError, match="tiny, small"):
        write_sample("gyroid", tmp_path / "s", size="huge")


def test_committed_sample_is_intact(repo):
    lines = (repo / "sample_data" / "SHA256SUMS").read_text().splitlines()
    assert len(lines) == 19
    for line in lines:
        digest, _, name = line.partition("  ")
        assert hashlib.sha256((repo / "sample_data" / name).read_bytes()).hexdigest() == digest


def test_committed_sample_can_be_made_again(repo, tmp_path):
    folder = repo / "sample_data" / "nanoporous-silver"
    made_with = json.loads((folder / "ground_truth" / "truth.json").read_text())["made_with"]["numpy"]
    if made_with != np.__version__:
        pytest.skip(f"random streams are promised for one NumPy only ({made_with})")
    generate = runpy.run_path(str(repo / "sample_data" / "generate.py"))["generate"]
    generate(tmp_path / "nanoporous-silver")
    for path in folder.glob("*.tif"):
        again = tifffile.imread(tmp_path / "nanoporous-silver" / path.name)
        assert np.array_equal(tifffile.imread(path)[:96], again[:96])
