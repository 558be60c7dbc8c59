"""Shipped pipelines: a bare specimen stays whole, what surrounds one is not measured."""

import numpy as np
import pytest
from virtual_faces import acquired

import fibtomo
from fibtomo.core.grid import ResampleGrid
from fibtomo.pipeline.config import load_pipeline, pipelines
from fibtomo.pipeline.sections import build_sections


@pytest.mark.parametrize("name", pipelines())
def test_every_shipped_pipeline_looks_for_the_face_in_the_pass_of_the_drift(name):
    measured = [[m.name for m in s.measures] for s in build_sections(load_pipeline(name))]
    assert ["drift.estimate", "face.find", "drift.anchor"] in measured
    used = next(c for c in load_pipeline(name).calls if c.name == "face.find")
    assert used.params.crop == ("off" if name == "drift-only" else "auto")


def default_run(acquisition, out, *settings):
    geometry = acquisition.truth.geometry
    stack = fibtomo.open_stack(
        acquisition.slices,
        voxel_nm=geometry.voxel_nm,
        column_angle_deg=52.0,
        tilt_corrected=geometry.tilt_corrected,
        tracked=geometry.tracked,
    )
    plain = ("mesh.surface=off", "label.components=off", *settings)
    result = fibtomo.run(stack, out, load_pipeline("default").with_settings(list(plain)))
    return result, np.asarray(result.volume), np.asarray(result.labels)


def true_phase(acquisition, result, shape):
    """Phase of the specimen at the voxels of a result."""
    placed = result.provenance["tables"]["grid"]
    grid = ResampleGrid(
        shape,
        result.provenance["volume"]["voxel_nm"],
        *(np.asarray(placed[name]) for name in ("z_index", "row_scale", "col_scale", "row_start", "col_start")),
        source_shape=acquisition.slices.shape[1:],
        usable=np.ones(len(acquisition.slices), bool),
    )
    return acquisition.truth.phase_at(grid)


@pytest.mark.parametrize(
    ("name", "tracked"),
    [
        ("metal", True),
        pytest.param("metal", False, marks=pytest.mark.slow),
        *(pytest.param(n, t, marks=pytest.mark.slow) for n in ("grains", "particles", "layers") for t in (True, False)),
    ],
)
def test_default_run_of_a_bare_specimen_is_the_same_with_and_without(tmp_path, name, tracked):
    run = acquired(name, 0, (24, 160, 192), tracked, artefacts="typical")
    _, auto, phases = default_run(run, tmp_path / "auto")
    _, off, phases_off = default_run(run, tmp_path / "off", "face.find.crop=off")
    np.testing.assert_array_equal(auto, off)
    np.testing.assert_array_equal(phases, phases_off)


@pytest.mark.parametrize(
    ("name", "tracked", "seed"),
    [
        ("all round", True, 0),
        *(
            pytest.param(n, t, s, marks=pytest.mark.slow)
            for n in ("bright", "dark", "wavy")
            for t in (True, False)
            for s in (1, 2)
        ),
    ],
)
def test_default_run_measures_the_specimen_and_nothing_beside_it(tmp_path, name, tracked, seed):
    run = acquired(name, seed, (24, 192, 192), tracked)
    result, volume, phases = default_run(run, tmp_path / "out")
    truth = true_phase(run, result, volume.shape)
    assert (truth > 1).mean() < 1e-3
    solid, true_solid = phases == 1, truth == 1
    assert (
        2 * (solid & true_solid).sum() / (solid.sum() + true_solid.sum()) > 0.9
    )  # the rest is drift: few slices, far apart
    assert solid.mean() == pytest.approx(true_solid.mean(), abs=0.015)
