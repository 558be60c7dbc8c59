"""Sections and grids: right voxels, few reads."""

import numpy as np
import pytest

from fibtomo.core.source import ArraySource
from fibtomo.core.volume import VolumeSpec
from fibtomo.report import views
from fibtomo.report.views import open_volume, take_views


class Counting(ArraySource):
    """Remembers what was read; the array may be virtual."""

    def __init__(self, shape, voxel_nm=None):
        super().__init__(None, VolumeSpec(shape, "uint16", voxel_nm))
        self.reads: list[tuple[int, int]] = []

    def read(self, z0, z1):
        self.reads.append((z0, z1))
        _, ny, nx = self.spec.shape
        z, y, x = np.ogrid[z0:z1, :ny, :nx]
        return ((7 * z + 3 * y + x) % 65_536).astype(np.uint16)


def whole(shape):
    z, y, x = np.ogrid[tuple(slice(n) for n in shape)]
    return ((7 * z + 3 * y + x) % 65_536).astype(np.uint16)


def test_sections_of_a_small_volume_are_exact():
    shape = (30, 41, 52)
    got = take_views(open_volume(Counting(shape, (3.0, 2.0, 1.0))), grid_edge=1000)
    array = whole(shape)
    np.testing.assert_array_equal(got.xy, array[15])
    np.testing.assert_array_equal(got.xz, array[:, 20])
    np.testing.assert_array_equal(got.yz, array[:, :, 26])
    np.testing.assert_array_equal(got.grid, array)
    assert got.spacing == got.grid_spacing == (3.0, 2.0, 1.0)


def test_large_sections_are_thinned_with_their_spacing():
    shape = (600, 1000, 40)
    got = take_views(open_volume(Counting(shape, (2.0, 1.0, 1.0))), grid_edge=100)
    array = whole(shape)
    assert got.strides == (2, 2, 1)
    assert got.spacing == (4.0, 2.0, 1.0)
    np.testing.assert_array_equal(got.xz, array[::2, 500])
    np.testing.assert_array_equal(got.yz, array[::2, ::2, 20])
    assert got.grid_spacing == pytest.approx((12.0, 1000 / 84, 10.0))
    np.testing.assert_array_equal(got.grid, array[::6, ::12, ::12])


def test_a_long_stack_costs_no_more_than_its_pictures():
    source = Counting((20_000, 16, 16))
    take_views(open_volume(source))
    assert sum(b - a for a, b in source.reads) <= 401


def test_slabs_stay_within_their_bytes(monkeypatch):
    monkeypatch.setattr(views, "_SLAB_BYTES", 8 * 64 * 64 * 2)
    source = Counting((100, 64, 64))
    got = take_views(open_volume(source))
    assert max(b - a for a, b in source.reads) == 8
    np.testing.assert_array_equal(got.xz, whole((100, 64, 64))[:, 32])


@pytest.mark.parametrize("n", [1, 2])
def test_very_thin_volumes(n):
    got = take_views(open_volume(np.arange(n * 12, dtype=np.float32).reshape(n, 3, 4)), grid_edge=50)
    assert got.xz.shape == (n, 4)
    assert got.unit == "voxel"


def test_arrays_with_shape_and_slicing_will_do():
    zarr = pytest.importorskip("zarr")
    array = zarr.array(whole((8, 9, 10)), chunks=(4, 9, 10))
    got = take_views(open_volume(array))
    np.testing.assert_array_equal(got.yz, whole((8, 9, 10))[:, :, 5])
