"""Small stacks written on the fly."""

import numpy as np
import pytest
import tifffile


@pytest.fixture
def volume():
    """Smooth grey structure plus noise, (6, 40, 50) uint8, never at the ends of the range."""
    rng = np.random.default_rng(7)
    z, y, x = np.mgrid[:6, :40, :50]
    wave = 120 + 50 * np.sin(x / 5 + z / 3) * np.cos(y / 7)
    return np.clip(wave + rng.normal(0, 8, wave.shape), 5, 250).astype(np.uint8)


@pytest.fixture
def write_folder(tmp_path):
    """Write slices as TIFF files; returns the folder."""

    def write(volume, name="slices", pattern="slice_{:04d}.tif", start=0, numbers=None, **options):
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        for k, image in zip(numbers or range(start, start + len(volume)), volume, strict=True):
            tifffile.imwrite(folder / pattern.format(k), image, photometric="minisblack", **options)
        return folder

    return write
