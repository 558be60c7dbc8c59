"""Denoising of device arrays, on the stand-in for cupy: the same voxels, and nothing converted in secret."""

import numpy as np
import pytest
import strict_cupy

from fibtomo.core.stage import StageContext, get_stage
from fibtomo.core.volume import VolumeSpec
from fibtomo.ops.denoise import denoise
from fibtomo.ops.padding import seen_voxels

FAST = {"nlm": {"reach_px": 1}, "tv": {"iterations": 4, "residual": 0.8}, "bilateral": {"sigma_px": 1.0}}


def specimen(dtype: str = "uint16") -> np.ndarray:
    planes = np.random.default_rng(0).poisson(60 + 40 * (np.arange(34) > 12), (4, 24, 34)).astype(dtype)
    planes[:, :3], planes[1, :, 30:] = 0, 0
    return planes


@pytest.mark.parametrize("method", ["nlm", "tv", "bilateral", "median", "gaussian"])
def test_a_method_does_on_the_device_what_it_does_on_the_host(harness, method):
    planes, mask = specimen(), np.ones((4, 24, 34), dtype=bool)
    mask[2, 10:14, 5:9] = False
    expected = denoise(planes, method=method, mask=mask, **FAST.get(method, {}))
    with strict_cupy.installed() as cupy:
        found = denoise(cupy.asarray(planes), method=method, mask=cupy.asarray(mask), **FAST.get(method, {}))
        assert isinstance(found, cupy.ndarray)
    np.testing.assert_array_equal(found.get(), expected)


@pytest.mark.parametrize("method", ["nlm", "tv", "bilateral", "median", "gaussian"])
def test_a_stage_stays_on_the_device(harness, method):
    block, stage = specimen("float32"), get_stage(f"denoise.{method}")
    params, spec = stage.params(**FAST.get(method, {})), VolumeSpec(block.shape, "float32", value_range=(0.0, 255.0))

    def run(planes):
        tables = {}
        if stage.measure:
            ctx = StageContext(spec, 0, (0, 4))
            tables[stage.produces] = stage.combine([stage.measure(planes, params, ctx)], params, ctx)
        return stage.apply(planes, params, StageContext(spec, 0, (0, 4), tables))

    expected = run(block)
    with strict_cupy.installed() as cupy:
        found = run(cupy.asarray(block))
        assert isinstance(found, cupy.ndarray)
    np.testing.assert_allclose(found.get(), expected, rtol=1e-5)


def test_padding_is_found_on_all_slices_at_once():
    rng = np.random.default_rng(0)
    for trial in range(40):
        planes = rng.normal(100, 20, (3, *rng.integers(1, 16, 2)))
        for plane in planes:
            top, bottom, left, right = rng.integers(0, 5, 4)
            grey = rng.choice([0.0, 100.0, np.nan])
            plane[:top], plane[:, :left] = grey, grey
            plane[len(plane) - bottom :], plane[:, plane.shape[1] - right :] = 7.0, grey
        if trial % 2:
            planes = np.nan_to_num(planes).astype("uint8") // (1 + trial % 3 * 40)
        expected = seen_voxels(planes)
        with strict_cupy.installed() as cupy:
            found = seen_voxels(cupy.asarray(planes))
        assert (found is None) == (expected is None)
        if found is not None:
            np.testing.assert_array_equal(found.get(), expected)
