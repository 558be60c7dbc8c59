"""Further channels: corrected each by itself, moved by one geometry, seen together by the stages that want them."""

import numpy as np
import pytest
import strict_cupy
import tifffile
import zarr
from network_models import convolution, save_model
from skimage.registration import phase_cross_correlation
from strict_cupy import card

import fibtomo
from fibtomo.api import open_input
from fibtomo.cli.app import run_cli
from fibtomo.errors import CancelledError, InputError, PipelineError
from fibtomo.io.open import open_stack
from fibtomo.phantom import acquire
from fibtomo.pipeline.config import parse_pipeline
from fibtomo.pipeline.preview import preview
from fibtomo.pipeline.progress import SilentObserver

FACTS = {"voxel_nm": (5, 5, 5), "column_angle_deg": 52, "tilt_corrected": False, "tracked": True, "look": False}
SHAPE = (20, 72, 80)
PIPELINE = """
stages:
  - intensity.flicker
  - drift.estimate
  - geometry.resample
  - denoise.gaussian
  - segment.otsu
  - measure.phases
output: {pyramid_levels: 2}
"""
GREYS = {"SE": (0.25, 0.7), "BSE": (0.75, 0.35)}


def acquired(seed: int) -> np.ndarray:
    """(2, z, y, x): the same slices, jittering, as two detectors see them, each with its own noise and flicker."""
    rng = np.random.default_rng(seed + 100)
    channels = []
    for greys in GREYS.values():
        specimen = {"kind": "nanoporous_metal", "wavelength_nm": 120.0, "greys": greys, "seed": seed}
        facts = {"pixel_nm": 5.0, "slice_nm": 5.0, "tracked": True, "seed": seed}
        run = acquire(specimen, shape=SHAPE, artefacts={"jitter": {"rms_px": 1.5}}, **facts)
        gain = 1 + 0.05 * rng.normal(size=SHAPE[0])
        grey = run.slices * gain[:, None, None] + rng.normal(0, 5, SHAPE)
        channels.append(np.clip(np.rint(grey), 0, 255).astype(np.uint8))
    return np.stack(channels)


@pytest.fixture(scope="module")
def both() -> np.ndarray:
    return acquired(1)


def carried(data, out, *, companions=("c1",), pipeline=None, **options):
    options = {"workers": 2, "memory_bytes": 3e8, **FACTS, **options}
    pipeline = pipeline or parse_pipeline(PIPELINE, "two")
    return fibtomo.run(data, out, pipeline, channel="c0", companions=companions, **options)


@pytest.fixture(scope="module")
def done(both, tmp_path_factory):
    return carried(both, tmp_path_factory.mktemp("channels") / "out")


@pytest.mark.parametrize("seed", [1, 2])
def test_both_lie_on_the_same_grid_to_a_twentieth_of_a_voxel(both, done, seed, tmp_path):
    run = done if seed == 1 else carried(acquired(seed), tmp_path / "out")
    main, other = run.volume.compute().astype(float), run.channels["c1"].compute().astype(float)
    assert main.shape == other.shape
    shift, _, _ = phase_cross_correlation(main - main.mean(), other.mean() - other, upsample_factor=100)
    assert np.abs(shift).max() < 0.05
    solid = main > np.mean(GREYS["SE"]) * 255
    assert np.mean(solid == (other < np.mean(GREYS["BSE"]) * 255)) > 0.985


def test_the_main_channel_is_what_it_is_alone(both, done, tmp_path):
    alone = carried(both, tmp_path / "alone", companions=())
    assert not alone.channels
    assert_same(alone.path, done.path)


def test_a_companion_is_what_a_run_of_its_own_makes_of_the_same_drift(both, done, tmp_path):
    given = tmp_path / "drift.json"
    done.drift.save(given)
    config = parse_pipeline(PIPELINE, "two")
    own = fibtomo.run(both, tmp_path / "own", config, channel="c1", import_shifts=given, **FACTS)
    difference = np.abs(own.volume.compute().astype(int) - done.channels["c1"].compute())
    assert difference.max() <= 1
    assert np.mean(difference > 0) < 1e-3


def test_its_flicker_is_its_own(both, done):
    """Each slice of the companion has its own gain, which the main channel's table would not take away."""
    other = done.channels["c1"].compute()
    level = np.array([np.median(plane[plane > 130]) for plane in other])
    raw = np.array([np.median(plane[plane > 130]) for plane in both[1]])
    assert np.std(level) < 0.25 * np.std(raw)


def assert_same(a, b, *more) -> None:
    for name in ("volume.ome.zarr/0", "volume.ome.zarr/labels/phases/0", *more):
        np.testing.assert_array_equal(zarr.open_array(str(a / name))[:], zarr.open_array(str(b / name))[:])
    for name in ("drift.csv", "measurements.csv", "volume_slices.csv"):
        assert (a / name).read_bytes() == (b / name).read_bytes(), name


def test_cuts_into_blocks_do_not_show(both, done, tmp_path):
    small = carried(both, tmp_path / "small", memory_bytes=7e6, workers=1)
    assert small.provenance["slabs"] != done.provenance["slabs"]
    assert_same(small.path, done.path, "volume_c1.ome.zarr/0")


class Impatient(SilentObserver):
    """Stops after so many blocks."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.left = blocks

    def advance(self, voxels: int) -> None:
        self.left -= 1

    def cancelled(self) -> bool:
        return self.left <= 0


def test_an_interrupted_run_goes_on(both, done, tmp_path):
    """However often and wherever it is stopped, before, in and after the companion's part."""
    stops, run = 0, None
    while run is None:
        try:
            run = carried(both, tmp_path / "out", memory_bytes=7e6, workers=1, observer=Impatient(5))
        except CancelledError:
            stops += 1
            assert stops < 40
    assert stops >= 3
    assert run.provenance["resumed"]
    assert_same(run.path, done.path, "volume_c1.ome.zarr/0", "volume_c1.ome.zarr/1")
    assert sorted(p.name for p in run.path.iterdir() if p.name.startswith(".")) == []


def test_a_run_goes_on_after_the_volume_was_moved(both, done, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("fibtomo.pipeline.outputs.write_report", lambda *_: (_ for _ in ()).throw(OSError("full")))
        with pytest.raises(OSError, match="full"):
            carried(both, out)
    assert (out / "volume_c1.ome.zarr").is_dir()
    assert_same(carried(both, out).path, done.path, "volume_c1.ome.zarr/0")
    with pytest.raises(fibtomo.errors.OutputError, match="another input"):
        carried(both, begun(both, tmp_path / "begun"), companions=())


def begun(data, out):
    with pytest.raises(CancelledError):
        carried(data, out, observer=Impatient(2))
    return out


def test_it_is_an_image_of_its_own_with_place_scale_and_levels(done):
    group = zarr.open_group(str(done.path / "volume_c1.ome.zarr"), mode="r")
    main = zarr.open_group(str(done.path / "volume.ome.zarr"), mode="r")
    entry, reference = (g.attrs["ome"]["multiscales"][0] for g in (group, main))
    assert (entry["axes"], entry["datasets"]) == (reference["axes"], reference["datasets"])
    assert entry["name"] == "c1"
    reopened = open_stack(done.path / "volume_c1.ome.zarr")
    assert reopened.voxel_nm == done.voxel_nm
    assert done.provenance["channels"] == {"c1": "volume_c1.ome.zarr"}
    assert "Further channels" in done.report_path.read_text()


def test_it_is_replaced_with_the_run(both, done, tmp_path):
    out = tmp_path / "out"
    only = parse_pipeline("stages: [geometry.resample]", "only")
    carried(both, out, pipeline=only)
    strange = out / "volume_mine.ome.zarr"
    strange.mkdir()
    run = carried(both, out, pipeline=only, companions=(), overwrite=True)
    assert not run.channels
    assert not (out / "volume_c1.ome.zarr").exists()
    assert strange.is_dir()


def test_a_network_sees_all_channels(both, done, tmp_path):
    """The difference of two levelled channels, by the closed form from the volumes of the run."""
    weights = np.array([1.0, -1.0]).reshape(1, 2, 1, 1, 1)
    model = save_model(convolution(weights), tmp_path / "difference.onnx")
    config = tmp_path / "p.yaml"
    network = (
        f"{{use: segment.onnx, with: {{model: {model}, single: logit, tile_px: [4, 32, 32], halo_px: [1, 1, 1]}}}}"
    )
    config.write_text(
        "input: {channel: c0, companions: [c1]}\n"
        f"stages: [intensity.flicker, drift.estimate, geometry.resample, {network}, measure.phases]\n"
    )
    runs = [
        fibtomo.run(both, tmp_path / name, config, workers=workers, memory_bytes=memory, **FACTS)
        for name, workers, memory in (("small", 1, 1e7), ("large", 2, 5e8))
    ]
    assert_same(runs[0].path, runs[1].path, "volume_c1.ome.zarr/0")
    labels = runs[0].labels.compute()
    seen = labels != 255
    levels = []
    for volume in (runs[0].volume, runs[0].channels["c1"]):
        grey = volume.compute().astype(np.float64)
        levels.append((grey - grey[seen].mean()) / grey[seen].std())
    wanted = levels[0] - levels[1]
    sure = seen & (np.abs(wanted) > 1e-4)
    np.testing.assert_array_equal(labels[sure], (wanted > 0)[sure])
    with pytest.raises(InputError, match="takes 2 channels, and 1 go in"):
        fibtomo.run(both, tmp_path / "main", config, settings=["segment.channels=main"], **FACTS)


def test_clusters_of_both_channels_in_a_run(both, done, tmp_path):
    """The phases of the thresholds, with less noise; the fractions have an uncertainty."""
    text = PIPELINE.replace("segment.otsu", "{use: segment.joint, with: {classes: 2}}")
    run = carried(both, tmp_path / "out", pipeline=parse_pipeline(text, "joint"))
    assert np.mean(run.labels.compute() == done.labels.compute()) > 0.98
    rows = [row for row in run.measurements.rows if row["quantity"] == "volume_fraction"]
    assert all(row["uncertainty"] > 0 for row in rows)
    assert len(run.provenance["tables"]["threshold"]["mean"]) == 2


@pytest.mark.parametrize("room", [256 << 20, 3 << 20])
def test_a_card_sees_them_too(both, tmp_path, room):
    """Also a small one, on which blocks are halved."""
    model = save_model(convolution(np.array([1.0, -1.0]).reshape(1, 2, 1, 1, 1)), tmp_path / "difference.onnx")
    config = tmp_path / "p.yaml"
    network = (
        f"{{use: segment.onnx, with: {{model: {model}, single: logit, tile_px: [2, 32, 32], halo_px: [0, 1, 1]}}}}"
    )
    config.write_text(f"stages: [geometry.resample, {network}]\n")
    options = {"pipeline": config, "memory_bytes": 2e8, "workers": 1}
    with strict_cupy.installed(memory_bytes=room):
        found = carried(both, tmp_path / "card", device="cuda:0", **options)
        assert card().counts["launch resample"]
        assert card().peak_bytes <= room
    expected = carried(both, tmp_path / "cpu", **options)
    for one, other in ((found.labels, expected.labels), (found.channels["c1"], expected.channels["c1"])):
        assert np.mean(one.compute() != other.compute()) < 2e-3


def test_where_no_stage_changes_greys_the_slices_themselves_are_seen(both, tmp_path):
    model = save_model(convolution(np.array([0.0, 1.0]).reshape(1, 2, 1, 1, 1), [-128.0]), tmp_path / "second.onnx")
    config = tmp_path / "p.yaml"
    network = f"{{use: segment.onnx, with: {{model: {model}, single: logit, normalise: none}}}}"
    config.write_text(f"stages: [{network}]\n")
    run = carried(both, tmp_path / "out", pipeline=config)
    np.testing.assert_array_equal(run.labels.compute(), both[1] > 128)
    assert not run.channels


def test_greys_may_not_change_after_all_channels_were_seen(both, tmp_path):
    model = save_model(convolution(np.ones((1, 2, 1, 1, 1))), tmp_path / "sum.onnx")
    config = tmp_path / "p.yaml"
    config.write_text(f"stages: [{{use: segment.onnx, with: {{model: {model}}}}}, denoise.gaussian]\n")
    with pytest.raises(PipelineError, match=r"put 'denoise\.gaussian' before it"):
        carried(both, tmp_path / "out", pipeline=config)


def test_wrong_names_are_refused(both, tmp_path):
    for names, message in ((("BSE",), "no channel 'BSE'; there are: c0, c1"), (("c0",), "used twice")):
        with pytest.raises(InputError, match=message):
            carried(both, tmp_path / "out", companions=names)


def test_a_preview_shows_the_main_channel(both):
    stack = open_stack(both, channel="c0", companions=["c1"], voxel_nm="unknown")
    calls = parse_pipeline("stages: [{use: segment.joint, with: {classes: 2}}]", "t").calls
    shown = preview(stack, list(calls), 5)
    np.testing.assert_array_equal(shown.before, both[0, 1:10])
    assert set(np.unique(shown.after)) == {0, 1}


def test_channels_that_would_take_one_folder_are_refused(tmp_path):
    names = {"axes": "ZCYX", "Channel": {"Name": ["SE", "Fe K", "Fe/K"]}}
    tifffile.imwrite(tmp_path / "maps.ome.tif", np.zeros((4, 3, 32, 32), np.uint8), metadata=names)
    stack = open_stack(tmp_path / "maps.ome.tif", companions=["Fe K", "Fe/K"], voxel_nm="unknown")
    with pytest.raises(InputError, match="Fe K and Fe/K would both be written to volume_Fe_K"):
        fibtomo.plan(stack, look=False)


def test_what_a_pipeline_file_says_holds_for_what_is_not_open_yet(both):
    stated = parse_pipeline("input: {channel: c1, companions: [c0]}\nstages: [segment.otsu]", "t").input
    facts = {"voxel_nm": "unknown"}
    assert open_input(both, stated, facts).companions == ("c0",)
    assert open_input(both, stated, {**facts, "channel": "c0", "companions": ("c1",)}).companions == ("c1",)
    opened = open_input(open_stack(both, channel="c0", **facts).carrying(["c1"]), stated, {})
    assert (opened.channel_name, opened.companions) == ("c0", ("c1",))


def test_from_the_command_line(both, done, tmp_path, capsys):
    path = tmp_path / "both.ome.tif"
    names = {"axes": "ZCYX", "Channel": {"Name": ["SE", "EDS Fe"]}}
    tifffile.imwrite(path, both.transpose(1, 0, 2, 3), metadata=names)
    words = [str(path), "--channel", "SE", "--with", "eds fe", "--voxel-nm", "5", "5", "5", "--column-angle-deg", "52"]
    words += ["--tilt-corrected", "no", "--tracked", "yes", "--no-look", "--memory", "300MB"]
    (tmp_path / "two.yaml").write_text(PIPELINE)
    words += ["-p", str(tmp_path / "two.yaml")]
    assert run_cli(["plan", *words]) == 0
    assert "EDS Fe: " in capsys.readouterr().out
    assert run_cli(["run", *words, "-o", str(tmp_path / "out"), "-q"]) == 0
    assert_same(tmp_path / "out", done.path)
    left, right = (
        zarr.open_array(str(p))[:]
        for p in (tmp_path / "out/volume_EDS_Fe.ome.zarr/0", done.path / "volume_c1.ome.zarr/0")
    )
    np.testing.assert_array_equal(left, right)


def maps_beside_slices(folder, shape):
    """Slices of 48 × 64 pixels of one detector, and maps of another size."""
    rng = np.random.default_rng(0)
    arrays = {"SE": rng.integers(0, 255, (5, 48, 64)), "EDS Fe": rng.integers(0, 9, (5, *shape))}
    for name, array in arrays.items():
        (folder / name).mkdir(parents=True)
        for k, plane in enumerate(array):
            tifffile.imwrite(folder / name / f"slice_{k:03d}.tif", plane.astype(np.uint8))
    return folder, arrays


def test_coarser_maps_lie_where_their_pixels_are(tmp_path):
    folder, arrays = maps_beside_slices(tmp_path / "a", (12, 16))
    stack = open_stack(folder, channel="SE", companions=["eds fe"], voxel_nm=(5, 5, 5), crop_info_bar=False)
    fine = arrays["EDS Fe"].repeat(4, axis=1).repeat(4, axis=2)
    other = stack.carried["EDS Fe"]
    np.testing.assert_array_equal(other.read(1, 4), fine[1:4])
    np.testing.assert_array_equal(other.readers["EDS Fe"].read(slice(0, 2), slice(5, 11)), fine[:2, 5:11])
    assert not [p for p in stack.problems if p.kind == "mixed-shape"]
    assert other.fingerprint() != stack.fingerprint()
    assert "EDS Fe" not in open_stack(folder, channel="SE", voxel_nm=(5, 5, 5), crop_info_bar=False).channels


@pytest.mark.parametrize("shape", [(12, 15), (12, 32), (13, 16), (96, 128)])
def test_maps_that_do_not_fit_are_refused(tmp_path, shape):
    folder, _ = maps_beside_slices(tmp_path / "a", shape)
    with pytest.raises(InputError, match="channel 'EDS Fe' has 5 × "):
        open_stack(folder, channel="SE", companions=["EDS Fe"], voxel_nm=(5, 5, 5), crop_info_bar=False)


def test_a_slice_that_one_channel_lacks_is_bridged_in_all(both, tmp_path):
    from dataclasses import replace

    stack = open_stack(both, **{k: v for k, v in FACTS.items() if k != "look"}).carrying(["c1"])
    reader = stack.readers["c1"]
    lacking = type("Lacking", (), {"bad": frozenset({7}), "__getattr__": lambda self, name: getattr(reader, name)})()
    stack = replace(stack, readers={**stack.readers, "c1": lacking})
    run = fibtomo.run(stack, tmp_path / "out", "quick-look", memory_bytes=3e8, look=False)
    rows = (run.path / "volume_slices.csv").read_text().splitlines()[1:]
    assert max(float(row.rpartition(",")[2]) for row in rows) > 0
