"""From scribbles to a forest: which voxels it learns from, their features, and how well it does."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import as_array, to_host
from fibtomo.backend.device import default_workers
from fibtomo.errors import InputError
from fibtomo.ops.features import around
from fibtomo.ops.forest_inference import FlatForest
from fibtomo.ops.forest_lessons import Lesson
from fibtomo.ops.forest_recipe import SLAB_BYTES, Recipe

Array = Any
Float = NDArray[np.float64]
Progress = Callable[[int, int], None]
MOST_CLASSES = 20
"""More different labels than this are no scribbles."""
FOLDS, FOLD_TREES = 4, 25
"""Parts in which scribbles are left out in turn, and the trees that are grown without them."""
CELL_PX = 24
"""Edge of the cubes that are left out together: scribbled voxels next to each other know the same."""
SPREAD = (0.001, 0.999)
"""Shares of the scribbled voxels below and above which a feature is rare."""


@dataclass(frozen=True)
class Scribbles:
    """Chosen voxels of all lessons: rows are lesson, z, y, x; labels as they were drawn; how many were drawn."""

    places: NDArray[np.int64]
    labels: NDArray[np.int64]
    drawn: dict[int, int]


@dataclass(frozen=True)
class Learned:
    """A grown forest and what is known of it; matrices count voxels by true and by found class.

    Attributes
    ----------
    forest
        The trees.
    importance
        (features,) mean decrease in impurity, sum 1.
    out_of_bag
        (classes, classes) votes of the trees that did not see a voxel, though mostly its neighbours.
    apart
        (classes, classes) votes of trees that saw nothing within some 24 voxels; zeros where scribbles are too few.
    low, high
        (features,) range of the features of scribbled voxels.
    """

    forest: FlatForest
    importance: Float
    out_of_bag: NDArray[np.int64]
    apart: NDArray[np.int64]
    low: NDArray[np.float32]
    high: NDArray[np.float32]


def choose(lessons: Sequence[Lesson], per_class: int, seed: int) -> Scribbles:
    """At most `per_class` voxels of each label, the same whatever the slabs in which labels are read.

    Raises
    ------
    InputError
        Labels do not fit their volume, or are no scribbles of two classes or more.
    """
    kept: dict[int, NDArray[np.int64]] = {}
    drawn: dict[int, int] = {}
    for number, lesson in enumerate(lessons):
        shape = tuple(int(n) for n in lesson.labels.shape)
        if shape != lesson.volume.shape:
            raise InputError(f"labels of shape {shape} must have the shape of their volume, {lesson.volume.shape}")
        deep = max(1, int(SLAB_BYTES / 8 / max(1, shape[1] * shape[2])))
        for z in range(0, shape[0], deep):
            plane = _labels(lesson, slice(z, min(z + deep, shape[0])))
            where = np.flatnonzero(plane)
            values = plane.reshape(-1)[where]
            index = where + z * shape[1] * shape[2]
            found = np.unique(values).tolist()
            if len({*drawn, *found}) > MOST_CLASSES:
                raise InputError(f"the labels hold more than {MOST_CLASSES} different numbers, which are no scribbles")
            for label in found:
                mine = index[values == label]
                drawn[label] = drawn.get(label, 0) + len(mine)
                rows = np.stack([_shuffled(mine, seed + number), np.full_like(mine, number), mine], axis=1)
                kept[label] = _smallest(np.concatenate([kept[label], rows]) if label in kept else rows, per_class)
    if len(drawn) < 2:
        raise InputError(
            f"a forest needs scribbles of two classes or more (numbers 1, 2, ...; 0 is not labelled), and the labels "
            f"hold {f'only {min(drawn)}' if drawn else 'none'}"
        )
    labels = sorted(kept)
    chosen = np.concatenate([kept[label] for label in labels])
    places = np.empty((len(chosen), 4), np.int64)
    places[:, 0] = chosen[:, 1]
    for number, lesson in enumerate(lessons):
        mine = chosen[:, 1] == number
        places[mine, 1:] = np.stack(np.unravel_index(chosen[mine, 2], lesson.volume.shape), axis=1)
    return Scribbles(places, np.repeat(labels, [len(kept[label]) for label in labels]), dict(sorted(drawn.items())))


def _labels(lesson: Lesson, slices: slice) -> NDArray[Any]:
    plane = to_host(as_array(lesson.labels[slices]))
    if plane.dtype.kind == "f" and np.array_equal(plane, np.rint(plane)):
        plane = plane.astype(np.int64)
    if plane.dtype.kind not in "uib" or (plane.size and plane.min() < 0):
        raise InputError(f"labels must be whole numbers from 0 on, not {plane.dtype} with negative or broken ones")
    if lesson.mask is not None:
        plane = np.where(to_host(as_array(lesson.mask[slices])), plane, 0)
    return plane


def _shuffled(index: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """A number for each index that looks like chance (SplitMix64)."""
    x = index.astype(np.uint64) + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    return ((x ^ (x >> np.uint64(31))) >> np.uint64(1)).astype(np.int64)


def _smallest(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    return rows if len(rows) <= count else rows[np.argpartition(rows[:, 0], count - 1)[:count]]


def look(
    lessons: Sequence[Lesson], scribbles: Scribbles, recipe: Recipe, progress: Progress | None
) -> NDArray[np.float32]:
    """Features (voxels, features) of the chosen voxels, made only around them."""
    out = np.empty((len(scribbles.places), len(recipe.names)), np.float32)
    tile = recipe.tile()
    cells = np.column_stack([scribbles.places[:, 0], scribbles.places[:, 1:] // tile])
    found, which = np.unique(cells, axis=0, return_inverse=True)
    order = np.argsort(which.ravel(), kind="stable")
    for number, rows in enumerate(np.split(order, np.cumsum(np.bincount(which.ravel()))[:-1])):
        lesson, places = lessons[found[number, 0]], scribbles.places[rows, 1:]
        first = places.min(axis=0)
        z, y, x = (slice(int(a), int(b) + 1) for a, b in zip(first, places.max(axis=0), strict=True))
        mask = _seen(lesson, recipe, (z, y, x))
        bank = recipe.features(lesson.volume, (z, y, x), lesson.voxel_nm, lesson.greys, mask)
        out[rows] = to_host(bank[:, *(places - first).T]).T
        if progress is not None:
            progress(number + 1, len(found))
    return out


def _seen(lesson: Lesson, recipe: Recipe, core: tuple[slice, slice, slice]) -> Any:
    if lesson.mask is None:
        return None
    block, _ = around(core, recipe.reach(lesson.voxel_nm, masked=True), lesson.volume.shape)
    return as_array(lesson.mask[block])


def grow(
    features: NDArray[np.float32], classes: NDArray[np.int64], scribbles: Scribbles, seed: int, **options: Any
) -> Learned:
    """Grow the trees, and find out how well they do on voxels that they did not learn from."""
    n = int(classes.max()) + 1
    trees, votes = _fitted(features, classes, seed, oob_score=True, **options)
    decided = np.isfinite(votes).all(axis=1) & (votes.sum(axis=1) > 0)
    found = votes[decided].argmax(axis=1)
    rare = np.quantile(features, SPREAD, axis=0)
    return Learned(
        FlatForest.from_sklearn(trees),
        trees.feature_importances_,
        _confusion(classes[decided], found, n),
        _left_out(features, classes, scribbles, seed, n, options),
        rare[0].astype(np.float32),
        rare[1].astype(np.float32),
    )


def _fitted(
    features: Array, classes: Array, seed: int, *, trees: int, depth: int, leaf: int, balance: bool, oob_score: bool
) -> tuple[Any, Any]:
    from sklearn.ensemble import RandomForestClassifier

    classifier = RandomForestClassifier(
        trees,
        max_depth=depth,
        min_samples_leaf=leaf,
        class_weight="balanced" if balance else None,
        oob_score=oob_score,
        n_jobs=default_workers(),
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*OOB|.*out-of-bag|invalid value", category=Warning)
        classifier.fit(features, classes)
    return classifier, classifier.oob_decision_function_ if oob_score else None


def _confusion(true: Array, found: Array, n: int) -> NDArray[np.int64]:
    return np.bincount(true * n + found, minlength=n * n).reshape(n, n)


def _left_out(
    features: Array, classes: Array, scribbles: Scribbles, seed: int, n: int, options: dict[str, Any]
) -> NDArray[np.int64]:
    """Confusion when the scribbles of whole cubes of the specimen are left out in turn."""
    folds = _folds(scribbles.places, classes)
    total = np.zeros((n, n), np.int64)
    for fold in range(FOLDS):
        out = folds == fold
        if not out.any() or len(np.unique(classes[~out])) < n:
            continue
        few = {**options, "trees": min(FOLD_TREES, options["trees"]), "oob_score": False}
        trees, _ = _fitted(features[~out], classes[~out], seed, **few)
        total += _confusion(classes[out], trees.predict_proba(features[out]).argmax(axis=1), n)
    return total


def _folds(places: NDArray[np.int64], classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """A fold for each voxel; cubes are dealt out class by class, the rarest first."""
    _, cubes = np.unique(np.column_stack([places[:, 0], places[:, 1:] // CELL_PX]), axis=0, return_inverse=True)
    cubes = cubes.ravel()
    fold = np.full(int(cubes.max()) + 1, -1)
    dealt = 0
    for label in np.argsort(np.bincount(classes), kind="stable"):
        free = np.unique(cubes[classes == label])
        free = free[fold[free] < 0]
        free = free[np.argsort(_shuffled(free.astype(np.int64), 0))]
        fold[free] = (dealt + np.arange(len(free))) % FOLDS
        dealt += len(free)
    return fold[cubes]


def accuracy(confusion: NDArray[np.int64]) -> Float:
    """Share of the voxels of each class that were found to be of it; NaN without any.

    Examples
    --------
    >>> accuracy(np.array([[3, 1], [0, 0]])).tolist()
    [0.75, nan]
    """
    count = confusion.sum(axis=1)
    return np.where(count > 0, np.diag(confusion) / np.maximum(count, 1), math.nan)
