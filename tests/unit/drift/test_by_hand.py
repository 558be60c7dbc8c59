"""What the user's hand adds to the estimate: breaks of the stack, pinned slices, a blacklist."""

import numpy as np
import pytest

import fibtomo
from fibtomo.core.drift_file import read_overrides
from fibtomo.core.stage import StageContext, get_stage
from fibtomo.core.volume import VolumeSpec
from fibtomo.errors import InputError
from fibtomo.ops.drift_hand import pin
from fibtomo.ops.trajectory import Pairs, solve_trajectory

N, BREAK = 24, 12
JUMP = np.array([31.0, -44.0])


@pytest.fixture(scope="module")
def restarted(lab):
    """A stack whose field of view moved before slice 12, its motion, and the motion without the jump."""
    smooth = lab.random_walk(N, 0.5, 5)
    truth = smooth + np.outer(np.arange(N) >= BREAK, JUMP)
    return lab.Waves(5, shape=(192, 192)).stack(truth, dz_px=0.3), truth


def test_a_jump_beyond_the_range_is_measured_at_a_known_break(restarted):
    slices, truth = restarted
    found = fibtomo.estimate_drift(slices, max_shift_px=10, breaks=[BREAK])
    assert np.abs(found.shifts_px - truth).max() < 0.6
    assert found.flags[BREAK].startswith("break: jump of 53.")
    assert found.sigma_px.max() < 2
    blind = fibtomo.estimate_drift(slices, max_shift_px=10)
    assert np.abs(blind.shifts_px - truth).max() > 20


def test_a_jump_does_not_tilt_the_rest(restarted, lab):
    """The straight line that geometry expects is judged without the jump."""
    slices, truth = restarted
    stack = fibtomo.open_stack(slices, voxel_nm=(5, 5, 5), column_angle_deg=52, tilt_corrected=False, tracked=True)
    found = fibtomo.estimate_drift(stack, breaks=[BREAK])
    for part in (slice(0, BREAK), slice(BREAK, N)):
        assert lab.rms((found.shifts_px - truth)[part]) < 1.0
    step = np.diff(found.shifts_px, axis=0)[BREAK - 1]
    assert np.abs(step - np.diff(truth, axis=0)[BREAK - 1]).max() < 0.5


def test_a_jump_that_cannot_be_measured_is_flagged(restarted, lab):
    slices = restarted[0].copy()
    slices[BREAK:] = lab.Waves(77, shape=(192, 192)).stack(restarted[1][BREAK:], dz_px=0.3)
    found = fibtomo.estimate_drift(slices, breaks=[BREAK])
    assert found.flags[BREAK] == "break: jump not measured, step assumed"
    assert found.sigma_px[BREAK] > 5
    pinned = fibtomo.estimate_drift(slices, breaks=[BREAK], overrides=[(BREAK, 40.0, -50.0)])
    np.testing.assert_allclose(pinned.shifts_px[BREAK], [40, -50])
    # the step that nothing measured takes the whole difference, on both sides everything stays in place
    np.testing.assert_allclose(pinned.shifts_px[:BREAK], found.shifts_px[:BREAK], atol=0.05)
    np.testing.assert_allclose(np.diff(pinned.shifts_px[BREAK:], axis=0), np.diff(found.shifts_px[BREAK:], axis=0))


def test_pinned_slices_are_met_exactly_and_the_others_follow(moderate):
    slices = moderate[0][0][:30]
    free = fibtomo.estimate_drift(slices)
    wanted = [(10, free.shifts_px[10, 0] + 2, free.shifts_px[10, 1]), (20, *free.shifts_px[20])]
    held = fibtomo.estimate_drift(slices, overrides=wanted)
    rest = held.shifts_px - free.shifts_px
    for k, dy, dx in wanted:
        assert held.shifts_px[k].tolist() == [dy, dx]
        assert (held.sigma_px[k], held.confidence[k]) == (0, 1)
        assert held.flags[k].endswith("pinned")
    np.testing.assert_allclose(rest[20:], 0, atol=1e-9)
    assert np.abs(np.diff(rest[:, 0])).max() < 0.6
    assert (np.diff(rest[:11, 0]) > 0).all()
    np.testing.assert_allclose(rest[:, 1], 0, atol=1e-9)
    assert (held.sigma_px <= free.sigma_px + 1e-9).all()
    assert "given by hand" in held.notes[-1]


def test_pinned_alone_leaves_the_others_where_they_are(moderate):
    slices = moderate[0][0][:20]
    free = fibtomo.estimate_drift(slices)
    alone = fibtomo.estimate_drift(slices, overrides=[(7, 5.0, -5.0)], overrides_move="alone")
    others = np.arange(20) != 7
    assert alone.shifts_px[7].tolist() == [5, -5]
    np.testing.assert_array_equal(alone.shifts_px[others], free.shifts_px[others])


def test_places_in_the_image_may_be_given_as_they_are(moderate):
    """A landmark followed by hand: with slice 0 in the table, all rows count relative to it."""
    held = fibtomo.estimate_drift(moderate[0][0][:12], overrides=[(0, 101.0, 55.0), (11, 104.0, 50.0)])
    assert held.shifts_px[0].tolist() == [0, 0]
    assert held.shifts_px[11].tolist() == [3, -5]


def chain(n, missing=()):
    first = np.array([k for k in range(n - 1) if k not in missing])
    pairs = Pairs(first, first + 1, np.ones((len(first), 2)), np.full((len(first), 2), 0.1), np.ones(len(first)))
    return solve_trajectory(n, pairs)


def test_an_unmeasured_step_takes_nearly_all_of_a_difference():
    track = chain(11, missing=[6])
    shifts, _ = pin(track.shifts_px, np.ones(11), track, [(10, 30.0, 10.0)], "neighbours")
    steps = np.diff(shifts, axis=0)
    assert steps[6].tolist() == pytest.approx([21, 1], abs=0.1)
    assert np.abs(np.delete(steps, 6, axis=0) - 1).max() < 0.02


def test_spread_between_pins_is_that_of_a_bridge():
    track, n = chain(9), 9
    sigma = np.sqrt(np.arange(n, dtype=float))
    _, held = pin(track.shifts_px, sigma, track, [(4, 4.0, 4.0)], "neighbours")
    np.testing.assert_allclose(held**2, [0, 0.75, 1, 0.75, 0, 1, 2, 3, 4], atol=1e-12)


def test_a_blacklist_adds_to_what_is_found(moderate):
    slices = moderate[0][0][:16].copy()
    slices[4] = 0
    found = fibtomo.estimate_drift(slices, also_bad=[9])
    assert found.bad_slices == (4, 9)
    assert (found.flags[4][:10], found.flags[9][:10]) == ("bad: blank", "bad: given")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"overrides": [(16, 0, 0)]}, "overrides: slice 16 must lie between 0 and 15"),
        ({"overrides": [(3, 0, 0), (3, 1, 1)]}, "overrides: slice 3 stands twice"),
        ({"also_bad": [-1]}, "also_bad: slice -1"),
        ({"breaks": [0]}, "breaks: slice 0 must lie between 1 and 15"),
    ],
)
def test_slices_that_do_not_exist_are_refused_before_work(values, message):
    stage = get_stage("drift.estimate")
    with pytest.raises(InputError, match=message):
        stage.check(stage.params(**values), VolumeSpec((16, 64, 64), "uint8"))
    with pytest.raises(InputError, match=message):
        fibtomo.estimate_drift(np.zeros((16, 64, 64), np.uint8), **values)


@pytest.mark.parametrize("name", ["pins.csv", "pins.json"])
def test_stage_reads_overrides_from_a_table_and_any_slab_gives_the_whole(moderate, tmp_path, name):
    slices, stage = moderate[1][0][:14], get_stage("drift.estimate")
    path = tmp_path / name
    rows = [(5, 2.5, -1.0), (13, 0.0, 4.0)]
    if name.endswith("csv"):
        path.write_text("slice;dy;dx\n" + "".join(f"{k};{dy};{dx}\n" for k, dy, dx in rows))
    else:
        path.write_text(str([{"slice": k, "dy_px": dy, "dx_px": dx} for k, dy, dx in rows]).replace("'", '"'))
    assert read_overrides(path) == tuple(rows)
    params = stage.params(overrides=str(path), breaks=(7,), also_bad=(2,))
    assert stage.files(params) == (str(path),)
    spec = VolumeSpec(slices.shape, "uint8")
    tables = []
    for slab in (14, 4):
        partials = []
        for z0 in range(0, 14, slab):
            lo, stop = max(0, z0 - 2), min(14, z0 + slab)
            partials.append(stage.measure(slices[lo:stop], params, StageContext(spec, lo, (z0 - lo, stop - lo))))
        tables.append(stage.combine(partials, params, StageContext(spec)))
    np.testing.assert_array_equal(tables[0]["shifts_px"], tables[1]["shifts_px"])
    np.testing.assert_allclose(tables[0]["shifts_px"][[5, 13]], [[2.5, -1], [0, 4]])
    assert tables[0]["flags"] == tables[1]["flags"]


def test_overrides_need_the_slice(tmp_path):
    (tmp_path / "pins.csv").write_text("dy,dx\n1,1\n")
    with pytest.raises(InputError, match=r"pins\.csv: the table needs a column slice"):
        read_overrides(tmp_path / "pins.csv")
