"""Clusters of two channels: the parts they were drawn from, any cut into slabs, phases that one channel cannot tell."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from fibtomo.builtin_stages.joint import JointParams
from fibtomo.core.stage import StageContext, get_stage
from fibtomo.core.volume import OUTSIDE, Channel, VolumeSpec
from fibtomo.errors import InputError
from fibtomo.ops.histogram import Bins
from fibtomo.ops.joint_phases import count_joint, fit_mixture, joint_table, label_joint

STAGE = get_stage("segment.joint")
GREYS = np.array([[60, 150], [140, 60], [148, 190]])
"""Phases 1 and 2 differ by less than the noise in the first channel, 0 lies between them in the second."""


def specimen(seed: int, noise: float = 12.0, dtype: str = "uint8", shape=(12, 60, 64)):
    """Two channels of three phases in coarse domains, and the phases."""
    rng = np.random.default_rng(seed)
    fields = gaussian_filter(rng.normal(size=(3, *shape)), (0, 3, 3, 3), mode="wrap")
    phases = fields.argmax(axis=0)
    scale = 257 if dtype == "uint16" else 1
    clean = GREYS[phases].transpose(3, 0, 1, 2) * scale
    grey = clean + rng.normal(0, noise * scale, clean.shape)
    return np.clip(np.rint(grey), 0, np.iinfo(dtype).max).astype(dtype), phases


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_three_phases_that_no_single_channel_tells(seed, dtype):
    both, phases = specimen(seed, dtype=dtype)
    spec = spec_of(both)
    table, labels = segmented(both, JointParams(classes=3), spec)
    assert np.mean(labels == phases) > 0.99
    unit = 257 if dtype == "uint16" else 1
    np.testing.assert_allclose(table["mean"], GREYS * unit, atol=2.0 * unit)
    np.testing.assert_allclose(table["share"], np.bincount(phases.ravel()) / phases.size, atol=0.005)
    assert max(table["fraction_sigma"]) < 0.01


def spec_of(both):
    value_range = (0.0, float(np.iinfo(both.dtype).max))
    return VolumeSpec(
        both.shape[1:], str(both.dtype), None, value_range, channels=(Channel("BSE", str(both.dtype), value_range),)
    )


def segmented(both, params, spec, slab=None, tables=None):
    tables, n = dict(tables or {}), both.shape[1]
    slab = slab or n
    parts = []
    for z in range(0, n, slab):
        core = (0, min(slab, n - z))
        parts.append(
            (both[0, z : z + slab], StageContext(spec, z, core, tables, channels={"BSE": both[1, z : z + slab]}))
        )
    tables["threshold"] = STAGE.combine([STAGE.measure(b, params, c) for b, c in parts], params, parts[0][1])
    return tables["threshold"], np.concatenate([STAGE.apply(b, params, c) for b, c in parts])


@pytest.mark.parametrize("slab", [1, 5])
def test_cuts_into_slabs_do_not_show(slab):
    both, _ = specimen(3)
    spec = spec_of(both)
    whole, part = (segmented(both, JointParams(), spec, s)[1] for s in (None, slab))
    np.testing.assert_array_equal(whole, part)


def test_what_is_not_shown_counts_for_nothing():
    both, phases = specimen(4)
    boxes = np.tile([5, 50, 4, 60], (both.shape[1], 1))
    hidden = np.ones(both.shape[1:], bool)
    hidden[:, 5:50, 4:60] = False
    both[:, hidden] = 0
    _, labels = segmented(both, JointParams(), spec_of(both), tables={"valid": {"boxes": boxes}})
    np.testing.assert_array_equal(labels == OUTSIDE, hidden)
    assert np.mean(labels[~hidden] == phases[~hidden]) > 0.99


def test_gaussians_are_those_the_points_were_drawn_from():
    rng = np.random.default_rng(0)
    shape = np.array([[50.0, 30.0], [30.0, 40.0]])
    points = np.concatenate(
        [rng.multivariate_normal(mean, shape, n) for mean, n in (([40, 70], 60000), ([90, 60], 20000))]
    )
    found = fit_mixture(points, np.ones(len(points)), 2, [0.5, 0.5])
    np.testing.assert_allclose(found.share, [0.75, 0.25], atol=0.005)
    np.testing.assert_allclose(found.mean, [[40, 70], [90, 60]], atol=0.3)
    np.testing.assert_allclose(found.covariance, shape, atol=1.5)


@pytest.mark.parametrize("seed", range(2))
def test_voxels_across_interfaces_go_to_both_sides(seed):
    """A tenth of all voxels has mixed greys; no phase swallows them."""
    rng = np.random.default_rng(seed)
    phases = (gaussian_filter(rng.normal(size=(12, 60, 64)), 3, mode="wrap") > 0).astype(int)
    clean = np.array([[64.0, 190.0], [178.0, 90.0]])[phases].transpose(3, 0, 1, 2)
    grey = gaussian_filter(clean, (0, 0, 1, 1)) + rng.normal(0, 6, clean.shape)
    both = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
    _, labels = segmented(both, JointParams(classes=2), spec_of(both))
    assert np.mean(labels == phases) > 0.985
    assert abs(labels.mean() - phases.mean()) < 0.005


def test_nan_and_greys_beyond_the_range():
    bins = [Bins(0.0, 0.25, 4)] * 2
    first = np.array([[[0.1, np.nan, 7.0, -3.0]]], np.float32)
    counted = count_joint([first, np.full_like(first, 0.6)], bins)
    assert counted["cell"].tolist() == [2, 14]
    assert counted["count"].tolist() == [2, 1]
    labels = label_joint([first, first], bins, np.arange(16, dtype=np.uint8))
    assert labels.tolist() == [[[0, OUTSIDE, 15, 0]]]


@pytest.mark.parametrize(
    "counts", [{"cell": np.array([5]), "count": np.array([9])}, {"cell": np.array([1, 9]), "count": np.array([4, 1])}]
)
def test_fewer_greys_than_classes(counts):
    table = joint_table([counts], [Bins(-0.5, 1, 4)] * 2, 3)
    assert np.isfinite(table["mean"]).all()
    assert table["share"].sum() == pytest.approx(1)


def test_a_channel_that_is_not_there_is_named():
    both, _ = specimen(0)
    with pytest.raises(InputError, match=r"'EDS' is not carried along \(there are: BSE\)"):
        STAGE.needs(JointParams(other="EDS"), spec_of(both))
