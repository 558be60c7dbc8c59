"""Spoilt slices by kind, sound slices that only look odd, and what happens between slices."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, uniform_filter1d
from scipy.ndimage import shift as shifted

from fibtomo.ops.drift import estimate_drift
from fibtomo.ops.slice_quality import STATISTICS, find_bad_slices, slice_statistics, tile_means
from fibtomo.ops.slice_steps import find_focus_steps, find_missing, find_scale_steps

N = 30


@pytest.fixture(scope="module")
def faces(lab):
    """Noise-free slices and their motion."""
    truth = lab.random_walk(N + 4, 0.4, 7)
    return lab.Waves(7).stack(truth, noise=0.0).astype(float), truth


def detected(signal, noise=12.0, seed=0):
    noisy = signal + noise * np.random.default_rng(seed).normal(size=np.shape(signal))
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def judged(slices):
    """`find_bad_slices` alone, without drift."""
    rows = [slice_statistics(image, slices[k - 1] if k else None) for k, image in enumerate(slices)]
    columns = {name: np.array([row[name] for row in rows]) for name in STATISTICS}
    return find_bad_slices(columns | {"tiles": np.array([tile_means(image) for image in slices])})


def band(image):
    out = image.copy()
    out[80:130] += 150
    return out


def saturated(image):
    y, x = np.mgrid[:256, :256] - 120
    return image + 400 * np.exp(-((y / 60) ** 2 + (x / 90) ** 2))


KINDS = {
    "blurred by 2 px": (lambda image: gaussian_filter(image, 2.0), "blurred"),
    "astigmatic": (lambda image: gaussian_filter(image, (3.0, 0.0)), "blurred"),
    "moved while scanned": (lambda image: uniform_filter1d(image, 11, axis=1), "blurred"),
    "dark": (lambda image: 0.02 * image, "blank"),
    "of low contrast": (lambda image: 128 + 0.3 * (image - 128), "odd contrast"),
    "bright": (lambda image: image + 90, "odd brightness"),
    "with a bright band": (band, "streaks"),
    "locally saturated": (saturated, "odd"),
    "streaky": (lambda image: image + 40 * np.random.default_rng(3).normal(size=(256, 1)), "streaks"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("run", [1, 3])
def test_spoilt_slices_are_found_and_no_others(faces, kind, run):
    signal = faces[0][:N].copy()
    for k in range(12, 12 + run):
        signal[k] = KINDS[kind][0](signal[k])
    if kind == "streaky" and run == 3:
        signal[13] = faces[0][13] + 40 * np.random.default_rng(5).normal(size=(256, 1))
    found = judged(detected(signal))
    assert list(found) == list(range(12, 12 + run))
    assert found[12].startswith(KINDS[kind][1])


@pytest.mark.parametrize("k", [0, N - 1])
def test_the_first_and_the_last_slice_are_judged_too(faces, k):
    signal = faces[0][:N].copy()
    signal[k] = gaussian_filter(signal[k], 2.5)
    assert list(judged(detected(signal))) == [k]
    slices = detected(faces[0][:N])
    slices[k, 160:] = 0
    assert judged(slices) == {k: "truncated (38 % of the rows are blank)"}


def test_rows_left_from_the_slice_before_are_found(faces):
    slices = detected(faces[0][:N])
    slices[9, 150:] = slices[8, 150:]
    told = {9: "truncated (41 % of the rows repeat the slice before)"}
    assert judged(slices) == told
    gain = 1 + 0.02 * np.random.default_rng(1).normal(size=(N, 1, 1))
    assert judged(np.clip(np.rint(gain * slices), 0, 255).astype(np.uint8)) == told


def test_layers_slow_changes_and_flicker_are_sound(faces, lab):
    other = lab.Waves(8, wavelength_px=40.0).stack(faces[1], noise=0.0).astype(float)
    layers = np.where((np.arange(N) // 5 % 2 == 1)[:, None, None], 0.4 * other[:N] + 120, faces[0][:N])
    assert judged(detected(layers)) == {}
    deeper = np.stack([gaussian_filter(image, 2.5 * k / N) for k, image in enumerate(faces[0][:N])])
    assert judged(detected(deeper)) == {}
    refocused = np.stack([gaussian_filter(image, 0.1 + 0.25 * (k % 10)) for k, image in enumerate(faces[0][:N])])
    assert judged(detected(refocused)) == {}
    gain = 1 + 0.1 * np.random.default_rng(2).normal(size=(N, 1, 1))
    assert judged(detected(gain * faces[0][:N])) == {}
    pore = faces[0][:N].copy()
    pore[10:22, 20:230] = 30
    assert judged(detected(pore)) == {}


def test_a_face_imaged_twice_is_named_and_still_measured(faces, lab):
    signal, _ = faces
    again = shifted(signal[13], (0.6, -0.4), order=3, mode="nearest")
    slices = detected(np.concatenate([signal[:14], again[None], signal[14:N]]))
    drift = estimate_drift(slices)
    assert drift.bad_slices == (14,)
    assert "repeats the face" in drift.flags[14]
    assert any("imaged once more as slice 14" in note for note in drift.notes)
    assert drift.shifts_px[14] - drift.shifts_px[13] == pytest.approx([0.6, -0.4], abs=0.1)


def test_missing_slices_are_suspected_where_they_are_and_nowhere_else(faces):
    signal, _ = faces
    kept = np.setdiff1d(np.arange(N + 4), [10, 11, 22, 23])
    drift = estimate_drift(detected(signal[kept]))
    assert [k for k, flag in enumerate(drift.flags) if "missing" in flag] == [10, 20]
    assert any("missing before slices 10, 20" in note for note in drift.notes)
    assert drift.bad_slices == ()
    whole = estimate_drift(detected(signal[:N]))
    assert not any("missing" in text for text in (*whole.flags, *whole.notes))


@pytest.mark.parametrize("seed", range(4))
def test_uneven_slices_are_not_taken_for_missing_ones(seed):
    rng = np.random.default_rng(seed)
    z = np.cumsum(np.maximum(1 + 0.2 * rng.normal(size=200), 0.2))
    change = np.full((3, 200), np.nan)
    for gap in (1, 2):
        change[gap, gap:] = 0.02 * (z[gap:] - z[:-gap]) ** 2 * np.exp(0.1 * rng.normal(size=200 - gap))
    assert find_missing(change) == {}


def test_steady_motion_counts_the_slices():
    change = np.full((3, 40), np.nan)
    change[1, 1:], change[2, 2:] = 0.02, 0.08
    change[1, 20], change[2, 20:22] = 0.04, 0.12  # a little less alike: 1.4 steps
    rows = 2.5 * np.arange(40.0) + 0.1 * np.random.default_rng(0).normal(size=40)
    assert find_missing(change) == {}
    moved = rows + 2.5 * (np.arange(40) >= 20)
    assert list(find_missing(change, dy_px=moved)) == [20]
    change[1, 20], change[2, 20:22] = 0.08, 0.18  # as over two slices, but moved as over one
    assert list(find_missing(change)) == [20]
    assert find_missing(change, dy_px=rows) == {}


def test_another_material_is_not_taken_for_missing_slices():
    change = np.full((3, 40), np.nan)
    change[1, 1:], change[2, 2:] = 0.02, 0.08
    change[1, 20] = change[2, 20] = change[2, 21] = 0.4
    content = np.zeros((1, 40))
    assert list(find_missing(change, content)) == [20]
    content[0, 20:] = 2.0
    assert find_missing(change, content) == {}


def test_refocusing_is_reported_and_slow_defocus_is_not():
    detail = np.r_[np.linspace(0, -1.2, 25), np.linspace(0, -1.2, 25)] + 0.02 * np.random.default_rng(0).normal(size=50)
    assert list(find_focus_steps(detail, np.ones(50, dtype=bool))) == [25]
    assert find_focus_steps(np.linspace(0, -3, 50), np.ones(50, dtype=bool)) == {}


def test_a_magnification_step_of_three_per_mille_is_seen_among_changing_structure():
    rng = np.random.default_rng(0)
    local = 0.2 * rng.normal(size=(60, 4, 2))
    corners = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
    local[30] += 0.003 * 1000 / 4 * corners
    usable = np.ones(60, dtype=bool)
    assert {k: round(step, 3) for k, step in find_scale_steps(local, (1000, 1000), usable).items()} == {30: 0.003}
    local[45] += 5.0  # a jump moves all parts alike
    assert list(find_scale_steps(local, (1000, 1000), usable)) == [30]
    usable[29] = False
    assert find_scale_steps(local, (1000, 1000), usable) == {}
