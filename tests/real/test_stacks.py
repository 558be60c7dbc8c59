"""Stacks that no one here made."""

import itertools

import numpy as np
import pytest

from fibtomo.io.infobar import info_bar_rows
from fibtomo.io.open import open_stack


def test_c_elegans_slices(shared_data):
    stack = open_stack(shared_data / "stacks" / "c_elegans_em_21slices", voxel_nm=(50, 8, 8))
    assert stack.shape == (21, 256, 256)
    assert stack.dtype == np.uint8
    assert stack.voxel_nm == (50, 8, 8)
    assert stack.missing == ()
    assert stack.numbers == tuple(range(21))
    block = stack.read(0, 21).astype(float)
    neighbours = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in itertools.pairwise(block)]
    assert 0.8 < min(neighbours) < max(neighbours) < 0.95


def test_plain_tiffs_have_no_scale(shared_data):
    stack = open_stack(shared_data / "stacks" / "c_elegans_em_21slices")
    assert stack.voxel_nm is None


def test_gala_hdf5(shared_data):
    stack = open_stack(shared_data / "stacks" / "gala_train-image.h5", voxel_nm=(10, 10, 10))
    assert stack.shape == (50, 100, 200)
    part = stack.read(10, 12)
    np.testing.assert_array_equal(part, np.asarray(stack.data[10:12]))
    assert 0.8 < np.corrcoef(part[0].ravel(), part[1].ravel())[0, 1] < 0.95
    assert open_stack(shared_data / "stacks" / "gala_train-gt.lzf.h5").dtype == np.float32


def test_curtained_image(shared_data):
    stack = open_stack(shared_data / "curtaining")
    assert stack.shape == (1, 2200, 2276)
    assert stack.read(0, 1).std() > 10


def test_segmented_volume(shared_data):
    stack = open_stack(shared_data / "segmented" / "taufactor_electrode.tiff")
    assert stack.shape == (256, 256, 256)
    fractions = np.bincount(stack.read(0, 256).ravel(), minlength=256)[[0, 85, 170]] / 256**3
    np.testing.assert_allclose(fractions, [0.44992, 0.40047, 0.14962], atol=1e-5)


def test_janelia_dat(shared_data):
    stack = open_stack(shared_data / "vendor" / "janelia")
    assert stack.shape == (1, 1000, 1000)
    assert len(stack.channels) == 2
    assert stack.dtype == np.int16
    assert all(stack.channel(name).read(0, 1).std() > 0 for name in stack.channels)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("thermofisher/asv_SEM_Image-SliceImage-001.tif", 1024),
        ("thermofisher/quanta_image.tif", 884),
        ("thermofisher/FEI-Helios-Ebeam-8bits.tif", 442),
        ("zeiss/1-as-cast_16_Sch_10k_InLens.tif", 690),
        ("zeiss/test_tiff_Zeiss_SEM_1k.tif", 691),
        ("zeiss/zeiss_tiff_meta_test.tif", 768),
        ("zeiss/InLens_keyframe_00001_slice_00006_z=1.6659um.tif", 1023),
        ("jeol/image000.tif", 960),
        ("jeol/Standard_BSE_640-800.bmp", 480),
    ],
)
def test_info_bars_of_real_images(shared_data, name, rows):
    assert open_stack(shared_data / "vendor" / name).shape[1] == rows


def test_no_info_bar_in_real_slices(shared_data):
    for place in ("stacks/c_elegans_em_21slices", "stacks/gala_train-image.h5", "curtaining"):
        stack = open_stack(shared_data / place, crop_info_bar=False)
        images = [stack.read(k, k + 1)[0] for k in {0, len(stack) // 2, len(stack) - 1}]
        assert info_bar_rows(images) == 0


def test_a_folder_of_different_images_is_refused_by_name(shared_data):
    with pytest.raises(OSError, match=r"FEI-Helios-Ebeam-8bits\.tif is 512 × 471 pixels"):
        open_stack(shared_data / "vendor" / "thermofisher")
