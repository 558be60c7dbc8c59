"""Charging tails and line faults against injected truth; faultless stacks must come back bit by bit."""

import numpy as np
import pytest
import scipy.ndimage as ndi

from fibtomo.errors import InputError
from fibtomo.ops.charging import KINDS, apply_repairs, fault_mask, find_faults, repair_charging

DARK, BRIGHT, NOISE = 60.0, 150.0, 8.0


def ideal_of(make_phases, seed, shape=(6, 128, 224)):
    phase = make_phases(shape, 32, np.random.default_rng(seed))
    return ndi.gaussian_filter(np.where(phase, BRIGHT, DARK), (0, 0.7, 0.7))


def kinds(found):
    return {KINDS[int(f[1])] for f in found["faults"]}


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_clean_stacks_are_bit_identical(make_phases, seed, dtype):
    rng = np.random.default_rng(seed)
    ideal = ideal_of(make_phases, seed)
    seen = np.clip(ideal + NOISE * rng.normal(size=ideal.shape), 0, 255).astype(dtype)
    repaired, found = repair_charging(seen)
    assert repaired.dtype == seen.dtype
    np.testing.assert_array_equal(repaired, seen)
    assert found["pixels"].sum() == 0


@pytest.mark.parametrize("seed", [3, 4])
def test_jumping_and_dead_lines_are_repaired(make_phases, seed):
    rng = np.random.default_rng(seed)
    ideal = ideal_of(make_phases, seed)
    clean = np.clip(np.rint(ideal + NOISE * rng.normal(size=ideal.shape)), 0, 254).astype(np.uint8)
    seen, truth = clean.astype(float), np.zeros(clean.shape, bool)
    for k, first, stop, by in ((1, 20, 21, 15), (2, 60, 63, -20), (4, 90, 92, 12)):
        seen[k, first:stop] += by
        truth[k, first:stop] = True
    seen[3, 44], seen[3, 101] = 0, 255
    seen[5, :, 77] = 0
    truth[3, [44, 101]] = truth[5, :, 77] = True
    seen = np.clip(seen, 0, 255).astype(np.uint8)
    repaired, found = repair_charging(seen)
    assert np.array_equal(fault_mask(found["faults"], seen.shape), truth)
    assert found["pixels"].sum() == truth.sum()
    np.testing.assert_array_equal(repaired[~truth], seen[~truth])
    jumps = truth.copy()
    jumps[3], jumps[5] = False, False
    assert abs((repaired.astype(float) - clean)[jumps].mean()) < 2
    assert np.abs(repaired.astype(float) - clean)[truth].mean() < 0.3 * np.abs(seen.astype(float) - clean)[truth].mean()


def test_thin_layers_that_go_on_along_z_stay(make_phases):
    rng = np.random.default_rng(5)
    ideal = ideal_of(make_phases, 5)
    for k in range(len(ideal)):  # a bright layer, two rows thick, that moves by a row per slice
        ideal[k, 40 + k : 42 + k] = BRIGHT + 30
    seen = (ideal + NOISE * rng.normal(size=ideal.shape)).astype(np.float32)
    repaired, found = repair_charging(seen)
    assert len(found["faults"]) == 0
    np.testing.assert_array_equal(repaired, seen)


def charged(ideal, side, rng, row=64, radius=9, column=90):
    """A bright disc with tails to the right (side = 1) or left, one depth per row."""
    out, tail = ideal.copy(), np.zeros(ideal.shape)
    for r in range(row - radius, row + radius + 1):
        chord = np.sqrt(radius**2 - (r - row) ** 2)
        away = side * (np.arange(ideal.shape[1]) - column) - chord
        tail[r] = np.where(away > 0, 35 * rng.uniform(0.5, 1.5) * np.exp(-np.maximum(away, 0) / 40), 0)
        out[r] = np.where((away <= 0) & (away > -2 * chord), BRIGHT + 60, ideal[r] - tail[r])
    return out, tail


@pytest.mark.parametrize(("side", "seed"), [(1, 6), (-1, 7), (1, 8)])
def test_tails_are_taken_off(make_phases, side, seed):
    rng = np.random.default_rng(seed)
    ideal = ideal_of(make_phases, seed, (3, 128, 224))
    clean, tail = ideal.copy(), np.zeros(ideal.shape)
    clean[1], tail[1] = charged(ideal[1], side, rng)
    noise = NOISE * rng.normal(size=ideal.shape)
    seen = (clean + noise).astype(np.float32)
    repaired, found = repair_charging(seen)
    deep = tail > 6
    assert kinds(found) == {"tail"}
    assert set(found["faults"][:, 0]) == {1.0}
    before, after = (np.sqrt(np.mean((v - clean - tail - noise)[deep] ** 2)) for v in (seen, repaired))
    assert after < 0.4 * before
    np.testing.assert_array_equal(repaired[[0, 2]], seen[[0, 2]])


@pytest.mark.parametrize("seed", [9, 10])
def test_bright_particles_without_tails_stay(make_phases, seed):
    rng = np.random.default_rng(seed)
    ideal = ideal_of(make_phases, seed, (3, 128, 224))
    y, x = np.mgrid[:128, :224]
    for row, column in ((40, 60), (80, 150)):
        away = np.hypot(y - row, x - column)
        ideal[:, away < 9] = BRIGHT + 60
        ideal[:, (np.hypot(y - row, x - column - 4) < 9) & (away >= 9)] = DARK  # a dark right edge
    seen = (ideal + NOISE * rng.normal(size=ideal.shape)).astype(np.float32)
    assert repair_charging(seen)[1]["pixels"].sum() == 0


def test_parts_find_what_the_whole_finds(make_phases):
    rng = np.random.default_rng(11)
    ideal = ideal_of(make_phases, 11)
    seen = (ideal + NOISE * rng.normal(size=ideal.shape)).astype(np.float32)
    seen[2, 30:32] += 20
    seen[3, 70] -= 15
    whole = find_faults(seen)["faults"]
    parts = [find_faults(seen[:4], (0, 3), 0)["faults"], find_faults(seen[2:], (1, 4), 2)["faults"]]
    assert len(whole) == 2
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(apply_repairs(seen, whole)[3:], apply_repairs(seen[3:], whole, 3))


def test_mask_only_changes_nothing(make_phases, staged):
    rng = np.random.default_rng(12)
    ideal = ideal_of(make_phases, 12)
    seen = (ideal + NOISE * rng.normal(size=ideal.shape)).astype(np.float32)
    seen[2, 30:32] += 25
    np.testing.assert_array_equal(staged("intensity.charging", seen, [3, 3], mode="mask-only"), seen)
    assert np.any(staged("intensity.charging", seen, [3, 3]) != seen)


def test_a_single_plane_is_refused():
    with pytest.raises(InputError, match="shape"):
        repair_charging(np.zeros((8, 8)))


@pytest.mark.parametrize("mode", ["repair", "mask-only"])
def test_a_run_says_what_was_repaired(make_phases, tmp_path, mode):
    import json

    import fibtomo

    rng = np.random.default_rng(13)
    ideal = ideal_of(make_phases, 13)
    seen = np.clip(ideal + NOISE * rng.normal(size=ideal.shape), 0, 255).astype(np.uint8)
    seen[2, 30:32] = np.clip(seen[2, 30:32] + 25.0, 0, 255)
    pipeline = tmp_path / "p.yaml"
    pipeline.write_text(f"schema: 1\nstages:\n  - use: intensity.charging\n    with: {{mode: {mode}}}\n")
    done = fibtomo.run(seen, tmp_path / "out", pipeline, voxel_nm="unknown")
    kept = json.loads((tmp_path / "out" / "run.json").read_text())["tables"]["charging"]
    assert kept["pixels"] == [0, 0, 2 * 224, 0, 0, 0]
    verb = "repaired" if mode == "repair" else "found and left as they are"
    assert f"1 row jump {verb} on 1 of 6 slices" in done.report_path.read_text(encoding="utf-8")
    same = np.asarray(done.volume) == seen
    assert bool(same[2, 30:32].all()) == (mode == "mask-only")
    assert same[[0, 1, 3, 4, 5]].all()


def jittering_rows(ideal, rng, row=64, radius=10, column=60, depth=45, length=50):
    """An inclusion that charges: `depth` brighter than what it lies in, with a tail whose depth changes by the row."""
    out, tail = ideal.copy(), np.zeros(ideal.shape)
    for r in range(row - radius, row + radius + 1):
        chord = np.sqrt(radius**2 - (r - row) ** 2)
        away = np.arange(ideal.shape[1]) - column - chord
        tail[r] = np.where(away > 0, depth * rng.uniform(0.5, 1.5) * np.exp(-np.maximum(away, 0) / length), 0)
        out[r] += np.where(away > 0, -tail[r], np.where(away > -2 * chord, depth, 0.0))
    return out, tail


def grains(seed, shape=(128, 224)):
    """No two phases that stand apart: eight greys, one for each grain."""
    rng = np.random.default_rng(seed)
    seeds = rng.uniform(0, 1, (40, 2)) * shape
    y, x = np.mgrid[: shape[0], : shape[1]]
    name = np.argmin((y[..., None] - seeds[:, 0]) ** 2 + (x[..., None] - seeds[:, 1]) ** 2, axis=-1)
    return ndi.gaussian_filter(rng.uniform(100, 180, 40)[name], 0.7)


def test_tails_need_no_phases():
    share = []
    for seed, side in ((20, 1), (21, -1), (22, 1), (23, -1)):  # not every tail is found; none is made up or made worse
        rng = np.random.default_rng(seed)
        clean = grains(seed)
        charged_, tail = jittering_rows(clean, rng)
        clean, charged_, tail = (v[:, ::side] for v in (clean, charged_, tail))
        noise = 10 * rng.normal(size=clean.shape)
        seen, quiet = ((v + noise)[None].astype(np.float32) for v in (charged_, clean))
        repaired, found = repair_charging(seen)
        deep = tail > 8
        before, after = (np.sqrt(np.mean((v[0] - clean - noise)[deep] ** 2)) for v in (seen, repaired))
        share.append(after / before)
        assert np.all(np.sign(found["faults"][:, 7]) == side)
        np.testing.assert_array_equal(repair_charging(quiet)[0], quiet)
    assert max(share) <= 1
    assert np.count_nonzero(np.array(share) < 0.4) >= 3


def test_pixels_that_a_tail_cut_off_become_the_dark_phase():
    fault = np.array([[0, 3, 2, 3, 4, 12, 90.0, 1000.0, 50.0]])
    plane = np.full((1, 5, 16), 120, np.uint8)
    plane[0, 2, 4:8] = 0
    plane[0, 2, 8:12] = 40
    repaired = apply_repairs(plane, fault)[0, 2]
    np.testing.assert_allclose(repaired[4:8], 50)
    np.testing.assert_allclose(repaired[8:12], 130, atol=1)


def test_saturated_regions_are_located_and_told(make_phases):
    from fibtomo.ops.charging import fault_notes

    rng = np.random.default_rng(14)
    ideal = ideal_of(make_phases, 14)
    seen = np.clip(ideal + NOISE * rng.normal(size=ideal.shape), 1, 254).astype(np.uint8)
    seen[1:3, 20:30, 40:52] = 255
    seen[4, 70:80, 100:110] = 0
    seen[5, 3, 3] = 255
    repaired, found = repair_charging(seen)
    assert found["blobs"].tolist() == [
        [1, 20, 30, 40, 52, 120, 1],
        [2, 20, 30, 40, 52, 120, 1],
        [4, 70, 80, 100, 110, 100, 0],
    ]
    assert "3 saturated regions left as they are, slices 1 to 2, 4" in fault_notes(found)
    np.testing.assert_array_equal(repaired, seen)


def test_correct_intensity_repairs_only_when_asked_and_tells(make_phases):
    import fibtomo

    rng = np.random.default_rng(15)
    ideal = ideal_of(make_phases, 15)
    seen = (ideal + NOISE * rng.normal(size=ideal.shape)).astype(np.float32)
    seen[2, 30:32] += 25
    off = {"flicker": False, "shading": None}
    np.testing.assert_array_equal(fibtomo.correct_intensity(seen, **off), seen)
    repaired, report = fibtomo.correct_intensity(seen, **off, charging=True, return_report=True)
    assert report["charging"]["pixels"].tolist() == [0, 0, 2 * 224, 0, 0, 0]
    assert "1 row jump repaired on 1 of 6 slices" in report["notes"][0]
    assert abs(float((repaired - seen)[2, 30:32].mean()) + 25) < 3
