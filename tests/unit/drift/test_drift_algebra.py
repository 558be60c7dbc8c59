"""`Drift` as a file and as a map: exact round trips, the laws of chaining, use on arrays."""

import json

import numpy as np
import pytest

import fibtomo
from fibtomo.core.drift import Drift
from fibtomo.errors import InputError


def make(seed, n=6):
    rng = np.random.default_rng(seed)
    bad = (int(rng.integers(n)),)
    flags = tuple(f"jump of {k}.0 px" if k % 2 else "" for k in range(n))
    decided = (bool(seed % 2), f"m{seed}", ("note",))
    witness = ("open", "reference", "geometry")[seed % 3]
    return Drift(rng.normal(size=(n, 2)), rng.random(n), rng.random(n), bad, flags, *decided, slow_part=witness)


def same(a, b, **tolerance):
    for name in ("shifts_px", "sigma_px", "confidence"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), **{"rtol": 0, "atol": 0, **tolerance})
    for name in ("bad_slices", "flags", "identifiable", "slow_part", "method", "notes"):
        assert getattr(a, name) == getattr(b, name), name


@pytest.mark.parametrize("suffix", [".csv", ".json", ".CSV"])
def test_files_give_the_drift_back_exactly(tmp_path, suffix):
    drift = make(3)
    path = tmp_path / f"mine{suffix}"
    drift.save(path, files=[f"s{k}, ä.tif" for k in range(6)], z_nm=10.0 * np.arange(6))
    same(Drift.load(path), drift)


def test_json_is_fit_to_be_edited(tmp_path):
    path = tmp_path / "mine.json"
    Drift(np.zeros((4, 2))).save(path)
    document = json.loads(path.read_text())
    document["slices"][2] |= {"dy_px": 1.5, "flags": "bad: charged"}
    del document["slices"][1]
    path.write_text(json.dumps(document))
    edited = Drift.load(path)
    assert edited.shifts_px[:, 0].tolist() == [0, 0.75, 1.5, 0]
    assert edited.bad_slices == (2,)
    assert edited.confidence.tolist() == [1, 0, 1, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1: this is not valid JSON"),
        ('{"slices": []}', "holds no slices"),
        ('{"slices": [{"slice": 0}]}', "dy_px and dx_px"),
        ('{"slices": [{"dy": 0, "dx": "left"}]}', "'left'"),
    ],
)
def test_wrong_json_is_named(tmp_path, text, message):
    path = tmp_path / "wrong.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        Drift.load(path)
    assert "wrong.json" in str(caught.value)


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"\.csv or \.json"):
        make(0).save(tmp_path / "mine.xlsx")


def test_remarks_of_several_lines_become_one(tmp_path):
    drift = Drift(np.zeros((2, 2)), flags=("odd\nslice", ""), notes=("first\nsecond",))
    drift.save(tmp_path / "d.csv")
    same(Drift.load(tmp_path / "d.csv"), drift)


@pytest.mark.parametrize("seed", range(3))
def test_laws_of_chaining(seed):
    a, b, c = (make(3 * seed + k) for k in range(3))
    e = Drift.identity(6)
    same(a.then(b).then(c), a.then(b.then(c)), atol=1e-12)
    same(e.then(a), a)
    same(a.then(e), a)
    np.testing.assert_array_equal(a.then(a.inverse()).shifts_px, np.zeros((6, 2)))
    same(a.inverse().inverse(), a)
    np.testing.assert_allclose(a.then(b).inverse().shifts_px, b.inverse().then(a.inverse()).shifts_px, atol=1e-12)


def test_other_lengths_do_not_chain():
    with pytest.raises(InputError, match="6 slices cannot be followed by one of 5"):
        make(0).then(make(1, 5))


def test_a_coarse_alignment_and_our_estimate_on_top(lab):
    """Whole pixels from elsewhere, then what the estimator finds in the stack so corrected: together the truth."""
    truth = lab.random_walk(16, 3.0, 4)
    slices = lab.Waves(4, shape=(160, 160)).stack(truth, dz_px=0.2)
    coarse = Drift(np.round(truth + np.random.default_rng(0).normal(0, 1, truth.shape)))
    coarse = Drift(coarse.shifts_px - coarse.shifts_px[0])
    corrected = np.stack([np.roll(s, -v.astype(int), (0, 1)) for s, v in zip(slices, coarse.shifts_px, strict=True)])
    fine = fibtomo.estimate_drift(corrected[:, 24:-24, 24:-24], slow="keep")
    found = coarse.then(fine)
    assert lab.rms(found.shifts_px - truth) < 0.3
    assert lab.rms(coarse.shifts_px - truth) > 1


def test_one_drift_corrects_every_detector(lab, tmp_path):
    truth = lab.random_walk(8, 1.5, 2)
    first, second = (lab.Waves(seed, shape=(64, 72)).stack(truth, dz_px=0.0, noise=0.0) for seed in (0, 1))
    Drift(truth).save(tmp_path / "d.json")
    drift, geometry = Drift.load(tmp_path / "d.json"), fibtomo.Geometry((1.0, 1.0, 1.0), 90.0, tracked=True)
    for detector in (first, second):
        volume = fibtomo.resample(detector, geometry, drift=drift)
        assert np.abs(np.diff(volume.astype(float), axis=0)).mean() < 1.5
        assert np.abs(np.diff(detector.astype(float), axis=0)).mean() > 8
