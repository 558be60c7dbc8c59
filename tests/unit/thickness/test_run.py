"""A whole run with estimated thickness: one resample at the true positions, and the same positions in every output."""

import csv
import json

import numpy as np
import pytest

import fibtomo
from fibtomo.ops.thickness import estimate_thickness
from fibtomo.phantom import acquire
from fibtomo.pipeline.config import parse_pipeline

PIPELINE = """
schema: 1
summary: Thickness.
stages:
  - use: drift.estimate
  - use: thickness.estimate
  - use: geometry.resample
"""


def positions_of(out):
    lines = [line for line in (out / "drift.csv").read_text().splitlines() if not line.startswith("#")]
    return np.array([float(row["z_nm"]) for row in csv.DictReader(lines)])


def test_positions_in_all_outputs(cut, irregular_steps, tmp_path):
    made = cut(irregular_steps(60, 0), 0, radius_px=3.5, shift_px=2)
    stack = fibtomo.open_stack(made.slices, voxel_nm=(10.0, 20 / 3, 20 / 3), column_angle_deg=90.0)
    config = parse_pipeline(PIPELINE, "thickness")
    fibtomo.run(stack, tmp_path / "out", config, device="cpu")
    z = positions_of(tmp_path / "out")
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    np.testing.assert_allclose(record["tables"]["thickness"]["slice_z_nm"], z)
    grid = record["tables"]["grid"]
    np.testing.assert_allclose(np.array(grid["z_index"]) * record["volume"]["voxel_nm"][0], z, atol=1e-6)
    assert np.corrcoef(np.diff(z), made.steps)[0, 1] > 0.7
    assert "Slice thickness" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


SPECIMENS = [
    {"kind": "nanoporous_metal", "wavelength_nm": 90.0},
    {"kind": "nanoporous_metal", "wavelength_nm": 130.0},
    {"kind": "particles", "radius_nm": 60.0, "spread": 0.2},
]
REMAINS = [0.4, 0.7, 0.85]
"""Error of positions over that of constant spacing: coarse structure and few particles feign the slow part."""
ARTEFACTS = {"drift": True, "jitter": True, "curtains": True, "defocus": True, "flicker": True, "noise": True} | {
    "shading": True
}


@pytest.mark.slow
@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize(
    ("specimen", "remains"), [*zip(SPECIMENS, REMAINS, strict=True)], ids=["fine", "coarse", "particles"]
)
def test_acceptance_without_ruler(specimen, remains, tracked):
    """σ(dz)/dz = 15 %: cumulative z within one slice and nearer than constant spacing; even slices stay even."""
    away, constant = [], []
    for seed in (0, 1):
        run = acquire(
            {**specimen, "seed": seed},
            shape=(120, 256, 256),
            seed=seed,
            tracked=tracked,
            artefacts=ARTEFACTS | {"thickness": True},
        )
        found = estimate_thickness(run.slices, fibtomo.estimate_drift(run.slices), nominal_nm=10.0)
        z = run.truth.slice_z_nm / run.truth.slice_z_nm[-1] * 119
        away.append(found.slice_z_nm / found.slice_z_nm[-1] * 119 - z)
        constant.append(np.arange(120) - z)
    assert np.sqrt(np.mean(np.square(away))) < 1.0
    assert np.sqrt(np.mean(np.square(away))) < remains * np.sqrt(np.mean(np.square(constant)))
    even = acquire({**specimen, "seed": 5}, shape=(100, 256, 256), seed=5, tracked=tracked, artefacts=ARTEFACTS)
    found = estimate_thickness(even.slices, fibtomo.estimate_drift(even.slices), nominal_nm=10.0)
    assert np.sqrt(np.mean((found.step_nm / 10.0 - 1) ** 2)) < 0.03


@pytest.mark.slow
@pytest.mark.parametrize("tracked", [True, False])
def test_acceptance_with_ruler(tracked):
    """Every slice within 20 %, with a chevron in the protective layer."""
    surface, rows = (500.0, 208) if tracked else (1100.0, 288)
    specimen = {"kind": "capped", "surface_nm": surface, "chevron_gap_nm": 1500.0, "chevron_at_nm": 1120.0}
    specimen |= {"mark_width_nm": 50.0, "mark_slope": 0.5}
    run = acquire(
        specimen,
        shape=(100, rows, 448),
        seed=3,
        tracked=tracked,
        oversample=5,
        artefacts=ARTEFACTS | {"thickness": True},
    )
    roi = (10, 60, 20, 428) if tracked else (135, 158, 20, 428)
    found = estimate_thickness(
        run.slices,
        fibtomo.estimate_drift(run.slices),
        nominal_nm=10.0,
        marks_roi=roi,
        marks_slope=1.0,
        pixel_nm=5.0,
    )
    true = np.diff(run.truth.slice_z_nm)
    assert np.sqrt(np.mean(((found.step_nm - true) / true) ** 2)) < 0.1
    assert np.sqrt(np.mean((found.slice_z_nm - run.truth.slice_z_nm) ** 2)) < 1.0


@pytest.mark.slow
def test_missing_slices_are_found():
    """Recall of gaps ≥ 90 %, hardly any false one."""
    gaps = hits = wrong = 0
    for seed in (6, 8, 11):
        run = acquire(
            {"kind": "nanoporous_metal", "wavelength_nm": 100.0, "seed": seed},
            shape=(200, 224, 224),
            seed=seed,
            artefacts=ARTEFACTS | {"thickness": {"white": 0.12}, "bad_slices": {"missing": 0.04, "truncated": 0.0}},
        )
        drift = fibtomo.estimate_drift(run.slices)
        found = {*estimate_thickness(run.slices, drift, nominal_nm=10.0).missing_before}
        beside_bad = {k + d for k in drift.bad_slices for d in (0, 1)}
        true = {*run.truth.missing_before} - beside_bad
        gaps, hits, wrong = gaps + len(true), hits + len(true & found), wrong + len(found - {*run.truth.missing_before})
    assert gaps >= 15
    assert hits >= 0.9 * gaps
    assert wrong <= 1
