"""Stages from grey volumes to labels, objects, numbers and surfaces give on the device what they give on the host."""

import numpy as np
import pytest
import strict_cupy
from scipy.ndimage import gaussian_filter

from fibtomo.core.stage import StageContext, get_stage
from fibtomo.core.volume import OUTSIDE, VolumeSpec
from fibtomo.ops.clean import clean_phases
from fibtomo.ops.labels import label_objects
from fibtomo.ops.morphometry import measure
from fibtomo.ops.random_walker import segment_random_walker
from fibtomo.ops.segmentation import segment
from fibtomo.ops.smooth_phases import smooth_phases
from fibtomo.ops.surface import extract_surface
from fibtomo.ops.watershed import watershed_from_markers

SHAPE = (12, 30, 41)
HALF = (0, 6), (6, 12)
BOXES = np.array([[2 + k % 3, 28, 1, 38 - k] for k in range(12)])
SPANS = np.sort(np.random.default_rng(1).integers(0, 42, (12, 30, 2)), axis=2)


def grey(dtype: str) -> np.ndarray:
    field = gaussian_filter(np.random.default_rng(0).standard_normal(SHAPE), 1.5)
    volume = np.clip(120 + 300 * field, 0, 255).astype(dtype)
    if dtype == "float32":
        volume[:, :2] = np.nan
    return volume


@pytest.fixture(scope="module")
def phases() -> np.ndarray:
    labels = np.digitize(grey("uint8"), [110, 135]).astype(np.uint8)
    labels[:, :3] = labels[:4, :, 38:] = OUTSIDE
    return labels


@pytest.fixture
def card(harness):
    with strict_cupy.installed() as cupy:
        yield cupy


def run(put, name: str, volume: np.ndarray, tables: dict, **params):
    """Measure in two slabs, combine, apply to both."""
    stage = get_stage(name)
    spec, p = VolumeSpec(SHAPE, volume.dtype.name, (2.0, 1.0, 1.0), kind=stage.consumes), stage.params(**params)
    needs = stage.needs(p, spec)

    def cut(start, stop, before, after):
        a, b = max(0, start - before), min(len(volume), stop + after)
        return put(volume[a:b]), p, StageContext(spec, a, (start - a, stop - a), tables)

    table = stage.combine(
        [stage.measure(*cut(*half, *needs.measure_halo)) for half in HALF], p, StageContext(spec, 0, (0, 12), tables)
    )
    tables = {**tables, stage.produces: table}
    return table, [] if stage.apply is None else [stage.apply(*cut(*half, *needs.halo)) for half in HALF]


def agree(found, expected, name: str) -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            agree(found[key], value, f"{name} {key}")
    elif isinstance(expected, list) and expected and isinstance(expected[0], dict):
        for a, b in zip(found, expected, strict=True):
            agree(a, b, name)
    elif isinstance(expected, str) or expected is None:
        assert found == expected
    elif not (isinstance(expected, list) and any(isinstance(v, str) for v in expected)):
        assert isinstance(found, type(expected)), name
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12, err_msg=name)


CASES = [
    ("label.components", {"phase": 1}),
    ("label.components", {"connectivity": 26}),
    ("label.watershed", {"phase": 1, "largest_nm": 3.0}),
    ("phases.clean", {"min_volume_nm3": [40.0], "fill_holes": "enclosed", "fill_phases": [1]}),
    ("phases.clean", {"min_diameter_nm": [0.0, 5.0, 3.0], "fill_holes": "slice", "fill_phases": [2]}),
    ("phases.smooth", {"sigma_nm": 1.5}),
    ("measure.phases", {"connectivity": 18}),
    ("mesh.surface", {"bin_factor": 2}),
    ("mesh.surface", {"phase": 1, "smooth_px": 0.0}),
]


@pytest.mark.parametrize(("name", "params"), CASES)
def test_stages_on_phases(card, phases, name, params):
    expected, host = run(lambda a: a.copy(), name, phases, {"threshold": {"classes": 3}}, **params)
    found, device = run(card.asarray, name, phases, {"threshold": {"classes": 3}}, **params)
    whole = {k: v for k, v in expected.items() if k not in {"lut", "offsets"}}  # local numbers are the place's own
    agree({k: found[k] for k in whole}, whole, name)
    for a, b in zip(device, host, strict=True):
        np.testing.assert_array_equal(a.get(), b)


def test_functions_of_objects_keep_the_kind_of_array(card, phases):
    mask, volume = phases == 1, grey("uint8")
    made = [
        (label_objects, (mask,), {"split": "watershed", "voxel_nm": 2.0}),
        (clean_phases, (phases, 2.0), {"min_volume_nm3": 60.0}),
        (smooth_phases, (phases, 2.0), {}),
        (segment_random_walker, (volume,), {}),
        (watershed_from_markers, (volume, label_objects(mask)), {}),
    ]
    for function, arrays, given in made:
        found = function(*(card.asarray(a) if isinstance(a, np.ndarray) else a for a in arrays), **given)
        assert isinstance(found, card.ndarray), function
        np.testing.assert_array_equal(found.get(), function(*arrays, **given))


@pytest.mark.parametrize("seen", [{}, {"boxes": BOXES}, {"boxes": BOXES, "spans": SPANS}])
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("segment.otsu", {}),
        ("segment.multi_otsu", {"classes": 3, "smooth_px": 1.0}),
        ("segment.threshold", {"levels": (100.0, 140.0)}),
        ("segment.hysteresis", {}),
    ],
)
def test_segmentation(card, name, params, seen):
    for dtype in ("uint8", "float32"):
        tables = {"valid": seen} if seen else {}
        expected, host = run(lambda a: a.copy(), name, grey(dtype), tables, **params)
        found, device = run(card.asarray, name, grey(dtype), tables, **params)
        agree(found, expected, name)
        for a, b in zip(device, host, strict=True):
            np.testing.assert_array_equal(a.get(), b)


def test_public_functions_stay_on_the_device(card, phases):
    volume, labels = grey("uint8"), card.asarray(phases)
    np.testing.assert_array_equal(segment(card.asarray(volume), classes=3).get(), segment(volume, classes=3))
    before = strict_cupy.card().to_host_bytes
    objects = label_objects(labels == 1)
    assert strict_cupy.card().to_host_bytes == before
    np.testing.assert_array_equal(objects.get(), label_objects(phases == 1))
    numbers, expected = measure(labels, 5.0, objects_phase=1), measure(phases, 5.0, objects_phase=1)
    agree(numbers.rows, expected.rows, "rows")
    assert all(np.array_equal(numbers.objects[c], expected.objects[c], equal_nan=True) for c in expected.objects)
    for given in ({}, {"level": 1.5, "smooth_px": 0.5}):
        mesh, same = extract_surface(labels, 5.0, **given), extract_surface(phases, 5.0, **given)
        np.testing.assert_array_equal(mesh.faces, same.faces)
        np.testing.assert_array_equal(mesh.vertices, same.vertices)


def test_few_things_cross_for_each_slab(card, phases):
    labels = card.asarray(phases)
    before = strict_cupy.card().counts["to_host"]
    measure(labels, 5.0)
    assert strict_cupy.card().counts["to_host"] - before <= 16
