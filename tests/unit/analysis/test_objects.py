"""The loss of objects at the border is made good by their weights."""

import numpy as np
import pytest

from fibtomo.core.volume import OUTSIDE


def scattered(seed, shape, count):
    """Boxes at random whole places, cut by the border, that do not touch; their edges and first corners."""
    rng = np.random.default_rng(seed)
    edges = rng.choice([2, 5, 8], size=count)
    volume = np.zeros(shape, np.uint8)
    taken = np.zeros([n + 24 for n in shape], bool)
    placed = []
    for edge in edges:
        low = np.array([rng.integers(12 - edge + 1, 12 + n) for n in shape])
        near = tuple(slice(a - 1, a + edge + 1) for a in low)
        if taken[near].any():
            continue
        taken[tuple(slice(a, a + edge) for a in low)] = True
        placed.append((edge, *(low - 12)))
    volume[:] = taken[12:-12, 12:-12, 12:-12]
    return volume, np.array(placed)


def test_weight_is_the_share_of_places_where_an_object_would_be_seen_whole(run_stage):
    mask = np.zeros((12, 20, 30), np.uint8)
    mask[3:7, 2:5, 10:20] = 1
    mask[0, 10, 10] = 1
    _, table = run_stage("label.components", mask, 5)
    assert table["border_weight"] == pytest.approx([0, 12 * 20 * 30 / ((12 - 4 - 1) * (20 - 3 - 1) * (30 - 10 - 1))])


def test_seen_region_may_change_from_slice_to_slice(run_stage):
    phases = np.zeros((9, 16, 16), np.uint8)
    for z in range(9):
        phases[z, : z // 2] = OUTSIDE
    phases[4:6, 8:10, 8:11] = 1
    _, table = run_stage("label.components", phases, 4)
    places = 0
    for z in range(1, 7):
        rows = 16 - max(z // 2, (z + 1) // 2)
        places += (rows - 2 - 1) * (16 - 3 - 1)
    assert table["border_weight"] == pytest.approx([np.count_nonzero(phases != OUTSIDE) / places])


def test_weights_restore_the_numbers_of_large_objects(run_stage):
    """In small windows of a large pattern, sums of weights find the density of every size without bias."""
    density, sums, seen = np.zeros(3), np.zeros(3), np.zeros(3)
    for seed in range(50):
        volume, placed = scattered(seed, (56, 56, 56), 600)
        window = volume[14:42, 14:42, 14:42]
        inside = ((placed[:, 1:] >= 14) & (placed[:, 1:] < 42)).all(axis=1)
        _, table = run_stage("label.components", window, 28)
        for k, edge in enumerate((2, 5, 8)):
            full = (table["voxels"] == edge**3) & (table["border_weight"] > 0)
            density[k] += np.sum(inside & (placed[:, 0] == edge))
            sums[k] += table["border_weight"][full].sum()
            seen[k] += full.sum()
    assert sums / density == pytest.approx(np.ones(3), abs=0.12)
    assert seen[2] / density[2] < 0.5
