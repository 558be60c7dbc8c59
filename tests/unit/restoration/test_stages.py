import numpy as np
import pytest

from fibtomo.core.stage import get_stage
from fibtomo.errors import PipelineError

STAGES = [
    ("intensity.flicker", {"window_slices": 5}),
    ("intensity.shading", {}),
    ("intensity.shading", {"method": "n4"}),
    ("intensity.normalise", {}),
    ("curtain.remove", {}),
    ("curtain.remove", {"method": "wavelet_fft", "angle_deg": 0.0}),
    ("denoise.median", {"size_slices": 5}),
    ("denoise.gaussian", {"sigma_slices": 1.3}),
    ("denoise.nlm", {}),
    ("denoise.nlm", {"reach_slices": 0, "passes": 1}),
    ("denoise.tv", {"iterations": 15}),
    ("denoise.tv", {"iterations": 15, "along_z": 0.0}),
    ("denoise.tv", {"iterations": 5, "residual": 0.8}),
    ("denoise.bilateral", {}),
    ("denoise.bilateral", {"sigma_slices": 0.0}),
]


@pytest.fixture(scope="module")
def volume(make_phases, make_face):
    rng = np.random.default_rng(0)
    phase = make_phases((11, 72, 80), 25, rng)
    grey = np.where(phase, 165.0, 77.0) * (1 + 0.04 * rng.normal(size=11))[:, None, None]
    grey = grey * np.linspace(1, 0.8, 72)[:, None] + 25 * rng.normal(size=80) * (np.arange(11) % 2)[:, None, None]
    return grey + 6 * rng.normal(size=phase.shape)


@pytest.mark.parametrize(("name", "params"), STAGES)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_slabs_of_any_thickness_give_the_same(volume, staged, name, params, dtype):
    seen = np.clip(volume, 0, 255).astype(dtype)
    before = seen.copy()
    whole = staged(name, seen, [11], **params)
    assert whole.shape == seen.shape
    assert np.any(whole != seen)
    for slabs in ([1] * 11, [4, 4, 3], [2, 9]):
        np.testing.assert_allclose(staged(name, seen, slabs, **params), whole, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(seen, before)


@pytest.mark.parametrize("name", sorted({name for name, _ in STAGES}))
def test_parameters_are_documented_and_round_trip(name):
    import yaml

    stage = get_stage(name)
    assert stage.summary.endswith(".")
    assert all(field.description for field in stage.params.model_fields.values())
    values = stage.params().model_dump()
    assert stage.params(**yaml.safe_load(yaml.safe_dump(values))) == stage.params()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("denoise.median", {"size_px": 4}),
        ("curtain.remove", {"angle_deg": 60}),
        ("curtain.remove", {"angle_deg": (0, 60)}),
        ("curtain.remove", {"angle_deg": "steep"}),
        ("curtain.remove", {"angle_deg": (0, 1, 2)}),
        ("intensity.shading", {"method": "flat"}),
        ("denoise.tv", {"iterations": 0}),
    ],
)
def test_wrong_parameters_are_refused(name, values):
    with pytest.raises(PipelineError, match=next(iter(values))):
        get_stage(name).params.parse(values, name)
