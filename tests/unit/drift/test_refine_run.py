"""`drift.refine` in a run: the resample reads the slices where refinement found them."""

import tracemalloc

import numpy as np
import pytest
import tifffile
from scipy.ndimage import map_coordinates

import fibtomo
from fibtomo.core.drift import Drift
from fibtomo.core.stage import StageContext, get_stage
from fibtomo.core.volume import VolumeSpec

N, ODD = 7, 3
FACTS = {"voxel_nm": (5, 5, 5), "column_angle_deg": 90, "tilt_corrected": True, "tracked": True}
STAGES = """schema: 1
summary: Refinement of an alignment made before.
stages:
  - use: drift.import
    with: {{path: {drift}}}
  - use: drift.refine
    with: {{model: affine}}
  - use: geometry.resample
    with: {{crop: all}}
"""


@pytest.fixture(scope="module")
def slices(lab):
    """The same image seven times; one is recorded 2 px lower and 0.4 % wider than the others."""
    image = lab.Waves(1, shape=(192, 192), waves=60).stack(np.zeros((1, 2)), noise=0.02)[0]
    stack = np.repeat(image[None], N, axis=0).astype(float)
    row, col = np.meshgrid(np.arange(192.0), np.arange(192.0), indexing="ij")
    stack[ODD] = map_coordinates(stack[0], [row - 2, 95.5 + (col - 95.5) / 1.004], order=3, mode="nearest")
    noise = np.random.default_rng(0).normal(0, 4, stack.shape)
    return np.clip(np.rint(stack + noise), 0, 255).astype(np.uint8)


def test_the_resample_uses_what_refinement_found(slices, tmp_path):
    tifffile.imwrite(tmp_path / "stack.ome.tif", slices, metadata={"axes": "ZYX"})
    Drift.identity(N).save(tmp_path / "drift.csv")
    path = tmp_path / "refined.yaml"
    path.write_text(STAGES.format(drift=tmp_path / "drift.csv"))
    run = fibtomo.run(tmp_path / "stack.ome.tif", tmp_path / "out", path, memory_bytes=2e8, **FACTS)
    volume = run.volume.compute()
    before, after = (np.std((v[ODD] - v[ODD - 2].astype(float))[20:170, 15:175]) for v in (slices, volume))
    assert after < 0.6 * before
    report = (tmp_path / "out" / "report.html").read_text()
    assert "Refined against the neighbouring slices, by 2." in report


def test_declared_memory_covers_the_measured():
    stage = get_stage("drift.refine")
    shape = (5, 320, 320)
    params, spec = stage.params(), VolumeSpec(shape, "uint8")
    block = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    stage.measure(block[:, :160, :160], params, StageContext(VolumeSpec((5, 160, 160), "uint8"), 0, (2, 3)))
    tracemalloc.start()
    stage.measure(block, params, StageContext(spec, 0, (1, 4)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    declared = stage.needs(params, spec).bytes_per_voxel * block.size
    assert 0.3 * declared < peak < declared
