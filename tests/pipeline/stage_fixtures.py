"""A small stack and the parameters with which every registered stage is exercised."""

import numpy as np
from network_models import edge_model, save_model

from fibtomo.core.drift import Drift
from fibtomo.core.stage import get_stage
from fibtomo.core.volume import Calibration, Sourced, Table, VolumeSpec

SHAPE = (19, 40, 56)
CALIBRATION = Calibration(
    pixel_nm=Sourced((5.0, 5.0), "test", "given"),
    slice_nm=Sourced(10.0, "test", "given"),
    column_angle_deg=Sourced(52.0, "test", "given"),
    tilt_corrected=Sourced(False, "test", "given"),
    tracked=Sourced(True, "test", "given"),
)


def grey_stack(seed: int = 0, shape=SHAPE) -> np.ndarray:
    """Smooth two-phase structure with noise, one dark slice step and a few stripes, uint8."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.standard_normal(shape), 3, mode="wrap")
    grey = np.where(field > 0, 165.0, 75.0)
    grey = gaussian_filter(grey, (0, 0.7, 0.7)) + rng.normal(0, 6, shape)
    grey[:, :, 20:22] -= 8
    grey *= 1 + 0.02 * np.sin(np.arange(shape[0]))[:, None, None]
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def phases_stack(seed: int = 1, shape=SHAPE) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.standard_normal(shape), 2, mode="wrap")
    labels = (field > 0).astype(np.uint8)
    labels[:, :2] = 255
    return labels


def spec_for(kind: str) -> VolumeSpec:
    if kind == "grey":
        return VolumeSpec(SHAPE, "uint8", (10.0, 5.0, 5.0), (0.0, 255.0), "slice", "grey")
    return VolumeSpec(SHAPE, "uint8", (5.0, 5.0, 5.0), (0.0, 255.0), "specimen", kind)


def array_for(kind: str) -> np.ndarray:
    return grey_stack() if kind == "grey" else phases_stack()


def tables_for(roles: tuple[str, ...]) -> dict[str, Table]:
    """Tables that a stage requires of earlier ones."""
    drift = Drift(np.random.default_rng(2).normal(0, 0.2, (SHAPE[0], 2)), bad_slices=[5])
    return {role: {"drift": drift.to_table()}[role] for role in roles}


def params_of(name: str, tmp_path):
    """Parameters with which a stage is tried: its defaults, where it has them."""
    stage = get_stage(name)
    if name == "drift.import":
        path = tmp_path / "drift.csv"
        rows = "\n".join(f"{k},{0.1 * k},{-0.2 * k}" for k in range(SHAPE[0]))
        path.write_text("slice,dy_px,dx_px\n" + rows + "\n")
        return stage.params(path=str(path))
    if name == "segment.onnx":
        path = save_model(edge_model(), tmp_path / "edges.onnx")
        return stage.params(model=str(path), tile_px=(4, 16, 16), halo_px=(1, 1, 1))
    if name == "segment.forest":
        return stage.params(model=str(forest_file(tmp_path / "model.npz")))
    return stage.params(**({"levels": [120.0]} if name == "segment.threshold" else {}))


def forest_file(path):
    """A forest of a few trees that tells the phases of `grey_stack`."""
    from fibtomo.ops.pixel_forest import PixelForest

    grey = grey_stack()
    labels = np.where(np.random.default_rng(3).random(SHAPE) < 0.02, 1 + (grey > 120), 0)
    PixelForest.train(grey, labels, voxel_nm=(10.0, 5.0, 5.0), sigmas_nm=(5.0, 9.0), trees=8).save(path)
    return path
