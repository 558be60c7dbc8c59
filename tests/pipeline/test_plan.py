"""Cutting pipelines into sections and slabs."""

import numpy as np
import pytest
from stage_fixtures import CALIBRATION

from fibtomo.core.volume import VolumeSpec
from fibtomo.errors import CalibrationError, DeviceMemoryError, PipelineError
from fibtomo.pipeline.budget import Machine, Memory, slab_thickness
from fibtomo.pipeline.config import load_pipeline, parse_pipeline
from fibtomo.pipeline.plan import halo_of, make_plan
from fibtomo.pipeline.sections import build_sections

RAW = VolumeSpec((200, 1024, 1024), "uint8", (10.0, 5.0, 5.0))


def sections(*names):
    lines = "\n".join(
        f"  - {{use: {n}, with: {{size_slices: 3}}}}" if "median" in n else f"  - use: {n}" for n in names
    )
    return build_sections(parse_pipeline(f"stages:\n{lines}", "t"))


def test_local_stages_share_one_pass():
    made = sections("denoise.gaussian", "denoise.median", "denoise.gaussian")
    assert len(made) == 1
    assert [c.name for c in made[0].local] == ["denoise.gaussian", "denoise.median", "denoise.gaussian"]


def test_halos_add_up():
    one = halo_of(sections("denoise.median")[0], RAW).local
    two = halo_of(sections("denoise.median", "denoise.median")[0], RAW).local
    assert one[0] > 0
    assert two == (2 * one[0], 2 * one[1])


def test_measuring_happens_where_the_data_are_written():
    made = sections("curtain.remove", "drift.estimate", "geometry.resample", "segment.otsu")
    assert [m.name for s in made for m in s.measures if m.name == "drift.estimate"]
    resample = next(s for s in made if s.warp)
    assert [m.name for m in resample.measures] == ["segment.otsu"]
    assert resample.output == "volume.ome.zarr/0"
    assert made[-1].output == "volume.ome.zarr/labels/phases/0"
    assert made[-1].source == "volume.ome.zarr/0"


def test_measures_of_one_volume_share_one_pass():
    made = sections("segment.otsu", "measure.phases", "mesh.surface", "label.components")
    together = next(s for s in made if len(s.measures) == 3)
    assert [m.name for m in together.measures] == ["measure.phases", "mesh.surface", "label.components"]


def test_a_resample_starts_another_grid():
    made = sections("drift.estimate", "geometry.resample", "denoise.gaussian", "segment.otsu")
    assert [s.grid for s in made] == [0, 1, 1]


@pytest.mark.parametrize(
    ("names", "word"),
    [(["measure.phases"], "phases"), (["drift.estimate", "drift.estimate"], "drift"), (["label.components"], "phases")],
)
def test_what_cannot_be_planned_is_refused(names, word):
    with pytest.raises(PipelineError, match=word):
        sections(*names)


def test_slab_fits_the_budget():
    memory = Memory(per_slice=10e6, fixed=0.0, halo=(2, 2))
    slab = slab_thickness([memory], 1000, Machine(1e9, 2), "x")
    assert memory.bytes_for(slab) * 2 <= 1e9
    assert slab & (slab - 1) == 0


def test_fewer_blocks_at_once_rather_than_slabs_of_halo():
    memory = Memory(per_slice=100e6, fixed=0.0, halo=(3, 4))
    slab = slab_thickness([memory], 1000, Machine(2.0e9, 2), "x")
    assert slab == 8
    assert Machine(2.0e9, 2).at_once(memory, slab) == 1


def test_too_small_a_budget_is_named():
    with pytest.raises(DeviceMemoryError, match="--memory"):
        slab_thickness([Memory(1e9, 0.0, (1, 1))], 100, Machine(1e9, 2), "the raw stack")


def test_plan_of_the_default_pipeline():
    plan = make_plan(load_pipeline("default"), RAW, CALIBRATION, Machine(1 << 30, 2))
    assert all(p.peak_bytes <= (1 << 30) for p in plan.sections)
    slabs = {p.section.grid: {q.slab for q in plan.sections if q.section.grid == p.section.grid} for p in plan.sections}
    assert all(len(s) == 1 for s in slabs.values())
    shape = next(p.out.shape for p in plan.sections if p.section.warp)
    assert shape[0] == 199 * 2 + 1
    assert shape[1] == int(np.floor(1023 / np.sin(np.radians(52)) + 1e-6)) + 1


def test_plan_asks_for_what_it_must_know():
    from fibtomo.core.volume import Calibration

    with pytest.raises(CalibrationError, match="--voxel-nm"):
        make_plan(load_pipeline("default"), RAW, Calibration(), Machine(1 << 30, 2))


def test_a_wide_halo_is_read_again_and_counted_at_what_it_takes():
    """Splitting objects on 2048² slices fits into 2 GB, whatever segments them."""
    made = sections("segment.otsu", "measure.phases", "label.watershed")
    assert [s.title for s in made] == [
        "segment.otsu (measure)", "segment.otsu + measure.phases", "label.watershed (measure)", "label.watershed",
    ]  # fmt: skip
    raw = VolumeSpec((500, 2048, 2048), "uint8", (5.0, 5.0, 5.0))
    stages = "stages: [{use: segment.otsu}, {use: measure.phases}, {use: label.watershed}]"
    plan = make_plan(parse_pipeline(stages, "t"), raw, CALIBRATION, Machine(2e9, 1))
    assert plan.sections[-1].halo == plan.sections[-2].halo == (32, 32)
    assert all(0 < s.peak_bytes <= 2e9 for s in plan.sections)


def test_blocks_share_a_device():
    """`IN_FLIGHT` have their temporaries there; any number is read and written as main memory allows."""
    memory = Memory(per_slice=1.0, fixed=0.0, halo=(1, 1), stages=((9.0, 18.0),))
    kept, whole = memory.kept_for(8), memory.bytes_for(8)
    assert (kept, whole) == (10, 100)
    assert Machine(300, 5, device=True).at_once(memory, 8) == 5
    assert Machine(299, 5, device=True).at_once(memory, 8) == 2
    assert Machine(299, 1, device=True).at_once(memory, 8) == 1
    assert Machine(99, 5, device=True).at_once(memory, 8) == 0
    assert Machine(300, 5, device=True, host_budget=30).at_once(memory, 8) == 3
    assert Machine(300, 5, device=True).peak_bytes(memory, 8, 5) == 300
    assert Machine(120, 5).at_once(memory, 8) == 1
