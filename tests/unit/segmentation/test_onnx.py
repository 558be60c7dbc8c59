"""Phases by networks whose answers are known: on what tiles, what is asked of a model, what is said of a wrong one."""

import numpy as np
import pytest
from network_models import averaging_model, box_mean, convolution, edge_model, save_model
from scipy.ndimage import uniform_filter

from fibtomo.backend import onnx
from fibtomo.builtin_stages.onnx import OnnxParams
from fibtomo.core.stage import StageContext, get_stage
from fibtomo.core.volume import OUTSIDE, VolumeSpec
from fibtomo.errors import BackendUnavailableError, FibtomoError, InputError
from fibtomo.ops.onnx_tiles import tiling_of

SHAPE = (13, 30, 37)
STAGE = get_stage("segment.onnx")


def volume(seed: int = 0, dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, SHAPE).astype(dtype)


def labels_of(block, params, tables=None, slab=None, value_range=(0.0, 255.0)):
    """Measure the whole, then label it in slabs with the halo that the stage asks for."""
    spec = VolumeSpec(block.shape, str(block.dtype), None, value_range)
    tables = dict(tables or {})
    n, halo = len(block), STAGE.needs(params, spec).halo[0]
    slab = slab or n
    starts = range(0, n, slab)
    contexts = [StageContext(spec, z, (0, min(slab, n - z)), tables) for z in starts]
    partials = [STAGE.measure(block[z : z + slab], params, c) for z, c in zip(starts, contexts, strict=True)]
    tables["threshold"] = STAGE.combine(partials, params, contexts[0])
    parts = []
    for z in starts:
        a, b = max(0, z - halo), min(n, z + slab + halo)
        ctx = StageContext(spec, a, (z - a, min(z + slab, n) - a), tables)
        parts.append(STAGE.apply(block[a:b], params, ctx)[ctx.core_slices])
    return np.concatenate(parts)


@pytest.fixture
def edges(tmp_path):
    return str(save_model(edge_model(), tmp_path / "edges.onnx"))


@pytest.mark.parametrize("seed", range(3))
def test_classes_are_those_of_the_closed_form(edges, seed):
    """The mean of 27 voxels against the mean grey of the volume; mirror images beyond the faces."""
    grey = volume(seed)
    wanted = uniform_filter(grey.astype(float), 3, mode="mirror") > grey.mean()
    found = labels_of(grey, OnnxParams(model=edges, tile_px=(4, 8, 8), halo_px=(1, 1, 1)))
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("slab", [1, 2, 5, 8])
@pytest.mark.parametrize("tile", [(4, 8, 8), (16, 64, 16)])
def test_cuts_into_blocks_do_not_show(tmp_path, slab, tile):
    """Even where the halo is too small for the network, so that the place of the tiles does show."""
    wide = convolution(np.random.default_rng(1).normal(size=(3, 1, 7, 7, 7)))
    params = OnnxParams(model=str(save_model(wide, tmp_path / "wide.onnx")), tile_px=tile, halo_px=(1, 2, 2))
    np.testing.assert_array_equal(labels_of(volume(), params, slab=slab), labels_of(volume(), params))


def test_tiles_do_not_show_with_a_halo_that_suffices(edges):
    one, other = (
        labels_of(volume(), OnnxParams(model=edges, tile_px=tile, halo_px=halo))
        for tile, halo in (((5, 7, 9), (1, 1, 1)), ((16, 32, 40), (2, 3, 4)))
    )
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("neighbours", [1, 3, 5])
def test_planes_with_neighbouring_slices(tmp_path, neighbours):
    weights = np.full((1, neighbours, 3, 3), 1 / (9 * neighbours))
    path = save_model(convolution(weights, after=[("Sigmoid", {})]), tmp_path / "planes.onnx")
    grey = volume()
    wanted = uniform_filter(grey.astype(float), (neighbours, 3, 3), mode="mirror")
    params = OnnxParams(model=str(path), halo_px=(9, 1, 1), tile_px=(9, 16, 16), normalise=(100.0, 20.0), threshold=0.6)
    probability = 1 / (1 + np.exp(-(wanted - 100) / 20))
    np.testing.assert_array_equal(labels_of(grey, params, slab=4), probability > 0.6)


def test_one_channel_of_logits(tmp_path):
    path = str(save_model(convolution(np.full((1, 1, 1, 1, 1), 1.0)), tmp_path / "logit.onnx"))
    params = OnnxParams(model=path, normalise=(128.0, 10.0), single="logit", threshold=0.9)
    grey = volume()
    np.testing.assert_array_equal(labels_of(grey, params), (grey - 128.0) / 10 > np.log(9))


@pytest.mark.parametrize(
    ("how", "level"), [("none", 90.0), ("minmax", 20 + 0.5 * 180), ("zscore", None), ((110.0, 7.0), 110 + 7 * 0.5)]
)
def test_greys_are_levelled_by_the_whole_volume(tmp_path, how, level):
    """One voxel alone is compared with 0.5 (90 where greys stay)."""
    limit = 90.0 if how == "none" else 0.5
    path = str(save_model(convolution(np.ones((1, 1, 1, 1, 1)), [-limit]), tmp_path / "point.onnx"))
    grey = np.clip(volume(), 20, 200)
    if how == "zscore":
        level = grey.mean() + 0.5 * grey.std()
    params = OnnxParams(model=path, normalise=how, single="logit")
    np.testing.assert_array_equal(labels_of(grey, params, slab=3), grey > level)


def test_float_volumes_and_nan(edges):
    grey = volume(dtype="float32") / 255
    grey[3, 4, 5] = np.nan
    params = OnnxParams(model=edges, normalise=(0.5, 1.0), halo_px=(1, 1, 1))
    found = labels_of(grey, params, value_range=(0.0, 1.0))
    assert found[3, 4, 5] == OUTSIDE
    assert np.count_nonzero(found == OUTSIDE) == 1


def test_what_no_slice_shows_stays_outside_and_counts_for_nothing(edges):
    grey = volume()
    boxes = np.tile([2, 25, 3, 30], (SHAPE[0], 1))
    shown = np.zeros(SHAPE, bool)
    shown[:, 2:25, 3:30] = True
    params = OnnxParams(model=edges, halo_px=(1, 1, 1))
    found = labels_of(grey, params, {"valid": {"boxes": boxes}}, slab=5)
    np.testing.assert_array_equal(found == OUTSIDE, ~shown)
    changed = np.where(shown, grey, 255 - grey)
    np.testing.assert_array_equal(labels_of(changed, params, {"valid": {"boxes": boxes}}), found)


def test_a_network_that_leaves_its_halo_out(tmp_path):
    """A convolution without padding labels the tile alone."""
    weights = np.concatenate([-box_mean(5), box_mean(5)])
    padded, bare = (
        labels_of(volume(), OnnxParams(model=str(save_model(model, tmp_path / f"{k}.onnx")), halo_px=(2, 2, 2)))
        for k, model in enumerate([convolution(weights), convolution(weights, pad=False)])
    )
    np.testing.assert_array_equal(padded, bare)


def test_fixed_input_sizes_are_filled(tmp_path):
    mean = np.concatenate([-box_mean(), box_mean()])
    path = str(save_model(convolution(mean, shape=[1, 1, 8, 16, 24]), tmp_path / "fixed.onnx"))
    grey = volume()
    wanted = uniform_filter(grey.astype(float), 3, mode="mirror") > grey.mean()
    np.testing.assert_array_equal(labels_of(grey, OnnxParams(model=path, halo_px=(1, 1, 1))), wanted)
    with pytest.raises(InputError, match="8 × 16 × 24 voxels"):
        labels_of(grey, OnnxParams(model=path, tile_px=(8, 16, 24), halo_px=(1, 1, 1)))


def test_needs_and_phases_follow_from_the_model(tmp_path):
    five = str(save_model(convolution(np.ones((5, 1, 1, 1, 1))), tmp_path / "five.onnx"))
    params = OnnxParams(model=five, tile_px=(8, 16, 16), halo_px=(2, 4, 4))
    spec = VolumeSpec(SHAPE, "uint8")
    needs = STAGE.needs(params, spec)
    assert needs.halo == (9, 9)
    voxels = 12 * 24 * 24
    assert 5 * 4 * voxels <= needs.fixed_bytes <= 20 * 4 * voxels
    assert STAGE.out_spec(params, StageContext(spec)).value_range == (0.0, 4.0)
    assert STAGE.files(params) == (five,)
    (tmp_path / "five.onnx.data").write_bytes(b"")
    assert STAGE.files(params) == (five, f"{five}.data")


def wrong_models(folder):
    yield {"model": folder / "none.onnx"}, "there is no network"
    (folder / "text.onnx").write_text("hello")
    yield {"model": folder / "text.onnx"}, "not an ONNX model"
    flat = convolution(np.ones((1, 1, 3)))
    yield {"model": save_model(flat, folder / "line.onnx")}, "takes 3 axes"
    even = convolution(np.ones((1, 4, 3, 3)))
    yield {"model": save_model(even, folder / "even.onnx")}, "4 channels, which are not an odd number"
    two = convolution(np.ones((1, 2, 3, 3, 3)))
    yield {"model": save_model(two, folder / "two.onnx")}, "takes 2 channels, and 1 go in"
    batch = convolution(np.ones((1, 1, 3, 3, 3)), shape=[4, 1, 8, 8, 8])
    yield {"model": save_model(batch, folder / "batch.onnx")}, "takes 4 tiles at a time"
    small = convolution(np.ones((1, 1, 3, 3, 3)), shape=[1, 1, 8, 8, 8])
    yield {"model": save_model(small, folder / "small.onnx"), "halo_px": (4, 4, 4)}, "dynamic axes"
    uneven = save_model(averaging_model(), folder / "uneven.onnx")
    yield {"model": uneven, "tile_px": (5, 8, 8), "halo_px": (1, 2, 2)}, "refuses an input of 1 × 1 × 7 × 12 × 12"
    sum_of_all = convolution(np.ones((1, 1, 1, 1, 1)), after=[("ReduceSum", {"keepdims": 0})])
    yield {"model": save_model(sum_of_all, folder / "sum.onnx")}, "neither what it saw nor the tile"
    bare = save_model(convolution(np.ones((1, 1, 5, 5, 5)), pad=False), folder / "bare.onnx")
    yield {"model": bare, "halo_px": (4, 4, 4)}, "neither what it saw nor the tile"
    many = save_model(convolution(np.ones((256, 1, 1, 1, 1))), folder / "many.onnx")
    yield {"model": many, "tile_px": (1, 1, 1)}, "256 classes"


def test_wrong_models_are_refused_in_one_sentence_before_any_work(tmp_path):
    for values, message in wrong_models(tmp_path):
        params = OnnxParams(**{**values, "model": str(values["model"])})
        with pytest.raises(InputError, match=message) as caught:
            STAGE.needs(params, VolumeSpec(SHAPE, "uint8"))
        assert "\n" not in str(caught.value)


def test_a_fitting_size_is_taken_by_the_model_that_halves(tmp_path):
    path = str(save_model(averaging_model(), tmp_path / "even.onnx"))
    assert labels_of(volume(), OnnxParams(model=path, tile_px=(4, 8, 8), halo_px=(1, 2, 2))).max() == 1


def test_without_onnxruntime_the_way_out_is_named(edges, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    onnx._loaded.cache_clear()
    with pytest.raises(BackendUnavailableError, match=r"pip install 'fibtomo\[onnx\]'"):
        onnx.load_network(edges)


def test_tilings_of_planes_and_volumes():
    with pytest.raises(InputError, match="not an odd number of slices"):
        tiling_of((1, 2, None, None), None, (0, 8, 8))
    planes = tiling_of((1, 6, None, None), None, (3, 8, 8), volumes=2)
    assert planes.input_shape == (1, 6, 272, 272)
    assert (planes.halo[0], planes.reach) == (1, 1)


def test_in_a_run(edges, tmp_path):
    """Beside the thresholds' place in a pipeline: planned, resampled, masked, measured, and named in the record."""
    import fibtomo

    config = tmp_path / "p.yaml"
    stage = f"{{model: {edges}, tile_px: [8, 32, 32], halo_px: [1, 1, 1]}}"
    config.write_text(f"stages: [geometry.resample, {{use: segment.onnx, with: {stage}}}, measure.phases]\n")
    facts = {"voxel_nm": (5, 5, 5), "column_angle_deg": 52, "tilt_corrected": True, "tracked": True, "look": False}
    runs = [
        fibtomo.run(volume(), tmp_path / name, config, workers=1, memory_bytes=memory, **facts)
        for name, memory in (("small", 6.8e6), ("large", 1e9))
    ]
    labels = [run.labels.compute() for run in runs]
    np.testing.assert_array_equal(*labels)
    assert set(np.unique(labels[0])) == {0, 1}
    assert edges in runs[0].provenance["files"]
    assert runs[0].provenance["versions"]["onnxruntime"]
    assert len({str(run.provenance["slabs"]) for run in runs}) == 2, "both runs were cut alike"
    with pytest.raises(FibtomoError, match="there is no network"):
        fibtomo.run(volume(), tmp_path / "gone", config, settings=["segment.model=gone.onnx"], **facts)
