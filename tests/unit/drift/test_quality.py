"""Quality without ground truth: leave-one-out against solving again, loops, likeness, files and chains."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import fourier_shift, gaussian_filter

from fibtomo.core.drift import COLUMNS, Drift
from fibtomo.core.drift_quality import DriftQuality
from fibtomo.errors import InputError
from fibtomo.ops.drift import estimate_drift
from fibtomo.ops.drift_quality import closures, left_out, likeness_before_and_after, measure_likeness
from fibtomo.ops.spectra import make_band, slice_spectrum
from fibtomo.ops.trajectory import Pairs, banded_inverse, solve_trajectory


def measured(n, gaps, seed, noise=0.05):
    rng = np.random.default_rng(seed)
    truth = np.cumsum(rng.normal(size=(n, 2)), axis=0)
    first, second = (np.concatenate(c) for c in zip(*[(np.arange(n - g), np.arange(g, n)) for g in gaps], strict=True))
    sigma = noise * rng.uniform(0.5, 2, size=(len(first), 2))
    shift = truth[second] - truth[first] + sigma * rng.normal(size=sigma.shape)
    return Pairs(first, second, shift, sigma, rng.uniform(0.5, 1, len(first)))


def solved_without(pairs, track, i):
    """Prediction for pair i by dense least squares over the other accepted ones, their votes as they were."""
    n = len(track.shifts_px)
    use = track.pair_weight > 0
    use[i] = False
    predicted = np.empty(2)
    for axis in (0, 1):
        design = np.zeros((use.sum(), n))
        design[np.arange(use.sum()), pairs.second[use]] = 1
        design[np.arange(use.sum()), pairs.first[use]] = -1
        root = np.sqrt((pairs.weight * track.pair_weight)[use]) / pairs.sigma_px[use, axis]
        place = np.linalg.lstsq(design[:, 1:] * root[:, None], pairs.shift_px[use, axis] * root, rcond=None)[0]
        place = np.append(0.0, place)
        predicted[axis] = place[pairs.second[i]] - place[pairs.first[i]]
    return predicted


@pytest.mark.parametrize("gaps", [(1, 2), (1, 2, 4)])
def test_left_out_is_what_solving_again_gives(gaps):
    pairs = measured(12, gaps, 1)
    track = solve_trajectory(12, pairs)
    again = [pairs.shift_px[i] - solved_without(pairs, track, i) for i in range(len(pairs.first))]
    missed = left_out(pairs, track)
    accepted = track.pair_weight > 0
    assert accepted.sum() > len(accepted) - 3
    np.testing.assert_allclose(missed[accepted], np.array(again)[accepted], atol=1e-5)
    assert np.isnan(missed[~accepted]).all()


def test_pairs_that_nothing_checks_are_not_counted():
    chain = measured(10, (1,), 0)
    assert np.isnan(left_out(chain, solve_trajectory(10, chain))).all()
    pairs = measured(10, (1, 2), 0)
    lonely = (pairs.first < 5) & (pairs.second >= 5) & (pairs.second - pairs.first == 2)
    pairs = replace(pairs, weight=np.where(lonely, 0.0, pairs.weight))
    missed = left_out(pairs, solve_trajectory(10, pairs))
    bridge = (pairs.first == 4) & (pairs.second == 5)
    assert np.isnan(missed[bridge]).all()
    assert np.isfinite(missed[~lonely & ~bridge]).mean() > 0.9


def test_a_broken_stack_is_judged_in_its_parts():
    pairs = measured(16, (1, 2), 3)
    pairs = replace(pairs, weight=np.where((pairs.first < 8) & (pairs.second >= 8), 0.0, pairs.weight))
    track = solve_trajectory(16, pairs)
    missed, accepted = left_out(pairs, track), track.pair_weight > 0
    again = [pairs.shift_px[i] - solved_without(pairs, track, i) for i in np.flatnonzero(accepted)]
    np.testing.assert_allclose(missed[accepted], again, atol=1e-5)


def test_left_out_has_the_size_of_the_noise():
    """Its variance is that of the pair over the share that the others check: here 3 pairs check each other equally."""
    pairs = measured(300, (1, 2), 5)
    missed = left_out(pairs, solve_trajectory(300, pairs))
    counted = np.isfinite(missed).all(axis=1)
    ratio = np.sqrt((missed[counted] ** 2).mean()) / np.sqrt((pairs.sigma_px[counted] ** 2).mean())
    assert 1.2 < ratio < 2.5


def test_no_pairs_no_numbers():
    none = Pairs(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0))
    assert left_out(none, solve_trajectory(4, none)).shape == (0, 2)
    assert closures(none, np.zeros(0, dtype=bool)).shape == (0, 2)


def test_closure_takes_accepted_triples_only():
    pairs = measured(6, (1, 2), 2, noise=0.0)
    shift = pairs.shift_px.copy()
    wrong = (pairs.first == 2) & (pairs.second == 4)
    shift[wrong] += (3.0, 4.0)
    pairs = replace(pairs, shift_px=shift)
    missed = closures(pairs, np.ones(len(shift), bool))
    np.testing.assert_allclose(missed, [[0, 0], [0, 0], [3, 4], [0, 0]], atol=1e-12)
    assert closures(pairs, ~wrong).shape == (3, 2)


def test_inverse_holds_every_entry_of_the_band():
    rng = np.random.default_rng(0)
    band = np.concatenate([[rng.uniform(6, 8, 9)], rng.normal(size=(2, 9))])
    dense = np.zeros((9, 9))
    for i in range(3):
        dense += np.diag(band[i, : 9 - i], -i) + (np.diag(band[i, : 9 - i], i) if i else 0)
    inverse = np.linalg.inv(dense)
    for i in range(3):
        np.testing.assert_allclose(banded_inverse(band)[i, : 9 - i], np.diag(inverse, -i), atol=1e-12)


def moved(image, shift):
    return np.fft.ifft2(fourier_shift(np.fft.fft2(image), shift)).real


def test_likeness_is_the_correlation_of_the_common_area():
    rng = np.random.default_rng(4)
    scene, noise = (gaussian_filter(rng.normal(size=(320, 320)), 3) for _ in range(2))
    first = (scene / scene.std())[32:288, 32:288]
    shift = (5.3, -7.6)
    other = moved(scene / scene.std() + 0.5 * noise / noise.std(), shift)[32:288, 32:288]
    band = make_band((256, 256))
    before, after, *slope = measure_likeness(slice_spectrum(first, band), slice_spectrum(other, band), band, shift)
    assert after == pytest.approx(1 / np.sqrt(1.25), abs=0.03)
    assert before == pytest.approx(np.corrcoef(first.ravel(), other.ravel())[0, 1], abs=0.06)
    assert np.abs(slope[:2]).max() < 0.02
    assert 1 < slope[2] / after * 18 < 1.3  # long waves lie outside the band


def test_likeness_follows_the_final_step():
    rng = np.random.default_rng(5)
    scene = gaussian_filter(rng.normal(size=(256, 256)), 3)
    band = make_band((256, 256))
    pair = [slice_spectrum(image, band) for image in (scene, moved(scene, (1.5, 0.5)))]
    column = {
        "first": np.array([0]),
        "second": np.array([1]),
        "shift_px": np.array([[1.0, 0.2]]),
        "likeness": np.stack([np.full(7, np.nan), measure_likeness(*pair, band, (1.0, 0.2))]),
    }
    for step in ((1.5, 0.5), (0.7, -0.2), (1.0, 0.2)):
        _, after = likeness_before_and_after(column, np.array([[0, 0], step]))
        assert after[1] == pytest.approx(measure_likeness(*pair, band, step)[1], abs=0.01)
    assert np.isnan(likeness_before_and_after(column, np.array([[0, 0], [9.0, 9.0]]))[1][1])


@pytest.fixture(scope="module")
def jumping(lab):
    truth = np.cumsum(np.random.default_rng(3).normal(0, 5, (14, 2)), axis=0)
    return lab.Waves(3, shape=(160, 160)).stack(truth - truth[0], dz_px=0.5)


def test_estimate_tells_its_quality(jumping):
    slices = jumping.copy()
    slices[6] = 40
    drift = estimate_drift(slices, slow="keep")
    quality = drift.quality
    numbers = quality.summary()
    assert numbers["ncc_after"] > 0.85 > 0.75 > numbers["ncc_before"]
    assert 0 < numbers["left_out_dy_px"] < 0.1
    assert 0 < numbers["left_out_dx_px"] < 0.1
    assert 0 < numbers["closure_px"] < 0.15
    assert np.isnan(quality.left_out_px[6])
    assert np.isnan(quality.ncc_after[[0, 6, 7]]).all()
    assert np.isfinite(np.delete(quality.ncc_after, [0, 6, 7])).all()
    assert drift.undecided_px == drift.sigma_px[-1] > 0


def test_slabs_do_not_change_the_quality(jumping):
    from fibtomo.ops.drift_combine import combine_slabs
    from fibtomo.ops.drift_measure import DriftOptions, measure_slab

    options = DriftOptions()
    whole = combine_slabs([measure_slab(jumping, 0, (0, 14), options)], options)
    halo = min(7, options.halo)
    cut = [
        measure_slab(jumping[:7], 0, (0, 7), options),
        measure_slab(jumping[7 - halo :], 7 - halo, (halo, halo + 7), options),
    ]
    parts = combine_slabs(cut, options).quality
    for name in ("left_out_px", "ncc_before", "ncc_after"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole.quality, name), atol=1e-6)


def quality_of(seed, n=6):
    rng = np.random.default_rng(seed)
    columns = rng.random((3, n))
    columns[:, 0] = np.nan
    return DriftQuality(*columns, left_out_rms_px=(rng.random(), np.nan), closure_px=rng.random(), checked_pairs=seed)


def alike(a, b):
    np.testing.assert_equal(a.to_table(), b.to_table())


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_files_give_the_quality_back_exactly(tmp_path, suffix):
    drift = Drift(np.zeros((6, 2)), quality=quality_of(3))
    path = tmp_path / f"mine{suffix}"
    drift.save(path)
    alike(Drift.load(path).quality, drift.quality)
    alike(Drift.from_table(json.loads(json.dumps(_plain(drift.to_table())))).quality, drift.quality)
    if suffix == ".csv":
        header = next(line for line in path.read_text().splitlines() if not line.startswith("#"))
        assert header == ",".join([*COLUMNS, "left_out_px", "ncc_before", "ncc_after"])


def _plain(table):
    from fibtomo.pipeline.ledger import _plain

    return _plain(table)


def test_rows_may_be_missing(tmp_path):
    path = tmp_path / "mine.json"
    Drift(np.zeros((6, 2)), quality=quality_of(3)).save(path)
    document = json.loads(path.read_text())
    del document["slices"][2]
    path.write_text(json.dumps(document))
    assert np.isnan(Drift.load(path).quality.ncc_after[2])


def test_damaged_quality_is_named(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("# quality: {\nslice,dy,dx\n0,0,0\n")
    with pytest.raises(InputError, match="quality is not valid JSON"):
        Drift.load(path)
    path.write_text("# quality: {}\nslice,dy,dx,ncc_after\n0,0,0,good\n")
    with pytest.raises(InputError, match="column 'ncc_after'"):
        Drift.load(path)


def test_chains_keep_what_still_holds():
    a, b, c = (Drift(np.ones((6, 2)), quality=quality_of(seed)) for seed in range(3))
    e, unknown = Drift.identity(6), Drift(np.ones((6, 2)))
    alike(a.then(b).quality, replace(b.quality, ncc_before=a.quality.ncc_before))
    alike(a.then(b).then(c).quality, a.then(b.then(c)).quality)
    alike(e.then(a).quality, a.quality)
    alike(a.then(e).quality, a.quality)
    alike(a.inverse().quality, a.quality)
    assert a.then(unknown).quality is unknown.then(a).quality is None
    assert a.then(unknown.then(e)).quality is None
    assert a.without([2]).quality is a.quality


def test_imported_shifts_are_not_called_measured(tmp_path):
    from fibtomo.io.shifts import read_shifts

    Drift(np.zeros((6, 2)), quality=quality_of(3)).save(tmp_path / "drift.csv")
    assert read_shifts(tmp_path / "drift.csv").quality is None


def test_lengths_must_agree():
    with pytest.raises(InputError, match="6 slices was given for 5"):
        Drift(np.zeros((5, 2)), quality=quality_of(0))
    with pytest.raises(InputError, match="one length"):
        DriftQuality(np.zeros(3), np.zeros(2), np.zeros(3))
