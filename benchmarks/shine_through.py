"""Open pores with back walls shining through: fibtomo beside Otsu, two-stage thresholds and a forest of 2-D features.

Specimens come from a simulator of their own (random fields and overlapping balls on a voxel grid), not from the phantom
that the forest was trained on. Prints Dice of the walls, error of their volume fraction in points, and the F-score of
their surface within one voxel.

    python benchmarks/shine_through.py [--quick] [--csv FILE]
"""

import argparse
import csv
import time
from math import radians, tan
from pathlib import Path
from typing import Any

import numba
import numpy as np
from scipy import ndimage

from fibtomo import segment
from fibtomo.models.train_shine_through import learn
from fibtomo.ops.features import feature_bank
from fibtomo.ops.forest_inference import FlatForest, forest_probabilities
from fibtomo.ops.light_decay import fit_light, sample_rays
from fibtomo.ops.shine_features import KINDS, SIGMAS_PX, shine_feature_names
from fibtomo.ops.two_stage import two_stage_threshold

ANGLE_DEG = 52.0
SLOPE = 1 / tan(radians(ANGLE_DEG))
BLACK, WHITE = 0.15, 0.70
SHAPE, SHOWN = (144, 112, 112), 96
"""Voxels of the periodic specimen, and slices of it that are seen."""
FOREST_2D_STACKS = 16


def field(size: float, porosity: float, bandwidth: float, rng: np.random.Generator) -> Any:
    """Level of a Gaussian random field with one wavelength; walls are positive."""
    frequency = np.meshgrid(*[np.fft.fftfreq(n) for n in SHAPE[:2]], np.fft.rfftfreq(SHAPE[2]), indexing="ij")
    k = np.sqrt(sum(f * f for f in frequency)) * size
    noise = np.fft.rfftn(rng.standard_normal(SHAPE)) * np.exp(-0.5 * ((k - 1) / bandwidth) ** 2)
    level = np.fft.irfftn(noise, s=SHAPE, axes=(0, 1, 2))
    return level - np.quantile(level, porosity)


def balls(radius: float, porosity: float, bubbles: bool, rng: np.random.Generator) -> Any:
    """Level of overlapping balls of walls, or of pores."""
    empty = 1 - porosity if bubbles else porosity
    count = round(-np.log(empty) * np.prod(SHAPE) / (4 / 3 * np.pi * radius**3))
    depth = _depth(np.array(SHAPE), rng.random((count, 3)) * SHAPE, float(radius))
    return -depth if bubbles else depth


@numba.njit(cache=True)
def _depth(shape: Any, centres: Any, radius: float) -> Any:
    out = np.full((shape[0], shape[1], shape[2]), -radius)
    reach = int(2 * radius) + 1
    for c in centres:
        for z in range(int(c[0]) - reach, int(c[0]) + reach + 1):
            for y in range(int(c[1]) - reach, int(c[1]) + reach + 1):
                for x in range(int(c[2]) - reach, int(c[2]) + reach + 1):
                    d = radius - np.sqrt((z - c[0]) ** 2 + (y - c[1]) ** 2 + (x - c[2]) ** 2)
                    here = z % shape[0], y % shape[1], x % shape[2]
                    out[here] = max(out[here], d)
    return out


@numba.njit(parallel=True, cache=True)
def look(level: Any, slope: float, decay: float, black: float, white: float) -> Any:
    """Brightness of every voxel: its own in walls, the first wall's behind it, faded, in pores."""
    depth, height, width = level.shape
    out = np.empty(level.shape)
    for z in numba.prange(depth):
        for y in range(height):
            for x in range(width):
                before, value, t = level[z, y, x], black, 0.0
                while before <= 0 and t < 4 * decay:
                    t += 1
                    row = y + t * slope
                    z1, y0 = (z + int(t)) % depth, int(row)
                    share = row - y0
                    here = (1 - share) * level[z1, y0 % height, x] + share * level[z1, (y0 + 1) % height, x]
                    if here > 0:
                        value = black + (white - black) * np.exp(-(t - here / (here - before)) / decay)
                    before = here
                out[z, y, x] = white if level[z, y, x] > 0 else value
    return out


def specimen(kind: str, size: float, porosity: float, seed: int) -> Any:
    """Level function of a specimen on a periodic grid."""
    rng = np.random.default_rng(seed)
    if kind == "balls":
        return balls(0.4 * size, porosity, False, rng)
    if kind == "bubbles":
        return balls(0.5 * size, porosity, True, rng)
    return field(size, porosity, 0.35 if kind == "broad" else 0.12, rng)


def acquire(
    kind: str, size: float, porosity: float, decay: float, seed: int, *, noise: float = 0.03, jitter_px: float = 0.0,
    blur_px: float = 0.0, black: float = BLACK, white: float = WHITE,
) -> tuple[Any, Any]:  # fmt: skip
    """Image a specimen; returns slices (z, y, x) uint8 and its walls as each slice shows them."""
    rng = np.random.default_rng(seed + 1000)
    level = specimen(kind, size, porosity, seed)
    seen = look(level, SLOPE, decay, black, white) if decay else np.where(level > 0, white, black)
    walls = level > 0
    if blur_px:
        seen = ndimage.gaussian_filter(seen, (0, blur_px, blur_px), mode="wrap")
    if jitter_px:
        for k in range(len(seen)):
            move = rng.normal(0, jitter_px, 2)
            seen[k] = ndimage.shift(seen[k], move, order=1, mode="grid-wrap")
            walls[k] = ndimage.shift(level[k], move, order=1, mode="grid-wrap") > 0
    seen = seen[:SHOWN] + noise * rng.standard_normal((SHOWN, *SHAPE[1:]))
    return np.clip(np.rint(255 * seen), 0, 255).astype(np.uint8), walls[:SHOWN]


CASES: list[tuple[str, dict[str, Any]]] = [
    ("field, 0.60, decay 0.5 pores", {"kind": "field", "size": 24, "porosity": 0.6, "decay": 12}),
    ("field, 0.60, decay 1 pore", {"kind": "field", "size": 24, "porosity": 0.6, "decay": 24}),
    ("field, 0.60, decay 2 pores", {"kind": "field", "size": 24, "porosity": 0.6, "decay": 48}),
    ("field, 0.75, decay 1 pore", {"kind": "field", "size": 24, "porosity": 0.75, "decay": 24}),
    ("field, 0.40, decay 1 pore", {"kind": "field", "size": 24, "porosity": 0.4, "decay": 24}),
    ("field, 0.80, decay 1 pore, 40 px", {"kind": "field", "size": 40, "porosity": 0.8, "decay": 40}),
    ("broad field, 0.60, decay 1 pore", {"kind": "broad", "size": 24, "porosity": 0.6, "decay": 24}),
    ("balls, 0.70, decay 1 pore", {"kind": "balls", "size": 24, "porosity": 0.7, "decay": 24}),
    ("bubbles, 0.60, decay 1 pore", {"kind": "bubbles", "size": 24, "porosity": 0.6, "decay": 24}),
    ("field, other greys", {"kind": "field", "size": 24, "porosity": 0.6, "decay": 24, "black": 0.3, "white": 0.55}),
    ("field, blurred 0.6 px", {"kind": "field", "size": 24, "porosity": 0.6, "decay": 24, "blur_px": 0.6}),
    ("field, noise 0.05", {"kind": "field", "size": 24, "porosity": 0.6, "decay": 24, "noise": 0.05}),
    ("field, misaligned 0.25 px", {"kind": "field", "size": 24, "porosity": 0.6, "decay": 24, "jitter_px": 0.25}),
    ("field, misaligned 0.5 px", {"kind": "field", "size": 24, "porosity": 0.6, "decay": 24, "jitter_px": 0.5}),
    ("field, filled pores", {"kind": "field", "size": 24, "porosity": 0.6, "decay": 0}),
]


def surface(mask: Any) -> Any:
    """Voxels of the mask next to what is outside."""
    return mask & ~ndimage.binary_erosion(mask, border_value=1)


def scores(found: Any, truth: Any) -> tuple[float, float, float]:
    """Dice, error of the fraction in points, and F-score of the surface within one voxel."""
    dice = 2 * (found & truth).sum() / (found.sum() + truth.sum())
    ours, theirs = surface(found), surface(truth)
    near = [ndimage.binary_dilation(s) for s in (theirs, ours)]
    precision, recall = (ours & near[0]).sum() / ours.sum(), (theirs & near[1]).sum() / theirs.sum()
    return float(dice), 100 * float(found.mean() - truth.mean()), float(2 * precision * recall / (precision + recall))


def forest_2d(stacks: int) -> Any:
    """Train a forest on the same virtual stacks with what single slices show alone."""
    from sklearn.ensemble import RandomForestClassifier

    lessons = [learn(seed) for seed in range(stacks)]
    columns = _plane_columns()
    forest = RandomForestClassifier(40, min_samples_leaf=12, max_features=0.3, n_jobs=-1, random_state=0)
    forest.fit(np.concatenate([k.features[:, columns] for k in lessons]), np.concatenate([k.walls for k in lessons]))
    return FlatForest.from_sklearn(forest)


def _plane_columns() -> list[int]:
    return [k for k, name in enumerate(shine_feature_names()) if not name.startswith("wall") and name != "decay"]


def by_forest_2d(volume: Any, forest: Any) -> Any:
    light = fit_light([sample_rays(volume, 0, (0, len(volume)), volume.shape, SLOPE)]).light
    plane = feature_bank(light.relative(volume), SIGMAS_PX, 1.0, kinds=KINDS, dimensions=2)
    noise = np.full((1, *volume.shape), light.noise, np.float32)
    return forest_probabilities(np.concatenate([plane, noise]), forest)[1] > 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--csv", type=Path, help="file for all numbers")
    args = parser.parse_args()
    trees = forest_2d(FOREST_2D_STACKS)
    rows = []
    for name, case in CASES:
        for seed in (901,) if args.quick else (901, 902, 903):
            volume, truth = acquire(seed=seed, **case)
            methods = {
                "Otsu": lambda v: segment(v, method="otsu") == 1,
                "two-stage": lambda v: two_stage_threshold(v, SLOPE) == 1,
                "2-D forest": lambda v: by_forest_2d(v, trees),
                "fibtomo": lambda v: segment(v, shine_through=True, column_angle_deg=ANGLE_DEG) == 1,
            }
            for method, run in methods.items():
                begun = time.perf_counter()
                found = run(volume)
                seconds = time.perf_counter() - begun
                rows.append((name, seed, method, *scores(found, truth), volume.size / seconds / 1e6))
            print(
                f"{name:36s} {seed}",
                *(f"{r[2]} {r[3]:.4f} {r[4]:+.2f} {r[5]:.3f}" for r in rows[-4:]),
                sep="  | ",
                flush=True,
            )
    if args.csv:
        with args.csv.open("w", newline="") as file:
            csv.writer(file).writerows([("case", "seed", "method", "dice", "points", "surface_f", "mvox_s"), *rows])


if __name__ == "__main__":
    main()
