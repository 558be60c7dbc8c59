import json

import numpy as np
import pytest

from fibtomo.core.measurements import COLUMNS, Measurements
from fibtomo.core.volume import OUTSIDE
from fibtomo.errors import InputError
from fibtomo.ops.morphometry import measure

AREA = {"P": 2.35257, "gyroid": 3.09165, "diamond": 3.83802}
EULER = {"P": -2, "gyroid": -4, "diamond": -8}


@pytest.mark.parametrize(("voxel", "tolerance"), [((1.0, 1.0, 1.0), 0.005), ((2.0, 1.0, 1.0), 0.01)])
def test_sphere_of_radius_20(ball, voxel, tolerance):
    radius, ratios = 20.0, []
    for seed in range(8):
        labels = (ball(radius, voxel, seed) > 0).astype(np.uint8)
        m = measure(labels, voxel)
        cells = np.prod([n - 1 for n in labels.shape]) * np.prod(voxel)
        ratios.append(m.get("surface_density", 1) * cells / (4 * np.pi * radius**2))
        assert m.get("surface_density", 0) == pytest.approx(m.get("surface_density", 1))
        for name in ("euler_density", "euler_density_6", "euler_density_26"):
            assert m.get(name, 1) * cells == pytest.approx(1.0)
        volume = m.get("volume_fraction", 1) * labels.size * np.prod(voxel)
        assert volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.005)
    assert np.mean(ratios) == pytest.approx(1.0, abs=tolerance / 2)
    assert np.max(np.abs(np.array(ratios) - 1)) < tolerance


@pytest.mark.parametrize("kind", EULER)
@pytest.mark.parametrize("level", [0.013, 0.2])
def test_triply_periodic_surfaces_have_their_exact_euler_number(tpms, kind, level):
    n = 48
    labels = (tpms(kind, n) > level).astype(np.uint8)
    m = measure(labels, None)
    for phase in (0, 1):
        for name in ("euler_density", "euler_density_6", "euler_density_26"):
            assert m.get(name, phase) * n**3 == pytest.approx(EULER[kind])
        for axis in "xyz":
            assert m.get(f"percolates_{axis}", phase) == 1
    if level < 0.1:
        assert m.get("surface_density", 1) * n == pytest.approx(AREA[kind], rel=0.015)


def test_gaussian_field_surface_and_euler_number(gaussian_field):
    sigma, level = 3.0, 0.5
    second = 1 / (2 * sigma**2)
    surface = 2 / np.pi * np.sqrt(second) * np.exp(-(level**2) / 2)
    euler = second**1.5 / (4 * np.pi**2) * (level**2 - 1) * np.exp(-(level**2) / 2)
    found = [measure((gaussian_field((96, 96, 96), sigma, seed) > level).astype(np.uint8), 5.0) for seed in (0, 1)]
    assert np.mean([m.get("surface_density", 1) for m in found]) == pytest.approx(surface / 5, rel=0.015)
    assert np.mean([m.get("euler_density", 1) for m in found]) == pytest.approx(euler / 125, rel=0.15)
    for m in found:
        chord = 4 * m.get("volume_fraction", 1) / m.get("surface_density", 1)
        assert m.get("mean_chord", 1) == pytest.approx(chord)


def test_standard_errors_match_the_scatter_of_realisations(gaussian_field):
    fields = [gaussian_field((160, 64, 64), 2.5, seed)[:64] > 0.3 for seed in range(12)]
    rows = [{r["quantity"]: r for r in measure(f, None).rows if r["phase"] == 1} for f in fields]
    for quantity in ("volume_fraction", "surface_density", "mean_chord"):
        scatter = np.std([r[quantity]["value"] for r in rows], ddof=1)
        claimed = np.mean([r[quantity]["uncertainty"] for r in rows])
        assert 0.55 < claimed / scatter < 2.2, quantity


def test_electrode_of_taufactor_has_its_published_numbers(shared_data):
    import tifffile

    labels = tifffile.imread(shared_data / "segmented" / "taufactor_electrode.tiff")
    m = measure(labels, 390.625)
    for phase, fraction in {0: 0.44992, 85: 0.40047, 170: 0.14962}.items():
        assert m.get("volume_fraction", phase) == pytest.approx(fraction, abs=5e-6)
    assert m.get("percolating_fraction_x", 0) == pytest.approx(0.9989, abs=5e-5)
    faces = {0: 785502, 85: 374028, 170: 876099}
    for phase, per_m in faces.items():
        assert 0.55 < m.get("surface_density", phase) * 1e9 / per_m < 0.75
    parts = m.get("interface_density", "0|85") + m.get("interface_density", "0|170")
    assert parts == pytest.approx(m.get("surface_density", 0))


def test_laminate_percolates_along_its_layers_only():
    labels = np.zeros((12, 12, 12), dtype=np.uint8)
    labels[:, 3:6] = labels[:, 9:] = 1
    m = measure(labels, (3.0, 2.0, 1.0))
    assert [m.get(f"percolates_{a}", 1) for a in "xyz"] == [1, 0, 1]
    assert [m.get(f"percolating_fraction_{a}", 0) for a in "xyz"] == [1, 0, 1]
    assert m.get("components", 1) == 2
    assert m.get("largest_component_fraction", 1) == 0.5


def test_percolation_needs_the_stated_connectivity():
    labels = np.zeros((6, 6, 6), dtype=np.uint8)
    labels[np.arange(6), np.arange(6), np.arange(6)] = 1
    assert measure(labels, 1.0).get("percolates_z", 1) == 0
    assert measure(labels, 1.0, connectivity=26).get("percolates_z", 1) == 1


def test_outside_counts_for_nothing(gaussian_field):
    inner = (gaussian_field((20, 30, 36), 2.0, 3) > 0).astype(np.uint8)
    framed = np.full((20, 38, 40), OUTSIDE, dtype=np.uint8)
    framed[:, 5:35, 2:38] = inner
    a, b = measure(inner, 4.0), measure(framed, 4.0)
    for row in a.rows:
        assert b.get(row["quantity"], row["phase"]) == pytest.approx(row["value"])


def test_a_drifting_field_of_view_still_percolates():
    labels = np.full((10, 12, 30), OUTSIDE, dtype=np.uint8)
    for k in range(10):
        labels[k, :, k : k + 20] = 1
    m = measure(labels, 1.0)
    assert [m.get(f"percolates_{a}", 1) for a in "xyz"] == [1, 1, 1]


@pytest.mark.parametrize("shape", [(1, 6, 7), (5, 1, 1), (6, 6, 6)])
def test_degenerate_volumes(shape):
    full = measure(np.ones(shape, dtype=bool), 2.0)
    assert full.get("volume_fraction", 1) == 1
    assert full.get("surface_density", 1) == 0
    assert np.isnan(full.get("mean_chord", 1))
    assert measure(np.full(shape, OUTSIDE, dtype=np.uint8), 2.0).rows == []


def test_units_follow_the_calibration():
    labels = np.zeros((6, 6, 6), dtype=np.uint8)
    labels[2:4, 2:4, 2:4] = 1
    calibrated, plain = measure(labels, 10.0).to_dataframe(), measure(labels, None).to_dataframe()
    assert list(calibrated) == list(COLUMNS)
    assert set(calibrated.unit) == {"1", "nm", "nm^-1", "nm^-3"}
    assert set(plain.unit) == {"1", "voxel", "voxel^-1", "voxel^-3"}
    ratio = calibrated.value[calibrated.unit == "nm^-3"] / plain.value[plain.unit == "voxel^-3"]
    assert np.allclose(ratio.dropna(), 1e-3)


def test_wrong_labels_are_refused():
    for labels, match in [
        (np.zeros((2, 2, 2)), "integers"),
        (np.zeros((2, 2), dtype=np.uint8), "three axes"),
        (np.full((2, 2, 2), 1000), "0 to 254"),
    ]:
        with pytest.raises(InputError, match=match):
            measure(labels, 1.0)
    with pytest.raises(InputError, match="voxel_nm"):
        measure(np.zeros((2, 2, 2), dtype=np.uint8), -1.0)


def test_stage_gives_the_same_rows_in_every_cut(gaussian_field, run_stage):
    phases = np.digitize(gaussian_field((27, 40, 44), 2.0, 4), [-0.3, 0.5]).astype(np.uint8)
    phases[:, :5] = phases[20:, 30:] = OUTSIDE
    phases[:9][phases[:9] == 2] = 0
    _, whole = run_stage("measure.phases", phases, 27)
    assert measure(phases, (2.0, 1.0, 1.0)).rows == whole["rows"]
    for thickness in (16, 9, 4, 1):
        _, part = run_stage("measure.phases", phases, thickness)
        assert part["rows"] == whole["rows"]


def test_threshold_error_enters_the_fraction_and_absent_phases_are_listed(run_stage):
    labels = np.zeros((4, 16, 16), dtype=np.uint8)
    labels[:, 8:] = 1
    threshold = {"threshold": {"classes": 3, "fraction_sigma": [0.02, 0.02, 0.0]}}
    _, table = run_stage("measure.phases", labels, 3, tables=threshold)
    m = Measurements.from_table(table)
    assert m.get("volume_fraction", 2) == 0
    row = next(r for r in m.rows if r["quantity"] == "volume_fraction" and r["phase"] == 0)
    assert row["uncertainty"] > 0.02
    assert "threshold" in row["definition"]


def test_measurements_are_written_and_found(tmp_path):
    labels = np.zeros((5, 8, 8), dtype=np.uint8)
    labels[1:3, 1:3, 1:3] = labels[4, 6:, 6:] = 1
    m = measure(labels, 2.0, objects_phase=1)
    assert list(m.objects["voxels"]) == [8, 4]
    m.to_csv(tmp_path / "m.csv")
    m.to_json(tmp_path / "m.json")
    document = json.loads((tmp_path / "m.json").read_text())
    assert len(document["rows"]) == len(m.rows) == len((tmp_path / "m.csv").read_text().splitlines()) - 1
    assert document["objects"]["voxels"] == [8, 4]
    assert measure(labels, 2.0).objects is None
    with pytest.raises(InputError, match="volume_fraction"):
        m.get("tortuosity", 1)
