"""Flat forests against scikit-learn."""

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

from fibtomo.errors import InputError
from fibtomo.ops.forest_inference import FlatForest, forest_probabilities, uncertainty


def samples(n=1200, features=6, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, features)).astype(np.float32)
    y = np.digitize(X[:, 0] * X[:, 1] + X[:, 2] + 0.5 * rng.normal(size=n), np.linspace(-1, 1, classes - 1))
    return X, y


def trained(classes=3, **options):
    X, y = samples(classes=classes)
    return RandomForestClassifier(**{"n_estimators": 20, "random_state": 0} | options).fit(X, y)


@pytest.mark.parametrize(
    ("classes", "options"),
    [(2, {"max_depth": 12}), (3, {}), (5, {"class_weight": "balanced", "n_estimators": 3}), (3, {"max_depth": 1})],
)
def test_probabilities_are_those_of_scikit_learn(classes, options):
    classifier = trained(classes, **options)
    X, _ = samples(700, seed=1)
    X = np.concatenate([X, np.float32(1e6) * X[:9]])
    found = forest_probabilities(X.T.reshape(6, 1, 709), FlatForest.from_sklearn(classifier))
    assert found.dtype == np.float32
    assert found.shape == (classes, 1, 709)
    np.testing.assert_allclose(found[:, 0].T, classifier.predict_proba(X), atol=1e-6)


def test_values_next_to_thresholds_go_where_scikit_learn_sends_them():
    classifier = ExtraTreesClassifier(10, random_state=0).fit(*samples(300))
    edges = np.concatenate([e.tree_.threshold[e.tree_.feature >= 0] for e in classifier.estimators_])
    rounded = edges.astype(np.float32)
    assert np.mean(rounded > edges) > 0.2  # thresholds that a plain cast would move
    values = np.concatenate([rounded, np.nextafter(rounded, np.float32(np.inf)), np.nextafter(rounded, np.float32(-9))])
    X = np.random.default_rng(0).permuted(np.tile(values, (6, 1)), axis=1).T
    found = forest_probabilities(X.T, FlatForest.from_sklearn(classifier))
    np.testing.assert_allclose(found.T, classifier.predict_proba(X), atol=1e-6)


def test_a_forest_survives_a_file_without_pickle(tmp_path):
    forest = FlatForest.from_sklearn(trained())
    np.savez(tmp_path / "forest.npz", **forest.to_arrays())
    with np.load(tmp_path / "forest.npz", allow_pickle=False) as file:
        again = FlatForest.from_arrays(file)
    X, _ = samples(50, seed=2)
    np.testing.assert_array_equal(forest_probabilities(X.T, again), forest_probabilities(X.T, forest))


def change(name, index, value):
    def damage(arrays):
        arrays[name][index] = value

    return damage


@pytest.mark.parametrize("damage", [
    change("feature", 0, 6), change("feature", 0, -2), change("threshold", 0, np.nan), change("child", 0, 0),
    change("child", 0, 10**6), change("child", 0, -5), change("child", 0, 3), change("child", -1, 10**6),
    change("start", 1, 0), change("start", 0, 1), change("start", -1, 7), change("probability", 0, 7),
    change("probability", 0, np.nan), lambda a: a.update(features=np.array(3)), lambda a: a.pop("child"),
    lambda a: a.update(features=np.array([6, 6])), lambda a: a.update(child=a["child"][:-1]),
    lambda a: a.update(child=a["child"].astype(np.int64)), lambda a: a.update(probability=a["probability"][:, 0]),
    lambda a: a.update(start=a["start"][:1]), lambda a: a.update(threshold=np.array(["x"])),
])  # fmt: skip
def test_damaged_files_are_refused(damage):
    arrays = {
        name: array.copy() for name, array in FlatForest.from_sklearn(trained(n_estimators=4)).to_arrays().items()
    }
    damage(arrays)
    with pytest.raises(InputError, match="no forest"):
        FlatForest.from_arrays(arrays)


def test_children_of_two_parents_are_refused():
    leaf = {"threshold": np.zeros(5, np.float32), "probability": np.ones((1, 1), np.float32), "features": 1}
    feature = np.array([0, 0, -1, -1, -1], np.int32)
    FlatForest(start=np.array([0, 5]), feature=feature, child=np.array([1, 3, 0, 0, 0], np.int32), **leaf)
    with pytest.raises(InputError, match="one parent"):
        FlatForest(start=np.array([0, 5]), feature=feature, child=np.array([1, 2, 0, 0, 0], np.int32), **leaf)


def test_a_voxel_that_is_no_number_goes_left_and_harms_nothing():
    forest = FlatForest.from_sklearn(trained())
    low, none = np.full((6, 3), -np.inf), np.full((6, 3), np.nan)
    np.testing.assert_array_equal(forest_probabilities(none, forest), forest_probabilities(low, forest))


def test_other_input_is_refused():
    with pytest.raises(InputError, match="knows 6 features"):
        forest_probabilities(np.zeros((5, 2)), FlatForest.from_sklearn(trained(n_estimators=2)))
    with pytest.raises(InputError, match="fitted"):
        FlatForest.from_sklearn(RandomForestClassifier())


def test_uncertainty_is_the_entropy():
    p = np.random.default_rng(0).dirichlet(np.ones(4), 50).T.astype(np.float32)
    np.testing.assert_allclose(uncertainty(p), -(p * np.log(p)).sum(axis=0) / np.log(4), rtol=1e-5)
