"""Names of slice files: order, numbers, gaps."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fibtomo.io.naming import detector_rank, find_gaps, natural_key, split_series


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=30, unique=True))
def test_numbers_compare_as_numbers(numbers):
    names = [f"a{n}b.tif" for n in numbers]
    assert sorted(names, key=natural_key) == [f"a{n}b.tif" for n in sorted(numbers)]


@given(st.integers(-50, 10**6), st.integers(1, 20), st.integers(6, 40), st.data())
def test_gaps_are_what_was_taken_out(first, step, count, data):
    numbers = [first + k * step for k in range(count)]
    inner = numbers[1:-1]
    removed = data.draw(st.lists(st.sampled_from(inner), max_size=count // 5, unique=True))
    found = find_gaps([n for n in numbers if n not in removed])
    assert found == (step, sorted(removed))


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["InLens_keyframe_00001_slice_00006_z=1.6um", "InLens_keyframe_00001_slice_00007_z=1.7um"], [6, 7]),
        (["run2_0001_24-12-16", "run2_0002_24-12-16", "run2_0003_24-12-17"], [1, 2, 3]),
        (["SEM Image - SliceImage - 001", "SEM Image - SliceImage - 002"], [1, 2]),
        (["slice.0001", "slice.0002"], [1, 2]),
        (["7029_24-12-16_151317", "7029_24-12-16_151402", "7029_24-12-16_151455"], None),
        (["alpha", "beta", "gamma"], None),
    ],
)
def test_slice_number(names, numbers):
    series, odd = split_series([Path(f"{name}.tif") for name in names])
    assert list(series) == [""]
    assert series[""].numbers == numbers
    assert odd == []


def test_detector_order():
    assert sorted(["BSE", "InLens", "other", "SE2", "ETD", "ch10", "ch9"], key=detector_rank) == [
        "ETD", "SE2", "InLens", "BSE", "ch9", "ch10", "other",
    ]  # fmt: skip
