"""The stages `drift.estimate` and `drift.import`: chunks agree with the whole, and with `estimate_drift`."""

import tracemalloc

import numpy as np
import pytest

from fibtomo.core.drift import Drift
from fibtomo.core.stage import StageContext, get_stage
from fibtomo.core.volume import Calibration, Sourced, VolumeSpec
from fibtomo.errors import InputError, PipelineError
from fibtomo.ops.drift import estimate_drift

STAGE = get_stage("drift.estimate")


def run(slices, slab, calibration=None, **values):
    params = STAGE.params(**values)
    spec = VolumeSpec(slices.shape, str(slices.dtype), (10.0, 5.0, 5.0))
    before = STAGE.needs(params, spec).measure_halo[0]
    partials = []
    for start in range(0, len(slices), slab):
        low, stop = max(0, start - before), min(len(slices), start + slab)
        ctx = StageContext(spec, low, (start - low, stop - low), calibration=calibration or Calibration())
        partials.append(STAGE.measure(slices[low:stop], params, ctx))
    return STAGE.combine(partials, params, StageContext(spec, calibration=calibration or Calibration()))


def test_any_slab_gives_the_whole(moderate):
    slices = moderate[0][0][:20].copy()
    slices[7] = 0
    whole = run(slices, 20)
    for slab in (1, 3, 8):
        part = run(slices, slab)
        assert part.keys() == whole.keys()
        for name in ("shifts_px", "sigma_px", "confidence"):
            np.testing.assert_array_equal(part[name], whole[name])
        assert part["flags"] == whole["flags"]
    np.testing.assert_array_equal(whole["shifts_px"], estimate_drift(slices).shifts_px)


def test_reference_follows_the_geometric_shear(lab):
    """A static region rises by 1.23 rows per slice under a fixed field of view; the geometry tells where to look."""
    calibration = Calibration(
        pixel_nm=Sourced((5.0, 5.0)),
        slice_nm=Sourced(10.0),
        column_angle_deg=Sourced(52.0),
        tilt_corrected=Sourced(False),
        tracked=Sourced(False),
    )
    truth = lab.random_walk(40, 0.2, 1, slope=(-1.2313, 0.0))
    slices = lab.Waves(1).stack(truth, dz_px=0.0)
    table = run(slices, 8, calibration, reference_roi=(180, 240, 60, 200), reference_margin_px=12)
    assert table["identifiable"]
    assert np.abs(table["shifts_px"] - truth).max() < 0.2


def test_what_is_asked_for_must_be_there(moderate):
    with pytest.raises(PipelineError, match="expected slope"):
        run(moderate[0][0][:4], 4, slow="geometry")
    with pytest.raises(PipelineError, match="reference_roi"):
        STAGE.check(STAGE.params(slow="reference"), VolumeSpec((4, 256, 256), "uint8"))


@pytest.mark.parametrize("values", [{"offsets": (2,)}, {"band_cycles_per_px": (0.3, 0.1)}, {"offsets": (1, 40)}])
def test_wrong_parameters_are_refused(values):
    with pytest.raises(PipelineError):
        STAGE.params.parse(values, "drift.estimate")


def test_region_outside_the_slice_is_refused_by_the_plan():
    params = STAGE.params(reference_roi=(0, 300, 0, 300))
    with pytest.raises(InputError, match="reference_roi"):
        STAGE.needs(params, VolumeSpec((10, 256, 256), "uint8"))


def test_import_takes_the_table_as_it_is(tmp_path):
    stage = get_stage("drift.import")
    path = tmp_path / "drift.csv"
    Drift(np.arange(8.0).reshape(4, 2)).to_csv(path)
    params = stage.params(path=str(path))
    table = stage.combine([{}], params, StageContext(VolumeSpec((4, 8, 8), "uint8")))
    np.testing.assert_array_equal(table["shifts_px"], np.arange(8.0).reshape(4, 2))
    with pytest.raises(InputError, match="4 slices, the stack has 5"):
        stage.combine([{}], params, StageContext(VolumeSpec((5, 8, 8), "uint8")))


@pytest.mark.parametrize("shape", [(6, 512, 512), (3, 1024, 1024), (4, 1600, 1600)])
def test_declared_memory_covers_the_measured(shape):
    params, spec = STAGE.params(), VolumeSpec(shape, "uint8")
    block = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    ctx = StageContext(spec, 0, (0, shape[0]))
    STAGE.measure(block[:2], params, StageContext(spec, 0, (0, 2)))
    tracemalloc.start()
    STAGE.measure(block, params, ctx)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    declared = STAGE.needs(params, spec).bytes_per_voxel * block.size
    assert 0.3 * declared < peak < declared
