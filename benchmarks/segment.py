"""Time thresholds beside scikit-image, as ratios (``python benchmarks/segment.py``)."""

import sys

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.filters import threshold_multiotsu, threshold_sauvola
from timing import cpu_seconds

from fibtomo.ops.segmentation import segment


def specimen(shape: tuple[int, int, int]) -> np.ndarray:
    """Two phases under a shadow that takes a third of the signal on one side."""
    field = gaussian_filter(np.random.default_rng(0).standard_normal(shape, dtype=np.float32), 4)
    grey = (80 + 90 * (field > 0)) * np.linspace(1, 0.67, shape[2])
    return np.clip(grey + np.random.default_rng(1).normal(0, 12, shape), 0, 255).astype(np.uint8)


def main(shape: tuple[int, int, int]) -> None:
    grey = specimen(shape)
    otsu = cpu_seconds(lambda: segment(grey, method="otsu"))
    multiotsu = cpu_seconds(lambda: np.digitize(grey, threshold_multiotsu(grey, 2)))
    sauvola = cpu_seconds(lambda: [plane > threshold_sauvola(plane, 49) for plane in grey])
    print(
        f"{'CPU time, ' + ' × '.join(map(str, shape)):28}{'Mvox/s':>9}{'÷ otsu':>9}{'multiotsu ÷':>13}{'sauvola ÷':>11}"
    )
    for name, options in (
        ("otsu", {"method": "otsu"}),
        ("gmm", {"method": "gmm"}),
        ("gmm, follow_slices=1", {"method": "gmm", "follow_slices": 1}),
        ("local, window 48", {"method": "local", "window_nm": 48}),
        ("hysteresis, reach 8", {"method": "hysteresis"}),
    ):
        seconds = cpu_seconds(lambda options=options: segment(grey, **options))
        rate = grey.size / 1e6 / seconds
        print(f"{name:28}{rate:9.0f}{seconds / otsu:9.2f}{multiotsu / seconds:13.2f}{sauvola / seconds:11.2f}")


if __name__ == "__main__":
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    main((size // 2, size, size))
