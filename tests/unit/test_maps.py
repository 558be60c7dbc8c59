"""The laws of the map algebra, as its docstring states them."""

from functools import reduce
from operator import matmul

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fibtomo.core.maps import Affine
from fibtomo.errors import InputError

LAWS = settings(derandomize=True, max_examples=80, deadline=None)
numbers = st.floats(-1e3, 1e3, allow_nan=False, width=32)
triples = st.tuples(numbers, numbers, numbers)
factors = st.one_of(st.floats(0.1, 10), st.floats(-10, -0.1))
simple = st.one_of(
    st.builds(Affine.scaling, st.tuples(factors, factors, factors)),
    st.builds(Affine.translation, triples),
    st.builds(Affine.shear_y_along_z, st.floats(-5, 5)),
    st.builds(Affine.rotation_about_x, st.floats(-360, 360)),
    st.just(Affine.identity()),
)
invertible = st.lists(simple, min_size=1, max_size=4).map(lambda parts: reduce(matmul, parts))
any_map = st.builds(Affine, arrays(np.float64, (3, 3), elements=st.floats(-10, 10)), triples)
points = arrays(np.float64, (7, 3), elements=numbers)
boxes = st.tuples(triples, triples).map(lambda ends: np.sort(np.asarray(ends, dtype=np.float64), axis=0))


def same(f, g, p):
    """Whether two maps agree at points, within the rounding of numbers as large as these."""
    left, right = f(p), g(p)
    size = 1 + np.abs(left).max() + np.abs(f.matrix).max() * np.abs(p).max() + np.abs(f.offset).max()
    return np.abs(left - right).max() <= 1e-9 * size


@LAWS
@given(f=any_map, g=any_map, p=points)
def test_composition_applies_the_right_one_first(f, g, p):
    np.testing.assert_allclose((f @ g)(p), f(g(p)), rtol=1e-9, atol=1e-6)


@LAWS
@given(f=any_map, g=any_map, h=any_map, p=points)
def test_composition_is_associative(f, g, h, p):
    assert same((f @ g) @ h, f @ (g @ h), p)


@LAWS
@given(f=any_map, p=points)
def test_identity_is_neutral_on_both_sides(f, p):
    e = Affine.identity()
    np.testing.assert_array_equal(e(p), p)
    for g in (e @ f, f @ e):
        np.testing.assert_array_equal(g.matrix, f.matrix)
        np.testing.assert_array_equal(g.offset, f.offset)


@LAWS
@given(f=invertible, g=invertible, p=points)
def test_inverse_leads_back_and_reverses_the_order(f, g, p):
    grown = 1 + np.abs(f.inverse().matrix).max() * (np.abs(f(p)).max() + np.abs(f.offset).max())
    assert np.abs(f.inverse()(f(p)) - p).max() <= 1e-12 * grown
    assert np.abs((f @ f.inverse())(f(p)) - f(p)).max() <= 1e-11 * grown * (1 + np.abs(f.matrix).max())
    left, right = (f @ g).inverse(), g.inverse() @ f.inverse()
    np.testing.assert_allclose(left.matrix, right.matrix, rtol=1e-7, atol=1e-9 * np.abs(right.matrix).max())


@LAWS
@given(f=any_map, box=boxes, share=arrays(np.float64, (9, 3), elements=st.floats(0, 1)))
def test_bounds_contain_every_point_and_touch_corners_on_all_sides(f, box, share):
    low, high = f.bounds(box)
    rounding = 1e-9 * (1 + np.abs(f.offset).max() + np.abs(f.matrix).max() * np.abs(box).max())
    inner = f(box[0] + share * (box[1] - box[0]))
    assert np.all(inner >= low - rounding)
    assert np.all(inner <= high + rounding)
    corners = f(np.array([[box[i, 0], box[j, 1], box[k, 2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)]))
    np.testing.assert_allclose(corners.min(axis=0), low, atol=rounding)
    np.testing.assert_allclose(corners.max(axis=0), high, atol=rounding)


@LAWS
@given(f=any_map, g=any_map)
def test_volume_factors_multiply(f, g):
    scale = (np.abs(f.matrix).max() * np.abs(g.matrix).max() * 10) ** 3
    assert (f @ g).volume_factor == pytest.approx(f.volume_factor * g.volume_factor, abs=1e-10 * (1 + scale))


@LAWS
@given(angle=st.floats(-360, 360), p=points)
def test_rotation_keeps_lengths_handedness_and_x(angle, p):
    turn = Affine.rotation_about_x(angle)
    np.testing.assert_allclose(np.linalg.norm(turn(p), axis=1), np.linalg.norm(p, axis=1), rtol=1e-9)
    np.testing.assert_array_equal(turn(p)[:, 2], p[:, 2])
    assert turn.volume_factor == pytest.approx(1)
    assert same(turn.inverse(), Affine.rotation_about_x(-angle), p)


def test_signs_of_the_named_maps():
    np.testing.assert_allclose(Affine.rotation_about_x(90)([1.0, 0.0, 0.0]), [0, 1, 0], atol=1e-15)
    np.testing.assert_array_equal(Affine.shear_y_along_z(2.0)([3.0, 1.0, 5.0]), [3, 7, 5])
    np.testing.assert_array_equal(Affine.scaling((2.0, 3.0, 4.0))([1.0, 1.0, 1.0]), [2, 3, 4])
    np.testing.assert_array_equal(Affine.translation((2.0, 3.0, 4.0))([1.0, 1.0, 1.0]), [3, 4, 5])
    assert Affine.scaling((1.0, -1.0, 1.0)).volume_factor == -1


def test_maps_cannot_be_changed_not_even_through_the_array_they_came_from():
    matrix = np.eye(3)
    f = Affine(matrix, np.zeros(3))
    matrix[0, 0] = 5
    np.testing.assert_array_equal(f.matrix, np.eye(3))
    with pytest.raises(ValueError, match="read-only"):
        f.matrix[0, 0] = 5
    with pytest.raises(AttributeError):
        f.offset = np.ones(3)


def test_points_of_any_leading_shape():
    f = Affine.translation((1.0, 2.0, 3.0))
    assert f(np.zeros((4, 5, 3))).shape == (4, 5, 3)
    assert f([0, 0, 0]).tolist() == [1, 2, 3]
    assert f(np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Affine(np.eye(2), np.zeros(3)), r"\(3, 3\) matrix"),
        (lambda: Affine(np.full((3, 3), np.nan), np.zeros(3)), "not finite"),
        (lambda: Affine.scaling((1.0, 0.0, 1.0)).inverse(), "scale of zero"),
        (lambda: Affine.identity()([1.0, 2.0]), r"shape \(2,\)"),
        (lambda: Affine.identity()(1.0), r"shape \(\)"),
        (lambda: Affine.identity().bounds([[1, 1, 1], [0, 2, 2]]), "lowest corner first"),
        (lambda: Affine.identity().bounds([0, 1]), "lowest corner first"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
