"""Phases from sparse scribbles beside multi-Otsu and an ilastik-style stack: ``python benchmarks/forest_quality.py``.

Specimens of `fibtomo.phantom` of (40, 160, 200) voxels with noise, shading, curtains and flicker, three seeds each; the
grains of "channelling" differ in grey within one phase. Scribbles: short horizontal strokes of a one-pixel pen on three
slices, 0.05 % of the voxels in all. Dice is the mean over the phases. "whole" is trained and asked on one volume;
"other" asks a volume of another seed whose gain and offset differ (× 0.8 + 20).
"""

from dataclasses import replace

import numpy as np
from skimage.feature import multiscale_basic_features
from skimage.filters import threshold_multiotsu
from sklearn.ensemble import RandomForestClassifier

from fibtomo.ops.pixel_forest import PixelForest
from fibtomo.phantom import acquire
from fibtomo.phantom.packing import Particles, Polycrystal
from fibtomo.phantom.specimens import NanoporousMetal

SHAPE, VOXEL_NM = (40, 160, 200), (10.0, 5.0, 5.0)
ARTEFACTS = {
    "noise": {"electrons": 40.0},
    "shading": {"bottom": 0.35, "side": 0.1},
    "curtains": {"rms": 0.04},
    "flicker": {"gain": 0.03},
}
BINDER = NanoporousMetal(greys=(0.25, 0.5), wavelength_nm=170.0, solid_fraction=0.45)
SHARE = 0.0005


def specimen(kind, seed):
    if kind == "two":
        return NanoporousMetal(greys=(0.35, 0.65), wavelength_nm=120.0, solid_fraction=0.4, seed=seed)
    return Particles(
        greys=(0.25, 0.5, 0.75), radius_nm=110.0, fraction=0.3, matrix=replace(BINDER, seed=seed), seed=seed
    )


def scene(kind, seed):
    """Slices and phases."""
    if kind != "channelling":
        run = acquire(specimen(kind, seed), shape=SHAPE, slice_nm=10.0, tracked=True, seed=seed, artefacts=ARTEFACTS)
        return run.slices, run.truth.phase
    pores = acquire(specimen("two", seed), shape=SHAPE, slice_nm=10.0, tracked=True, seed=seed, artefacts="none")
    grains = acquire(Polycrystal(greys=(0.5, 0.6, 0.7, 0.8), grain_nm=150.0, seed=seed), shape=SHAPE, slice_nm=10.0,
                     tracked=True, seed=seed, artefacts=ARTEFACTS)  # fmt: skip
    hollow = acquire(NanoporousMetal(greys=(0.42, 0.42), seed=seed), shape=SHAPE, slice_nm=10.0, tracked=True,
                     seed=seed + 99, artefacts=ARTEFACTS)  # fmt: skip
    phase = pores.truth.phase
    return np.where(phase > 0, grains.slices, hollow.slices), phase


def scribble(phase, seed, share=SHARE):
    """Strokes on three slices, each within one phase."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(phase.shape, np.uint8)
    classes = int(phase.max()) + 1
    wanted = share * phase.size / classes
    for label in range(classes):
        for _ in range(100000):
            if (labels == label + 1).sum() >= wanted:
                break
            z = (8, 20, 32)[rng.integers(3)]
            y, x = rng.integers(phase.shape[1]), rng.integers(0, phase.shape[2] - 12)
            stroke = (z, y, slice(x, x + rng.integers(5, 12)))
            if (phase[stroke] == label).all():
                labels[stroke] = label + 1
    return labels


def dice(found, truth):
    scores = [
        2 * np.sum((found == k) & (truth == k)) / (np.sum(found == k) + np.sum(truth == k)) for k in np.unique(truth)
    ]
    return float(np.mean(scores))


def otsu(grey, phase):
    return np.digitize(grey, threshold_multiotsu(grey, int(phase.max()) + 1)).astype(np.uint8)


def ilastik_style(grey, labels, other):
    """Per-volume 3-D features of scikit-image and its usual forest."""

    def bank(volume):
        return multiscale_basic_features(volume, sigma_min=0.7, sigma_max=5.6, num_sigma=4, texture=True)

    own = bank(grey)
    forest = RandomForestClassifier(
        100, max_depth=14, min_samples_leaf=4, n_jobs=2, random_state=0, class_weight="balanced"
    )
    forest.fit(own[labels > 0], labels[labels > 0])
    return [forest.predict(b.reshape(-1, b.shape[-1])).reshape(b.shape[:3]) - 1 for b in (own, bank(other))]


def main(kinds=("two", "three", "channelling"), seeds=(0, 1, 2), **options):
    print("| scene | seed | scribbled | Otsu | Dice whole | other | ilastik-style whole | other | left out | off, pt |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for kind in kinds:
        for seed in seeds:
            grey, phase = scene(kind, seed)
            other, other_phase = scene(kind, seed + 50)
            other = np.clip(other * 0.8 + 20, 0, 255).astype(np.uint8)
            labels = scribble(phase, seed)
            forest = PixelForest.train(grey, labels, voxel_nm=VOXEL_NM, **options)
            found, there = forest.predict(grey), forest.predict(other)
            peer = ilastik_style(grey, labels, other)
            wrong = max(abs(np.mean(found == k) - np.mean(phase == k)) for k in range(int(phase.max()) + 1))
            apart = np.nanmean([row["apart"] for row in forest.accuracies])
            cells = [dice(otsu(grey, phase), phase), dice(found, phase), dice(there, other_phase)]
            cells += [dice(peer[0], phase), dice(peer[1], other_phase), apart]
            print(
                f"| {kind} | {seed} | {(labels > 0).mean():.3%} | "
                + " | ".join(f"{c:.3f}" for c in cells)
                + f" | {100 * wrong:.1f} |"
            )


if __name__ == "__main__":
    main()
