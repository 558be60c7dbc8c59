"""Exercises of ``kernels/forest.cu``."""

import functools

import numpy as np

from fibtomo.ops.forest_inference import FlatForest, forest_probabilities

TOLERANCE = {"rtol": 0, "atol": 0}  # votes are whole numbers


def cases():
    yield "two classes", functools.partial(run, 7, 2, 11, (5, 9, 31), 0.9)
    yield "five classes", functools.partial(run, 4, 5, 8, (1000,), 0.7)
    yield "many features", functools.partial(run, 150, 3, 5, (2, 70), 0.8)
    yield "stumps of one class", functools.partial(run, 1, 1, 3, (33,), 0.0)
    yield "no voxel", functools.partial(run, 3, 2, 2, (0, 4), 0.5)


def run(features, classes, trees, shape, branching, put):
    rng = np.random.default_rng(features)
    forest = random_forest(rng, features, classes, trees, branching)
    volume = rng.integers(-2, 3, (features, *shape)) / 2  # often exactly at a threshold
    volume[:, ..., :3] = np.nan
    return {"probabilities": forest_probabilities(put(volume.astype(np.float32)), forest)}


def random_forest(rng, features, classes, trees, branching, levels=9):
    feature, threshold, child, sizes, leaves = [], [], [], [0], 0
    for _ in range(trees):
        level, first = 1, sum(sizes)
        for depth in range(levels):
            inner = rng.random(level) < branching * (depth < levels - 1)
            below = len(feature) - first + level + 2 * (np.cumsum(inner) - inner)
            feature += np.where(inner, rng.integers(0, features, level), -1).tolist()
            threshold += np.where(inner, rng.integers(-2, 3, level) / 2, 0).tolist()
            child += np.where(inner, below, leaves + np.cumsum(~inner) - 1).tolist()
            leaves += int((~inner).sum())
            level = 2 * int(inner.sum())
        sizes.append(len(feature) - first)
    return FlatForest(
        features,
        np.cumsum(sizes),
        np.array(feature, np.int32),
        np.array(threshold, np.float32),
        np.array(child, np.int32),
        rng.dirichlet(np.ones(classes), leaves).astype(np.float32),
    )
