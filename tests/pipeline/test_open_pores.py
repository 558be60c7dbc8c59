"""Open pores from raw slices to fractions: walls that shine through, whatever the cut."""

import json

import numpy as np
import pytest

import fibtomo
from fibtomo.core.stage import StageContext, get_stage
from fibtomo.phantom import acquire, write_slices
from fibtomo.pipeline.config import parse_pipeline
from tests.pipeline.stage_fixtures import CALIBRATION, grey_stack, spec_for
from tests.pipeline.test_acceptance import dice, true_phases

STAGES = """
schema: 1
stages:
  - use: drift.estimate
    with: {slow: geometry}
  - use: geometry.resample
  - use: segment.shine_through
  - use: measure.phases
"""


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slices")
    metal = {"kind": "nanoporous_metal", "wavelength_nm": 200.0, "solid_fraction": 0.4, "seed": 31}
    run = acquire(
        metal | {"greys": (0.2, 0.7)}, shape=(60, 96, 84), pixel_nm=10.0, slice_nm=10.0, seed=31, oversample=1,
        artefacts={"shine_through": {"decay_nm": 180.0}, "noise": {"electrons": 900.0, "read": 0.015}},
    )  # fmt: skip
    write_slices(run, folder)
    return folder, run.truth


def reconstructed(folder, out, **options):
    return fibtomo.run(folder, out, parse_pipeline(STAGES, "open"), look=False, device="cpu", **options)


def test_walls_from_raw_slices(slices, tmp_path):
    folder, truth = slices
    result = reconstructed(folder, tmp_path / "a", tracked=False)
    labels, phases = np.asarray(result.labels), true_phases(result, truth)
    seen = labels != 255
    assert dice((labels == 1) & seen, (phases > 0) & seen) > 0.95
    share = result.measurements.to_dataframe().query("quantity == 'volume_fraction' and phase == 1")
    off = float(share["value"].iloc[0]) - (phases > 0)[seen].mean()
    assert abs(off) < 0.015
    assert abs(off) < 3 * float(share["uncertainty"].iloc[0])
    table = json.loads((tmp_path / "a" / "run.json").read_text())["tables"]["threshold"]
    assert table["decay"] == pytest.approx(180, rel=0.2)
    assert table["notes"] == []
    assert "Light in pores" in result.report_path.read_text()
    other = reconstructed(folder, tmp_path / "b", tracked=False, workers=1, memory_bytes=90e6)
    np.testing.assert_array_equal(np.asarray(other.labels), labels)


def test_it_wants_the_frame_of_the_specimen_and_an_angle(slices, tmp_path):
    folder, _ = slices
    early = parse_pipeline("stages: [{use: segment.shine_through}]", "t")
    with pytest.raises(fibtomo.errors.FibtomoError, match=r"put it after geometry\.resample"):
        fibtomo.run(folder, tmp_path / "c", early, look=False, device="cpu")
    flat = np.zeros((30, 40, 40), np.uint8)
    late = parse_pipeline("stages: [{use: geometry.resample}, {use: segment.shine_through}]", "t")
    known = {"voxel_nm": (10, 10, 10), "tilt_corrected": True, "tracked": True}
    with pytest.raises(fibtomo.errors.FibtomoError, match="must know where light comes from"):
        fibtomo.plan(flat, late, look=False, device="cpu", **known)


@pytest.mark.parametrize(("voxel_nm", "said"), [(10.0, False), (5.0, True)])
def test_voxels_finer_than_the_slices_are_doubted(voxel_nm, said):
    stage, block = get_stage("segment.shine_through"), grey_stack()
    ctx = StageContext(
        spec_for("grey").with_(voxel_nm=(voxel_nm,) * 3), 0, (0, len(block)), {}, CALIBRATION
    )  # slices of 10 nm
    table = stage.combine([stage.measure(block, stage.params(), ctx)], stage.params(), ctx)
    assert any("set geometry.resample.voxel_nm=10" in note for note in table["notes"]) == said
