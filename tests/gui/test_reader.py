"""Slices and results appear at the right place and scale, and no more is read than is shown."""

import json
import shutil

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager

from fibtomo import open_stack, phantom, run
from fibtomo.io.stack import Stack
from fibtomo.napari_plugin import sample_data
from fibtomo.napari_plugin.layers import KEY, contrast, show
from fibtomo.napari_plugin.ply import read_ply
from fibtomo.napari_plugin.reader import get_reader, read

TRUE_Y_NM = 5.0 / np.sin(np.radians(52.0))


@pytest.fixture
def notified():
    """Notifications of napari, in order."""
    messages = []
    callback = lambda event: messages.append(event.message)  # noqa: E731 - napari keeps it weakly
    notification_manager.notification_ready.connect(callback)
    yield messages
    notification_manager.notification_ready.disconnect(callback)


@pytest.fixture
def slices_read(monkeypatch):
    """Ranges that were read through `Stack.read`."""
    ranges, original = [], Stack.read

    def spy(self, z0, z1):
        if z1 > z0:
            ranges.append((z0, z1))
        return original(self, z0, z1)

    monkeypatch.setattr(Stack, "read", spy)
    return ranges


def test_slices_have_true_scale_and_facts(slices, notified):
    [(data, options, kind)] = get_reader(str(slices))(str(slices))
    assert kind == "image"
    assert data.shape == (16, 96, 128)
    assert options["scale"] == pytest.approx((10.0, TRUE_Y_NM, 5.0))
    assert set(options["units"]) == {"nm"}
    assert options["name"] == "silver"
    assert isinstance(options["metadata"][KEY], Stack)
    low, high = options["contrast_limits"]
    assert data[8].min().compute() <= low < high <= data[8].max().compute()
    np.testing.assert_array_equal(np.asarray(data), open_stack(slices).read(0, 16))
    assert notified == []


def test_only_what_is_shown_is_read(slices, slices_read):
    viewer = ViewerModel()
    show(viewer, read(slices))
    assert len(set(slices_read)) <= 2  # one for the contrast, one in view
    assert all(z1 - z0 == 1 for z0, z1 in slices_read)
    slices_read.clear()
    viewer.dims.set_current_step(0, 3)
    assert set(slices_read) == {(3, 4)}
    np.testing.assert_array_equal(viewer.layers[0]._slice.image.raw, open_stack(slices).read(3, 4)[0])


def test_uncalibrated_slices_are_shown_in_pixels_and_say_why(plain_slices, notified):
    [(_, options, _)] = read(plain_slices)
    assert options["scale"] == (1.0, 1.0, 1.0)
    assert set(options["units"]) == {"pixel"}
    assert len(notified) == 1
    assert "--voxel-nm" in notified[0]


def test_warnings_of_the_stack_are_not_lost(slices, tmp_path, notified):
    copy = tmp_path / "gap"
    shutil.copytree(slices, copy)
    sorted(copy.glob("*.tif"))[5].unlink()
    (copy / "ProjectData.dat").unlink()
    layers = read(copy)
    assert layers[0][1]["metadata"][KEY].warnings
    for sentence in layers[0][1]["metadata"][KEY].warnings:
        assert sentence in notified[0]


def test_each_detector_is_a_layer(tmp_path):
    made = phantom.acquire_sample("gyroid", size=(4, 40, 48)).slices
    for name, images in (("ETD", made), ("TLD", 255 - made)):
        (tmp_path / name).mkdir()
        for k, image in enumerate(images):
            tifffile.imwrite(tmp_path / name / f"slice_{k:03d}.tif", image, photometric="minisblack")
    layers = read(tmp_path)
    assert [options["metadata"][KEY].channel_name for _, options, _ in layers] == ["ETD", "TLD"]
    assert [options["visible"] for _, options, _ in layers] == [True, False]
    np.testing.assert_array_equal(np.asarray(layers[1][0]), 255 - made)


def test_volume_file_keeps_its_chunks(tmp_path):
    path = tmp_path / "volume.tif"
    tifffile.imwrite(path, np.arange(6 * 20 * 24, dtype=np.uint16).reshape(6, 20, 24), photometric="minisblack")
    [(data, _, _)] = get_reader([str(path)])(str(path))
    assert data.shape == (6, 20, 24)


def test_foreign_paths_are_left_to_others(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    assert get_reader(str(tmp_path)) is None
    assert get_reader(str(tmp_path / "notes.txt")) is None
    assert get_reader(str(tmp_path / "absent.tif")) is None
    assert get_reader([str(tmp_path / "a.tif"), str(tmp_path / "b.tif")]) is None


@pytest.mark.parametrize("inside", ["", "run.json", "volume.ome.zarr"])
def test_run_is_found_from_any_of_its_parts(full_run, inside):
    path = str(full_run.path / inside)
    names = [options["name"] for _, options, _ in get_reader(path)(path)]
    assert names == ["full volume", "full phases", "full objects", "full surface 1"]


def test_run_has_right_scale_levels_and_values(full_run):
    layers = {options["name"].split()[1]: (data, options, kind) for data, options, kind in read(full_run.path)}
    for name, kind in (("volume", "image"), ("phases", "labels"), ("objects", "labels")):
        data, options, found = layers[name]
        assert found == kind
        assert options["multiscale"]
        assert [level.shape for level in data] == [full_run.volume.shape, tuple(n // 2 for n in full_run.volume.shape)]
        assert options["scale"] == full_run.voxel_nm == (5.0, 5.0, 5.0)
        assert set(options["units"]) == {"nm"}
    np.testing.assert_array_equal(np.asarray(layers["phases"][0][0]), np.asarray(full_run.labels))


def test_further_channels_lie_hidden_beside_the_volume(tmp_path):
    both = np.random.default_rng(0).integers(0, 255, (2, 6, 40, 40)).astype(np.uint8)
    facts = {"voxel_nm": (5, 5, 5), "column_angle_deg": 52, "tilt_corrected": True, "tracked": True, "look": False}
    config = tmp_path / "p.yaml"
    config.write_text("stages: [geometry.resample]")
    made = run(both, tmp_path / "out", config, channel="c0", companions=["c1"], **facts)
    main, other = read(made.path)
    assert [layer[1]["name"] for layer in (main, other)] == ["out volume", "out c1"]
    assert other[1]["visible"] is False
    assert other[1]["scale"] == main[1]["scale"]
    np.testing.assert_array_equal(np.asarray(other[0]), made.channels["c1"].compute())


def test_darkest_phase_and_outside_are_clear(full_run):
    viewer = ViewerModel()
    show(viewer, [layer for layer in read(full_run.path) if layer[1]["name"] == "full phases"])
    alpha = viewer.layers[0].colormap.map(np.array([0, 1, 2, 255], dtype=np.uint8))[:, 3]
    assert alpha.tolist() == [0, 1, 1, 0]


def test_surface_lies_on_the_bright_phase_facing_outwards(full_run):
    [(vertices, faces), options, kind] = read(full_run.path)[-1]
    assert kind == "surface"
    assert options["scale"] == full_run.voxel_nm
    a, b, c = np.moveaxis(vertices[faces].astype(float), 1, 0)
    enclosed = np.einsum("ij,ij->", a, np.cross(b, c)) / 6  # voxels; positive when faces look outwards
    assert enclosed == pytest.approx((np.asarray(full_run.labels) == 1).sum(), rel=0.05)
    assert vertices.min() >= -1
    assert (vertices.max(axis=0) <= np.array(full_run.volume.shape)).all()


def test_layer_of_the_same_name_is_replaced_not_doubled(full_run, quick_run):
    viewer = ViewerModel()
    show(viewer, read(full_run.path))
    show(viewer, read(full_run.path))
    assert len(viewer.layers) == 4


def test_cut_surface_is_refused(full_run, tmp_path):
    path = tmp_path / "surface_1.ply"
    path.write_bytes(full_run.surface_paths[0].read_bytes()[:-5])
    with pytest.raises(ValueError, match=r"surface_1\.ply is not a whole surface"):
        read_ply(path)


def test_run_in_voxels_is_shown_in_pixels(quick_run, tmp_path):
    copy = tmp_path / "voxels"
    shutil.copytree(quick_run.path, copy)
    document = json.loads((copy / "volume.ome.zarr" / "zarr.json").read_text())
    for axis in document["attributes"]["ome"]["multiscales"][0]["axes"]:
        axis.pop("unit")
    (copy / "volume.ome.zarr" / "zarr.json").write_text(json.dumps(document))
    assert {options["units"] for _, options, _ in read(copy)} == {("pixel",) * 3}


def test_contrast_of_a_flat_or_empty_image():
    assert contrast(np.zeros((3, 3)), (0.0, 255.0)) == (0.0, 255.0)
    assert contrast(np.array([np.nan]), (0.0, 1.0)) == (0.0, 1.0)


def test_sample_is_milled_once_and_opened(monkeypatch, tmp_path):
    milled, original = [], phantom.write_sample

    def small(name, folder, *, size):
        milled.append((name, size))
        return original(name, folder, size="tiny")

    monkeypatch.setattr(phantom, "write_sample", small)
    sample_data.sample_folder.cache_clear()
    layers = [*sample_data.battery_electrode(), *sample_data.battery_electrode()]
    sample_data.sample_folder.cache_clear()
    assert milled == [("battery-electrode", "medium")]
    assert all(options["scale"] == (20.0, 10.0, 10.0) for _, options, _ in layers)
