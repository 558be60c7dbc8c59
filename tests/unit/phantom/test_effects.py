"""Every artefact of the image does what it says, and nothing when off."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from fibtomo.errors import InputError, PipelineError
from fibtomo.phantom import Artefacts, acquire
from fibtomo.phantom.artefacts import Charging, EdgeRim, Noise, Shading
from fibtomo.phantom.capped import Capped
from fibtomo.phantom.effects import charge, detect, edge_rim, shade, shine_through
from fibtomo.phantom.microscope import image
from fibtomo.phantom.specimens import Layered, LevelSpecimen, Tpms

UNIFORM = Layered(greys=(0.5,), thickness_nm=(50.0,))


@dataclass(frozen=True)
class Wall(LevelSpecimen):
    """Solid deeper than `depth_nm` and below `edge_nm`."""

    kind: ClassVar[str] = "wall"
    depth_nm: float = 100.0
    edge_nm: float = -1e6

    def level(self, z_nm, y_nm, x_nm):
        level = np.minimum(np.subtract(z_nm, self.depth_nm), np.subtract(y_nm, self.edge_nm))
        return np.broadcast_to(level, np.broadcast_shapes(level.shape, np.shape(x_nm))).astype(float)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_without_artefacts_the_image_is_ideal(dtype):
    run = acquire(shape=(3, 40, 48), artefacts="none", dtype=dtype)
    ideal = np.stack([run.truth.slice_ideal(k) for k in range(3)])
    white = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    expected = ideal.astype(np.float32) if dtype == "float32" else np.rint(ideal * white).astype(dtype)
    assert np.array_equal(run.slices, expected)


def test_pixels_average_their_samples():
    fine = acquire(Tpms(period_nm=90), shape=(1, 24, 24), artefacts="none", oversample=4).truth
    samples = fine.slice_samples(0)
    assert fine.slice_ideal(0)[5, 7] == pytest.approx(np.asarray(fine.specimen.greys)[samples[5, :, 7, :]].mean())
    centre = acquire(Tpms(period_nm=90), shape=(1, 24, 24), artefacts="none", oversample=1).truth
    assert np.array_equal(centre.slice_phase(0), centre.slice_samples(0)[:, 0, :, 0])


def test_same_seed_same_slices():
    first, second, other = (acquire(shape=(4, 40, 48), artefacts="all", seed=s) for s in (7, 7, 8))
    assert np.array_equal(first.slices, second.slices)
    assert not np.array_equal(first.slices, other.slices)
    assert np.array_equal(first.slices[2], image(first.truth, 2))


def test_back_wall_fades_with_depth():
    seen = shine_through(Wall(depth_nm=100.0), 0.0, np.zeros((3, 1)), np.arange(4.0)[None], 0.78, 60.0, 8.0)
    assert seen == pytest.approx(0.25 + 0.45 * np.exp(-100 / 60), rel=1e-9)


def test_back_wall_appears_higher_by_the_parallax():
    y = np.arange(0, 400, 0.5)[:, None]
    slope = 1 / np.tan(np.radians(52))
    seen = shine_through(Wall(depth_nm=100.0, edge_nm=300.0), 0.0, y, np.zeros((1, 1)), slope, 60.0, 2.0)
    first = float(y[np.flatnonzero(seen[:, 0] > 0.2505)[0], 0])
    expected = 300 - 4 * 60 * slope
    assert first == pytest.approx(expected, abs=2.0)
    full = float(y[np.flatnonzero(seen[:, 0] > 0.25 + 0.45 * np.exp(-101 / 60))[0], 0])
    assert full == pytest.approx(300 - 100 * slope, abs=2.0)


def test_shine_through_only_brightens_pores():
    plain, empty = (acquire(shape=(2, 64, 64), artefacts=a, dtype="float32") for a in ("none", {"shine_through": True}))
    solid = plain.slices == np.float32(0.7)
    assert np.array_equal(plain.slices[solid], empty.slices[solid])
    assert (empty.slices >= plain.slices - 1e-6).all()
    assert empty.slices[plain.slices == 0.25].mean() > 0.3


def test_edge_rim_brightens_the_solid_beside_the_pore():
    solid = np.zeros((20, 60))
    solid[:, 30:] = 1
    out = edge_rim(np.where(solid > 0, 0.7, 0.25), solid, EdgeRim(gain=0.2, width_nm=12), (6.0, 5.0))
    assert (out[:, :30] == 0.25).all()
    assert out[10, 30] == pytest.approx(0.7 * 1.2, rel=0.04)
    assert out[10, 50] == pytest.approx(0.7, rel=1e-6)
    assert (np.diff(out[10, 30:]) <= 0).all()


def test_shading_falls_towards_bottom_and_sides():
    out = shade(np.ones((50, 400)), Shading(bottom=0.3, side=0.1, side_px=20))
    assert out[-1, 200] / out[0, 200] == pytest.approx(0.7, abs=1e-3)
    assert out[0, 0] == pytest.approx(0.9, abs=1e-6)
    assert out[0, 200] == pytest.approx(1.0, abs=1e-4)


def test_noise_follows_counting_statistics():
    signal = np.full((300, 300), 0.6)
    noisy = detect(signal, Noise(electrons=100, read=0.02), np.random.default_rng(0))
    assert noisy.mean() == pytest.approx(0.6, abs=2e-3)
    assert noisy.var() == pytest.approx(0.6 / 100 + 0.02**2, rel=0.03)
    assert (signal == 0.6).all()


def test_charging_leaves_dark_tails_to_the_right():
    signal = np.full((40, 120), 0.5)
    out = charge(signal, np.array([[20.0, 40.0, 30.0]]), (6.0, 5.0), Charging(strength=0.2), np.random.default_rng(0))
    assert (out[20, :33] == 0.5).all()
    assert (out[20, 36:44] > 0.6).all()
    assert out[20, 48] < 0.45
    assert out[20, 48] < out[20, 110] < 0.5
    assert (out[:14] == 0.5).all()


def test_defocus_blurs_by_its_width():
    step = Capped(below=UNIFORM, surface_nm=380.0, cap_grey=1.0)

    def edge_variance(artefacts):
        run = acquire(step, shape=(1, 120, 8), artefacts=artefacts, dtype="float32")
        edge = -np.diff(run.slices[0, :, 4].astype(float))
        rows = np.arange(edge.size)
        centre = (rows * edge).sum() / edge.sum()
        return ((rows - centre) ** 2 * edge).sum() / edge.sum()

    blurred = edge_variance({"defocus": {"best_px": 2.0, "worst_px": 2.0}})
    assert blurred - edge_variance("none") == pytest.approx(4.0, rel=0.01)


def test_flicker_scales_whole_slices():
    run = acquire(UNIFORM, shape=(6, 8, 8), artefacts={"flicker": {"gain": 0.1, "offset": 0.02}}, dtype="float32")
    s = run.truth.sequences
    assert run.slices.mean(axis=(1, 2)) == pytest.approx(0.5 * s.gain + s.offset, rel=1e-5)


def test_line_drift_stretches_and_leans_the_frame():
    run = acquire(shape=(2, 41, 16), artefacts={"line_drift": {"rms_px": 3.0}})
    still = acquire(shape=(2, 41, 16), artefacts="none")
    (_, y, x), (_, y0, x0) = run.truth.coordinates_nm(1), still.truth.coordinates_nm(1)
    _, dy, dx = run.geometry.true_voxel_nm
    line = run.truth.sequences.line_px[1]
    assert ((y - y0)[[0, 20, 40], 0] / dy) == pytest.approx([line[0] / 2, 0, -line[0] / 2])
    assert ((x - x0)[[0, 20, 40], 3] / dx) == pytest.approx([line[1] / 2, 0, -line[1] / 2])


def test_bad_slices_look_bad():
    artefacts = {
        "bad_slices": {"dead": 0.15, "duplicate": 0.15, "truncated": 0.15, "missing": 0.1},
        "flicker": {"gain": 0.05},
    }
    run = acquire(shape=(60, 24, 24), artefacts=artefacts, seed=1)
    reasons = run.truth.bad_slices
    assert set(reasons.values()) == {"dead", "duplicate", "truncated"}
    for k, reason in reasons.items():
        if reason == "dead":
            assert run.slices[k].max() < 20
        elif reason == "duplicate":
            assert np.array_equal(run.slices[k], run.slices[k - 1])
        else:
            assert (run.slices[k][-6:] == 0).all()
            assert run.slices[k][:6].min() > 40
    gaps = np.diff(run.truth.sequences.slice_numbers) > 1
    assert run.truth.missing_before == (np.flatnonzero(gaps) + 1).tolist() != []


class TestCurtains:
    ON: ClassVar = {"rms": 0.05, "decay_px": 100, "width_px": 2}

    def run(self, specimen=None, shape=(6, 120, 160), **changes):
        curtains = {**self.ON, **changes}
        return acquire(
            specimen or "nanoporous_metal", shape=shape, tracked=True, artefacts={"curtains": curtains}, dtype="float32"
        )

    def test_have_the_requested_strength(self):
        truth = self.run().truth
        assert truth.curtain.std(axis=(1, 2)) == pytest.approx(0.05, rel=1e-4)

    def test_never_above_the_surface(self):
        cap = Capped(surface_nm=380.0)
        truth = self.run(cap).truth
        surface = int(380 / truth.geometry.true_voxel_nm[1])
        assert not truth.curtain[:, :surface].any()
        assert truth.curtain[:, surface + 2 :].std() > 0.04

    def test_start_at_pores_only_when_asked(self):
        truth = self.run(at_pores=1.0).truth
        start = np.abs(truth.curtain[0]) > 1e-9
        first_exit = np.argmax(np.diff(truth.phase[0].astype(int), axis=0) > 0, axis=0).min()
        assert not start[: first_exit + 1].any()
        assert not self.run(UNIFORM, at_pores=1.0).truth.curtain.any()

    def test_run_along_the_columns(self):
        field = self.run(at_pores=0.0).truth.curtain[0]
        along, across = np.diff(field, axis=0).std(), np.diff(field, axis=1).std()
        assert along < 0.1 * across

    def test_lean_by_their_angle(self):
        field = self.run(at_pores=0.0, angle_deg=4.0, decay_px=1e4).truth.curtain[0].astype(float)
        top, bottom = (np.fft.rfft(field[r] - field[r].mean()) for r in (10, 110))
        lag = np.argmax(np.fft.irfft(top.conj() * bottom))
        assert lag == pytest.approx(100 * np.tan(np.radians(4)), abs=1.5)

    def test_keep_their_correlation_between_slices(self):
        field = self.run(UNIFORM, shape=(60, 16, 160), at_pores=0.0, slice_correlation=0.7).truth.curtain
        flat = field.reshape(60, -1)
        lags = [np.corrcoef(flat[k], flat[k + 1])[0, 1] for k in range(59)]
        assert np.mean(lags) == pytest.approx(0.7, abs=0.06)

    def test_are_what_was_added(self):
        run = self.run(UNIFORM, at_pores=0.0, multiplicative=0.5)
        assert run.slices - run.truth.ideal == pytest.approx(run.truth.curtain * 0.5, abs=1e-6)


def test_artefacts_by_name():
    assert Artefacts.of(None) == Artefacts.of("none") == Artefacts()
    assert all(getattr(Artefacts.of("all"), name) is not None for name in Artefacts.model_fields)
    assert Artefacts.of({"noise": True, "jitter": False}).jitter is None
    with pytest.raises(PipelineError, match="does not exist"):
        Artefacts.of({"wobble": True})
    with pytest.raises(PipelineError, match="none, typical, all"):
        Artefacts.of("some")
    with pytest.raises(PipelineError, match="rms_px"):
        Artefacts.of({"jitter": {"rms_px": -1}})


@pytest.mark.parametrize(
    "wrong", [{"shape": (0, 4, 4)}, {"dtype": "int32"}, {"oversample": 0}, {"seed": -1}, {"pixel_nm": 0.0}]
)
def test_wrong_acquisitions_are_refused(wrong):
    with pytest.raises(InputError):
        acquire(**{"shape": (2, 8, 8), **wrong})
