"""Train the forest that tells walls from open pores on virtual acquisitions; writes ``shine_through.npz`` beside it.

Run ``python -m fibtomo.models.train_shine_through``; it takes about fifteen minutes and always gives the same
forest. Specimens, light, noise and faults of the acquisitions are drawn at random; see `draw`.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from fibtomo.ops.forest_inference import FlatForest
from fibtomo.ops.light_decay import fit_light, sample_rays
from fibtomo.ops.shine_features import shine_features, tiles_of
from fibtomo.ops.shine_through import MODEL, ShineForest, Trained
from fibtomo.phantom import Artefacts, acquire

STACKS = 120
SHAPE = (64, 88, 88)
PIXEL_NM = 10.0
VOXELS = 8000
"""Voxels of each stack that the forest learns from."""
TREES, LEAST_IN_LEAF, SHARE_OF_FEATURES = 40, 12, 0.3
KINDS = ("metal", "metal", "grains", "bubbles", "labyrinth", "particles")


@dataclass(frozen=True)
class Lesson:
    """A virtual acquisition: what `acquire` is told."""

    specimen: dict[str, Any]
    artefacts: dict[str, Any]
    column_angle_deg: float
    slice_nm: float
    oversample: int


def draw(seed: int) -> Lesson:
    """Draw an acquisition: structures of 11 to 44 pixels, porosity 0.35 to 0.85, decay 0.3 to 2.2 of their size.

    One in eight has filled pores; the rest of the faults are what alignment and cleaning leave: up to 0.5 pixels of
    misalignment, blur, bright rims, flicker, and noise of 1.5 to 9 % of the contrast.
    """
    rng = np.random.default_rng(seed)
    size_nm = PIXEL_NM * math.exp(rng.uniform(math.log(11), math.log(44)))
    porosity, black = rng.uniform(0.35, 0.82), rng.uniform(0.05, 0.35)
    contrast = rng.uniform(0.3, 0.6)
    noise = contrast * math.exp(rng.uniform(math.log(0.015), math.log(0.09)))
    white = black + contrast
    artefacts: dict[str, Any] = {"noise": {"electrons": 2 * white / noise**2, "read": 0.7 * noise}}
    if rng.random() > 0.12:
        decay_nm = size_nm * math.exp(rng.uniform(math.log(0.3), math.log(2.2)))
        artefacts["shine_through"] = {"decay_nm": decay_nm, "step_nm": PIXEL_NM / 2}
    if rng.random() < 0.6:
        artefacts["jitter"] = {"rms_px": rng.uniform(0.05, 0.5)}
    if rng.random() < 0.6:
        best_px = rng.uniform(0.2, 0.9)
        artefacts["defocus"] = {"best_px": best_px, "worst_px": best_px + 0.2}
    if rng.random() < 0.35:
        artefacts["edge_rim"] = {"gain": rng.uniform(0.05, 0.3), "width_nm": rng.uniform(0.5, 2) * PIXEL_NM}
    if rng.random() < 0.4:
        artefacts["flicker"] = {"gain": 0.01, "offset": 0.005}
    return Lesson(
        _specimen(KINDS[seed % len(KINDS)], size_nm, porosity, (black, white), rng),
        artefacts,
        column_angle_deg=rng.uniform(46, 60) if rng.random() < 0.5 else 52.0,
        slice_nm=PIXEL_NM * float(rng.choice([0.5, 1, 1, 1, 2])),
        oversample=int(rng.integers(1, 3)),
    )


def _specimen(
    kind: str, size_nm: float, porosity: float, greys: tuple[float, float], rng: np.random.Generator
) -> dict[str, Any]:
    seed, solid = int(rng.integers(2**31)), 1 - porosity
    if kind == "metal":
        return {
            "kind": "nanoporous_metal", "wavelength_nm": size_nm, "solid_fraction": solid,
            "bandwidth": rng.uniform(0.05, 0.3), "seed": seed, "greys": greys,
        }  # fmt: skip
    if kind == "labyrinth":
        surface = ("P", "gyroid", "diamond")[seed % 3]
        cut = rng.uniform(-0.9, 0.3)
        return {"kind": "tpms", "surface": surface, "period_nm": 1.4 * size_nm, "cut": cut, "greys": greys}
    if kind == "particles":
        return {
            "kind": "particles", "radius_nm": size_nm / 2, "spread": rng.uniform(0, 0.3),
            "fraction": rng.uniform(0.15, 0.33), "seed": seed, "greys": greys,
        }  # fmt: skip
    bubbles = kind == "bubbles"
    return {
        "kind": "boolean_balls", "radius_nm": (0.45 if bubbles else 0.4) * size_nm, "fraction": solid,
        "bubbles": bubbles, "seed": seed, "greys": greys,
    }  # fmt: skip


@dataclass(frozen=True)
class Learned:
    """What one acquisition gives to learn from: features (voxels, features), walls (voxels,), and its light."""

    features: NDArray[np.float32]
    walls: NDArray[np.bool_]
    decay_slices: float
    noise: float
    rows_per_slice: float


def learn(seed: int) -> Learned:
    """Acquire one stack and take features of voxels all over it, as `wall_probability` will."""
    lesson = draw(seed)
    run = acquire(
        lesson.specimen,
        shape=SHAPE,
        pixel_nm=PIXEL_NM,
        slice_nm=lesson.slice_nm,
        column_angle_deg=lesson.column_angle_deg,
        tilt_corrected=True,
        tracked=True,
        seed=seed,
        artefacts=Artefacts.of(lesson.artefacts),
        dtype="uint16",
        oversample=lesson.oversample,
    )
    volume, walls = run.slices, run.truth.phase > 0
    rows_per_slice = lesson.slice_nm / PIXEL_NM / math.tan(math.radians(lesson.column_angle_deg))
    whole = (0, len(volume))
    light = fit_light([sample_rays(volume, 0, whole, volume.shape, rows_per_slice)]).light
    rng = np.random.default_rng(seed)
    features, labels = [], []
    for tile in tiles_of(volume.shape, whole, rows_per_slice):
        found = shine_features(volume[tile.within(0)], tile.core, light, rows_per_slice)
        voxels = tuple(slice(*span) for span in tile.voxels)
        chosen = rng.choice(found[0].size, VOXELS * found[0].size // volume.size, replace=False)
        features.append(found.reshape(len(found), -1)[:, chosen].T)
        labels.append(walls[voxels].ravel()[chosen])
    return Learned(np.concatenate(features), np.concatenate(labels), light.decay_slices, light.noise, rows_per_slice)


def train(stacks: int = STACKS) -> ShineForest:
    """Train on so many virtual acquisitions."""
    from sklearn.ensemble import RandomForestClassifier

    lessons = [learn(seed) for seed in track(range(stacks), "Learning from virtual stacks")]
    classifier = RandomForestClassifier(
        TREES, min_samples_leaf=LEAST_IN_LEAF, max_features=SHARE_OF_FEATURES, n_jobs=-1, random_state=0
    )
    classifier.fit(np.concatenate([k.features for k in lessons]), np.concatenate([k.walls for k in lessons]))
    values = {name: [getattr(k, name) for k in lessons] for name in ("decay_slices", "noise", "rows_per_slice")}
    values["wall_share"] = [float(k.walls.mean()) for k in lessons]
    trained = Trained(**{name: (float(min(v)), float(max(v))) for name, v in values.items()})
    return ShineForest(FlatForest.from_sklearn(classifier), trained)


if __name__ == "__main__":
    train().save(MODEL)
