"""`Drift`: tables and CSV files round trip, and what does not fit is refused."""

import numpy as np
import pytest

from fibtomo.core.drift import COLUMNS, Drift
from fibtomo.errors import InputError


@pytest.fixture
def drift():
    rng = np.random.default_rng(0)
    return Drift(
        shifts_px=rng.normal(size=(6, 2)),
        sigma_px=rng.random(6),
        confidence=rng.random(6),
        bad_slices=(3, 1),
        flags=("", "bad: blank; bridged", "jump of 3.0 px", "", "", ""),
        identifiable=True,
        method="correlation, offsets 1, 2",
        notes=("A note: with a colon, and commas.",),
    )


def same(a, b):
    for name in ("shifts_px", "sigma_px", "confidence"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    for name in ("bad_slices", "flags", "identifiable", "method", "notes"):
        assert getattr(a, name) == getattr(b, name)


def test_table_round_trip(drift):
    same(Drift.from_table(drift.to_table()), drift)


def test_csv_round_trip_is_exact(drift, tmp_path):
    path = tmp_path / "drift.csv"
    drift.to_csv(path, files=[f"s{k}, a.tif" for k in range(6)], z_nm=10.0 * np.arange(6))
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == ",".join(COLUMNS)
    assert lines[2].startswith('1,"s1, a.tif",10.0,')
    same(Drift.from_csv(path), drift)


def test_flags_of_bad_slices_say_so(drift):
    assert drift.bad_slices == (1, 3)
    assert drift.flags[3] == "bad: given"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_minimal_tables_are_read(tmp_path, separator):
    path = tmp_path / "shifts.csv"
    rows = ["slice dy dx", "0 0 0", "3 3.0 -6", "1 1 -2"]
    path.write_text("\n".join(row.replace(" ", separator) for row in rows))
    drift = Drift.from_csv(path)
    np.testing.assert_allclose(drift.shifts_px, [[0, 0], [1, -2], [2, -4], [3, -6]])
    assert drift.confidence.tolist() == [1, 1, 0, 1]
    assert drift.flags[2].startswith("bridged")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slice,dy,dx\n", "no slices"),
        ("slice,a,b\n0,1,2\n", "dy_px and dx_px"),
        ("slice,dy,dx\n0,zero,0\n", "column 'dy'"),
        ("slice,dy,dx\n0,0,0\n0,1,1\n", "slice 0 stands twice"),
        ("slice,dy,dx\n0.5,0,0\n", "slice 0.5 does not exist"),
        ("slice,dy,dx\n0,nan,0\n", "not finite"),
        ("slice,dy,dx\n0,1\n", "row 1 of column 'dx'"),
    ],
)
def test_wrong_tables_are_named(tmp_path, text, message):
    path = tmp_path / "wrong.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        Drift.from_csv(path)
    assert "wrong.csv" in str(caught.value)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        Drift.from_csv(tmp_path / "none.csv")


@pytest.mark.parametrize(
    "arguments",
    [
        {"shifts_px": np.zeros((3, 3))},
        {"shifts_px": [[0, np.nan]]},
        {"shifts_px": np.zeros((3, 2)), "sigma_px": np.zeros(2)},
        {"shifts_px": np.zeros((3, 2)), "bad_slices": (3,)},
        {"shifts_px": np.zeros((3, 2)), "flags": ("",)},
    ],
)
def test_what_does_not_fit_is_refused(arguments):
    with pytest.raises(InputError):
        Drift(**arguments)


def test_files_of_another_length_are_refused(drift, tmp_path):
    with pytest.raises(InputError, match="2 files"):
        drift.to_csv(tmp_path / "d.csv", files=["a", "b"])
