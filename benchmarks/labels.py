"""Touching balls of known number split by fibtomo and by scikit-image (``python benchmarks/labels.py``).

scikit-image: exact distances (SciPy), `h_maxima` at the same h, `watershed`. Times are CPU seconds of the second run.
"""

import sys
from time import process_time

import numpy as np
from scipy import ndimage
from skimage.morphology import h_maxima
from skimage.segmentation import watershed
from sklearn.metrics import adjusted_rand_score
from timing import cpu_seconds

from fibtomo.ops.flood import H_DIAGONALS
from fibtomo.ops.labels import label_objects
from fibtomo.phantom.touching import touching_balls

CASES = (((1.0, 1.0, 1.0), 0.0, 0.08), ((1.0, 1.0, 1.0), 0.3, 0.15), ((2.0, 1.0, 1.0), 0.2, 0.08))


def theirs(mask: np.ndarray, voxel_nm: tuple[float, float, float], seconds: dict[str, float]) -> np.ndarray:
    start = process_time()
    distance = ndimage.distance_transform_edt(mask, sampling=voxel_nm)
    peaks = h_maxima(distance, H_DIAGONALS * float(np.linalg.norm(voxel_nm)))
    markers = ndimage.label(peaks, np.ones((3, 3, 3)))[0]
    flooding = process_time()
    labels = watershed(-distance, markers, mask=mask, connectivity=3)
    seconds.update(whole=process_time() - start, flooding=process_time() - flooding)
    return labels


def main(size: int) -> None:
    print("voxel nm, spread, overlap | seed | balls | found, Rand index (scikit-image) | CPU s | its, flooding alone")
    for voxel_nm, spread, overlap in CASES:
        shape = tuple(int(size / edge) for edge in voxel_nm)
        count = int(0.5 * size**3 / (4.2 * 9**3))
        for seed in range(3):
            truth = touching_balls(count, shape, 9.0, voxel_nm=voxel_nm, spread=spread, overlap=overlap, seed=seed)
            mask = truth > 0
            seconds: dict[str, float] = {}
            other = theirs(mask, voxel_nm, seconds)
            own = label_objects(mask, split="watershed", voxel_nm=voxel_nm)
            took = cpu_seconds(lambda m=mask, v=voxel_nm: label_objects(m, split="watershed", voxel_nm=v), 1)
            scores = [adjusted_rand_score(truth[mask], labels[mask]) for labels in (own, other)]
            print(
                f"{voxel_nm}, {spread}, {overlap} | {seed} | {count} | {own.max()}, {scores[0]:.4f} "
                f"({other.max()}, {scores[1]:.4f}) | {took:.2f} | {seconds['whole']:.1f}, {seconds['flooding']:.1f}"
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 128)
