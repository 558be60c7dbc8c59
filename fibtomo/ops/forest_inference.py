"""Random forests as flat arrays, and class probabilities of voxels from them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import as_array, namespace
from fibtomo.backend.kernels import twin
from fibtomo.errors import InputError

Array = Any
FEATURE_BITS = 10
MAX_FEATURES, MAX_NODES = 2**FEATURE_BITS, 2 ** (32 - FEATURE_BITS)
"""What fits into one word of a packed node."""
LAYOUT = {
    "start": (np.int64, 1),
    "feature": (np.int32, 1),
    "threshold": (np.float32, 1),
    "child": (np.int32, 1),
    "probability": (np.float32, 2),
}


@dataclass(frozen=True, eq=False)
class FlatForest:
    """Decision trees as arrays, each tree breadth first, so that brothers are neighbours and children come later.

    Attributes
    ----------
    features
        Number of features of a voxel.
    start
        (trees + 1,) int64; nodes of tree k are [start[k], start[k + 1]).
    feature
        (nodes,) int32, feature that a node looks at; -1 in leaves.
    threshold
        (nodes,) float32; a voxel goes left where its feature is not above.
    child
        (nodes,) int32, left child counted from the tree's first node, the right one follows it; in leaves the row of
        `probability`.
    probability
        (leaves, classes) float32.

    Raises
    ------
    InputError
        The arrays do not make trees, e.g. from a damaged file.
    """

    features: int
    start: NDArray[np.int64]
    feature: NDArray[np.int32]
    threshold: NDArray[np.float32]
    child: NDArray[np.int32]
    probability: NDArray[np.float32]

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise InputError(f"this is no forest: {problem}; train it again or take another copy of its file")

    @classmethod
    def from_sklearn(cls, classifier: Any) -> "FlatForest":
        """Flatten a fitted ``RandomForestClassifier``; columns of `probability` follow its ``classes_``.

        scikit-learn compares float32 features with float64 thresholds; thresholds rounded down to float32 decide alike.

        Raises
        ------
        InputError
            The classifier is not fitted, predicts several outputs, or is too large.
        """
        if not hasattr(classifier, "estimators_") or getattr(classifier, "n_outputs_", 0) != 1:
            raise InputError("a forest needs a fitted RandomForestClassifier of one output")
        trees = [_breadth_first(estimator.tree_) for estimator in classifier.estimators_]
        sizes = np.array([0] + [len(t[0]) for t in trees])
        leaves = np.cumsum([0] + [len(t[3]) for t in trees])
        child = [np.where(t[0] < 0, t[2] + first, t[2]) for t, first in zip(trees, leaves[:-1], strict=True)]
        return cls(
            int(classifier.n_features_in_),
            np.cumsum(sizes),
            np.concatenate([t[0] for t in trees]).astype(np.int32),
            np.concatenate([t[1] for t in trees]),
            np.concatenate(child).astype(np.int32),
            np.concatenate([t[3] for t in trees]).astype(np.float32),
        )

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> "FlatForest":
        """Take the result of `to_arrays`, e.g. an opened ``.npz`` file, and check it.

        Raises
        ------
        InputError
            An array is missing or damaged.
        """
        missing = [f.name for f in fields(cls) if f.name not in arrays]
        if missing:
            raise InputError(f"this is no forest: it lacks {', '.join(missing)}")
        found = {f.name: np.asarray(arrays[f.name]) for f in fields(cls)}
        if found["features"].shape != () or found["features"].dtype.kind not in "iu":
            raise InputError("this is no forest: features must be one whole number")
        return cls(**{**found, "features": int(found["features"])})

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return arrays for ``numpy.savez``; nothing needs pickle."""
        return {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}

    @property
    def trees(self) -> int:
        """Number of trees."""
        return len(self.start) - 1

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.probability.shape[1])

    def _problem(self) -> str | None:
        for name, (dtype, axes) in LAYOUT.items():
            array = getattr(self, name)
            if array.dtype != dtype or array.ndim != axes or not array.size:
                return f"{name} is {array.dtype} of shape {array.shape}"
        start, nodes, leaves = self.start, len(self.feature), len(self.probability)
        if not len(self.threshold) == len(self.child) == nodes or nodes >= 2**31:
            return "its arrays differ in length"
        if len(start) < 2 or start[0] != 0 or start[-1] != nodes or np.any(np.diff(start) < 1):
            return "its trees do not divide its nodes"
        if not 0 < self.features <= MAX_FEATURES or np.diff(start).max() > MAX_NODES:
            return f"it has more than {MAX_FEATURES} features or more than {MAX_NODES} nodes in a tree"
        leaf = self.feature < 0
        inner = np.flatnonzero(~leaf)
        if np.any((self.feature < -1) | (self.feature >= self.features)) or np.isnan(self.threshold).any():
            return "its nodes look at features that there are not"
        rows = self.child[leaf]
        if np.any((rows < 0) | (rows >= leaves)):
            return "its leaves have no probabilities"
        tree = np.searchsorted(start, inner, side="right") - 1
        child = start[tree] + self.child[inner]
        if np.any((child <= inner) | (child + 1 >= start[tree + 1])):
            return "its nodes do not come before their children"
        parents = np.bincount(np.concatenate([child, child + 1, start[:-1]]), minlength=nodes)
        if np.any(parents != 1):
            return "its nodes do not have one parent each"
        p = self.probability
        if not np.all((p >= 0) & (p <= 1)) or np.any(np.abs(p.sum(axis=1) - 1) > 1e-3):
            return "its probabilities do not add up to 1"
        return None

    @cached_property
    def packed(self) -> "PackedForest":
        """The forest as the loops want it."""
        leaf, start = self.feature < 0, self.start
        own = np.arange(len(leaf)) - np.repeat(start[:-1], np.diff(start))
        link = np.where(leaf, own, self.child) << FEATURE_BITS | np.where(leaf, 0, self.feature)
        threshold = np.where(leaf, np.float32(np.inf), self.threshold)
        nodes = np.stack([threshold.view(np.int32), link.astype(np.uint32).view(np.int32)], axis=1)
        rows = np.where(leaf, self.child, 0).astype(np.int32)
        whole = (2**32 - 1) // self.trees
        votes = np.rint(self.probability.astype(np.float64) * whole).astype(np.uint32)
        return PackedForest(nodes, rows, start[:-1].astype(np.int32), self._depth(), votes, 1.0 / (whole * self.trees))

    def _depth(self) -> NDArray[np.int32]:
        """Steps to the deepest leaf of each tree."""
        depth = np.zeros(self.trees, np.int32)
        level, tree = self.start[:-1], np.arange(self.trees)
        while True:
            inner = self.feature[level] >= 0
            if not inner.any():
                return depth
            tree = np.repeat(tree[inner], 2)
            first = self.start[tree[::2]] + self.child[level[inner]]
            level = np.stack([first, first + 1], axis=1).ravel()
            depth[tree] += 1


@dataclass(frozen=True, eq=False)
class PackedForest:
    """A forest as the loops want it.

    Attributes
    ----------
    nodes
        (nodes, 2) int32: bits of a float32 threshold; number of the left child within the tree above the lowest 10
        bits, which hold the feature. The right child follows the left one; a leaf is its own left child, its threshold
        infinite.
    rows
        (nodes,) int32, row of `votes` of a leaf.
    start, depth
        (trees,) int32, first node and steps to the deepest leaf.
    votes
        (leaves, classes) uint32: whole numbers, so that their sum over all trees does not depend on its order.
    share
        One over the sum of all votes.
    """

    nodes: NDArray[np.int32]
    rows: NDArray[np.int32]
    start: NDArray[np.int32]
    depth: NDArray[np.int32]
    votes: NDArray[np.uint32]
    share: float


def forest_probabilities(features: Array, forest: FlatForest) -> Array:
    """Class probabilities: the mean over all trees of the probabilities of the leaf that a voxel falls into.

    Equal to scikit-learn's ``predict_proba`` within 1e-6; NaN goes left.

    Parameters
    ----------
    features
        (features, ...) float, NumPy or CuPy, such as (features, z, y, x) of `feature_bank`; compared as float32.
    forest
        Trained on as many features.

    Returns
    -------
    Array
        (classes, ...) float32.

    Raises
    ------
    InputError
        The numbers of features differ.

    References
    ----------
    L. Breiman, Mach. Learn. 45 (2001) 5, doi:10.1023/A:1010933404324.

    Examples
    --------
    >>> stump = FlatForest(
    ...     features=1,
    ...     start=np.array([0, 3]),
    ...     feature=np.array([0, -1, -1], np.int32),
    ...     threshold=np.array([0.5, 0, 0], np.float32),
    ...     child=np.array([1, 0, 1], np.int32),
    ...     probability=np.array([[1, 0], [0.25, 0.75]], np.float32),
    ... )
    >>> forest_probabilities(np.array([[0.5, 0.6]]), stump).tolist()
    [[1.0, 0.25], [0.0, 0.75]]
    """
    features = as_array(features)
    if features.ndim < 1 or len(features) != forest.features:
        raise InputError(f"the forest knows {forest.features} features, not an array of shape {features.shape}")
    xp, shape = namespace(features), features.shape[1:]
    columns = xp.ascontiguousarray(features, dtype=xp.float32).reshape(forest.features, -1)
    loops = twin(__package__, "forest", like=features)
    return loops.mean_votes(columns, forest.packed).reshape(forest.classes, *shape)


def uncertainty(probabilities: Array) -> Array:
    """Entropy of class probabilities over that of equal ones: 0 where sure, 1 where all classes are alike.

    Parameters
    ----------
    probabilities
        (classes, ...) as from `forest_probabilities`, NumPy or CuPy.

    Returns
    -------
    Array
        (...) of the same type.

    Examples
    --------
    >>> uncertainty(np.array([[1.0, 0.5, 0.25], [0.0, 0.5, 0.75]])).round(4).tolist()
    [0.0, 1.0, 0.8113]
    """
    xp = namespace(probabilities)
    terms = probabilities * xp.log(xp.maximum(probabilities, 1e-30))
    return xp.maximum(-terms.sum(axis=0) / math.log(max(len(probabilities), 2)), 0.0)


def _breadth_first(tree: Any) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[Any], NDArray[Any]]:
    """Feature, threshold, child and leaf probabilities of a scikit-learn tree."""
    left, right = tree.children_left, tree.children_right
    levels = [np.zeros(1, dtype=left.dtype)]
    while True:
        inner = levels[-1][left[levels[-1]] >= 0]
        if not len(inner):
            break
        levels.append(np.stack([left[inner], right[inner]], axis=1).ravel())
    order = np.concatenate(levels)
    position = np.empty_like(order)
    position[order] = np.arange(len(order))
    leaf = left[order] < 0
    exact = np.where(leaf, 0, tree.threshold[order])
    threshold = exact.astype(np.float32)
    threshold = np.where(threshold > exact, np.nextafter(threshold, np.float32(-np.inf)), threshold)
    child = np.where(leaf, np.cumsum(leaf) - 1, position[left[order]])
    value = tree.value[order[leaf], 0]
    return np.where(leaf, -1, tree.feature[order]), threshold, child, value / value.sum(axis=1, keepdims=True)
