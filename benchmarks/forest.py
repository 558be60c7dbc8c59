"""Features, random forests and whole pixel classification beside others: ``python benchmarks/forest.py``.

CPU seconds over all threads, so that a busy machine changes little; ratios are the peer's over ours, the best of a few
runs each. Features: a volume of noise, float32, Gaussians cut off at 3 σ in SciPy as in fibtomo (scikit-image cuts
at 4 σ and cannot be told otherwise). Forest: 100 trees of depth 12 and without limit, 262144 voxels, 20 features.

"ilastik-style" is what classifiers of that kind do in Python: `multiscale_basic_features` of scikit-image at the same
four scales (20 features, cut off at 4 σ), then scikit-learn's `predict_proba` over a table of all voxels and features;
fibtomo makes 29 features and holds those of one tile.
"""

from collections.abc import Callable
from time import perf_counter, process_time

import numpy as np
from scipy import ndimage as ndi
from skimage.feature import (
    hessian_matrix,
    hessian_matrix_eigvals,
    multiscale_basic_features,
    structure_tensor,
    structure_tensor_eigenvalues,
)
from sklearn.ensemble import RandomForestClassifier

from fibtomo.ops.features import feature_bank
from fibtomo.ops.forest_inference import FlatForest, forest_probabilities
from fibtomo.ops.pixel_forest import PixelForest

SHAPE = (48, 160, 320)


def seconds(function: Callable[[], object], runs: int = 3) -> tuple[float, float]:
    """CPU and wall-clock seconds, the best of each."""
    cpu, wall = [], []
    for _ in range(runs):
        begin, clock = process_time(), perf_counter()
        function()
        cpu.append(process_time() - begin)
        wall.append(perf_counter() - clock)
    return min(cpu), min(wall)


def report(what: str, ours: tuple[float, float], peer: tuple[float, float], name: str) -> None:
    print(f"| {what} | {ours[0]:.3f} | {name} | {peer[0]:.3f} | {peer[0] / ours[0]:.1f} | {peer[1] / ours[1]:.1f} |")


def features() -> None:
    volume = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    few = volume[:3, :20, :30]
    feature_bank(few, [1.0], 1.0)
    for sigma in (1.0, 2.0, 4.0, 8.0):

        def ours(*kinds: str, sigma: float = sigma) -> tuple[float, float]:
            return seconds(lambda: feature_bank(volume, [sigma], 1.0, kinds=kinds))

        def smooth(sigma: float = sigma) -> None:
            ndi.gaussian_filter(volume, sigma, mode="nearest", truncate=3)

        def edges(sigma: float = sigma) -> None:
            ndi.gaussian_gradient_magnitude(volume, sigma, mode="nearest", truncate=3)

        def ridges(sigma: float = sigma) -> None:
            hessian_matrix_eigvals(hessian_matrix(volume, sigma, mode="nearest", use_gaussian_derivatives=False))

        def texture(sigma: float = sigma) -> None:
            structure_tensor_eigenvalues(structure_tensor(volume, sigma, mode="nearest"))

        report(f"gaussian, σ {sigma:g}", ours("gaussian"), seconds(smooth, 1), "scipy")
        report(f"gradient, σ {sigma:g}", ours("gradient"), seconds(edges, 1), "scipy")
        report(f"hessian, σ {sigma:g}", ours("hessian"), seconds(ridges, 1), "scikit-image")
        report(f"structure, σ {sigma:g}", ours("structure"), seconds(texture, 1), "scikit-image")
    part = volume[:24]
    span = {"sigma_min": 1.0, "sigma_max": 8.0, "num_sigma": 4, "workers": 2}
    bank = seconds(lambda: feature_bank(part, [1, 2, 4, 8], 1.0, kinds=("gaussian", "gradient", "hessian")), 2)
    report("20 features, σ 1 2 4 8", bank, seconds(lambda: multiscale_basic_features(part, **span), 1), "scikit-image")


def forests() -> None:
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(5000, 20)).astype(np.float32)
    classes = (samples[:, 0] * samples[:, 1] + samples[:, 2] > 0).astype(int) + (samples[:, 3] > 1)
    fields = np.stack([ndi.gaussian_filter(rng.normal(size=(4, 256, 256)), 2).ravel() for _ in range(20)])
    fields = (fields / fields.std()).astype(np.float32)
    for depth in (12, None):
        classifier = RandomForestClassifier(100, max_depth=depth, n_jobs=2, random_state=0).fit(samples, classes)
        forest = FlatForest.from_sklearn(classifier)
        rows = np.ascontiguousarray(fields.T)
        error = np.abs(forest_probabilities(fields, forest).T - classifier.predict_proba(rows)).max()
        ours = seconds(lambda forest=forest: forest_probabilities(fields, forest))
        peer = seconds(lambda classifier=classifier, rows=rows: classifier.predict_proba(rows))
        report(f"forest, depth {depth}, differs by {error:.0e}", ours, peer, "scikit-learn")


def pixels() -> None:
    """From grey volume to probabilities, features included, by forests that learned from the same scribbles."""
    rng = np.random.default_rng(0)
    phase = ndi.gaussian_filter(rng.normal(size=SHAPE), 4) > 0
    grey = np.clip(90 + 60 * phase + rng.normal(0, 20, SHAPE), 0, 255).astype(np.uint8)
    labels = np.where(rng.random(SHAPE) < 0.0005, 1 + phase, 0)
    sigmas = (0.7, 1.4, 2.8, 5.6)
    forest = PixelForest.train(grey, labels, sigmas_nm=sigmas, voxel_nm=1.0)
    span = {"sigma_min": 0.7, "sigma_max": 5.6, "num_sigma": 4, "workers": 2}

    def peer() -> object:
        bank = multiscale_basic_features(grey, **span)
        return classifier.predict_proba(bank.reshape(-1, bank.shape[-1]))

    classifier = RandomForestClassifier(100, max_depth=14, min_samples_leaf=4, n_jobs=2, random_state=0)
    classifier.fit(multiscale_basic_features(grey, **span)[labels > 0], labels[labels > 0])
    ours, theirs = seconds(lambda: forest.probabilities(grey), 2), seconds(peer, 2)
    report(f"grey to probabilities, {1e6 * ours[1] / grey.size:.2f} µs/voxel", ours, theirs, "ilastik-style")
    bank = feature_bank(grey, sigmas, 1.0, kinds=forest.recipe.kinds)
    flat = seconds(lambda: forest_probabilities(bank, forest.learned.forest), 2)
    learned = RandomForestClassifier(100, max_depth=14, min_samples_leaf=4, n_jobs=2, random_state=0)
    rows = np.ascontiguousarray(bank.reshape(len(bank), -1).T)
    learned.fit(rows[labels.ravel() > 0], labels[labels > 0])
    report(
        "the same forest on the same features", flat, seconds(lambda: learned.predict_proba(rows), 2), "scikit-learn"
    )


if __name__ == "__main__":
    print("| what | fibtomo, CPU s | peer | CPU s | ratio of CPU | ratio of wall clock |\n|---|---|---|---|---|---|")
    features()
    forests()
    pixels()
