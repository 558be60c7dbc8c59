"""Shapes with known numbers, and a miniature executor that cuts a volume into slabs as the engine does."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fibtomo.backend.array import to_dtype
from fibtomo.core.stage import Kind, StageContext, get_stage
from fibtomo.core.volume import VolumeSpec


def _ball(radius: float, voxel: tuple[float, float, float], seed: int) -> np.ndarray:
    offset = np.random.default_rng(seed).random(3)
    axes = [
        (np.arange(2 * int(radius / v) + 9) - int(radius / v) - 4 + o) * v for v, o in zip(voxel, offset, strict=True)
    ]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    return radius - np.sqrt(z**2 + y**2 + x**2)


@pytest.fixture(scope="session")
def ball() -> Callable[..., np.ndarray]:
    """Signed distance (inside positive) of a ball at a random sub-voxel place, with a free rim all round."""
    return lambda radius, voxel=(1.0, 1.0, 1.0), seed=0: _ball(radius, voxel, seed)


def _tpms(kind: str, n: int) -> np.ndarray:
    t = 2 * np.pi * np.arange(n + 1) / n
    z, y, x = np.meshgrid(t, t, t, indexing="ij", sparse=True)
    s, c = np.sin, np.cos
    return {
        "P": lambda: c(x) + c(y) + c(z),
        "gyroid": lambda: s(x) * c(y) + s(y) * c(z) + s(z) * c(x),
        "diamond": lambda: c(x) * c(y) * c(z) - s(x) * s(y) * s(z),
    }[kind]()


@pytest.fixture(scope="session")
def tpms() -> Callable[[str, int], np.ndarray]:
    """One cubic cell of a triply periodic surface in n steps; the first plane is repeated at the end of each axis."""
    return _tpms


def _field(shape: tuple[int, int, int], sigma: float, seed: int) -> np.ndarray:
    """Periodic Gaussian field of unit variance; covariance exp(−h²/4σ²), so ⟨(∂f)²⟩ = 1/(2σ²)."""
    noise = np.random.default_rng(seed).standard_normal(shape)
    k2 = sum(np.meshgrid(*(np.fft.fftfreq(n) ** 2 for n in shape), indexing="ij", sparse=True))
    field = np.fft.ifftn(np.fft.fftn(noise) * np.exp(-2 * (np.pi * sigma) ** 2 * k2)).real
    return field / np.sqrt(1 / (2 * np.sqrt(np.pi) * sigma) ** 3)


@pytest.fixture(scope="session")
def gaussian_field() -> Callable[[tuple[int, int, int], float, int], np.ndarray]:
    return _field


def _run(
    name: str,
    volume: np.ndarray,
    thickness: int,
    params: dict[str, Any],
    tables: dict[str, Any],
    voxel_nm: tuple[float, float, float] | None,
) -> tuple[np.ndarray | None, dict[str, Any] | None]:
    stage, n = get_stage(name), len(volume)
    spec = VolumeSpec(volume.shape, volume.dtype.name, voxel_nm, kind=stage.consumes)
    if volume.dtype == np.uint16:
        spec = spec.with_(value_range=(0.0, 65535.0))
    p = stage.params(**params)
    needs = stage.needs(p, spec)

    def cut(z0: int, halo: tuple[int, int]) -> tuple[np.ndarray, StageContext]:
        a, b = max(0, z0 - halo[0]), min(n, z0 + thickness + halo[1])
        core = (z0 - a, min(z0 + thickness, n) - a)
        return volume[a:b].copy(), StageContext(spec, a, core, dict(tables))

    starts = range(0, n, thickness)
    table = None
    if stage.measure is not None:
        partials = [stage.measure(*_with(p, *cut(z0, needs.measure_halo))) for z0 in starts]
        table = stage.combine(partials, p, StageContext(spec, 0, (0, n), dict(tables)))
        tables = {**tables, stage.produces: table}
    if stage.apply is None:
        return None, table
    parts = []
    for z0 in starts:
        block, ctx = cut(z0, needs.halo)
        before = block.copy()
        made = stage.apply(block, p, ctx)
        own = made if stage.kind is Kind.REDUCE else made[ctx.core_slices]
        parts.append(to_dtype(own, {"objects": "uint32"}.get(stage.makes, "uint8")))
        assert np.array_equal(block, before, equal_nan=block.dtype.kind == "f")
    return np.concatenate(parts), table


def _with(p: Any, block: np.ndarray, ctx: StageContext) -> tuple[np.ndarray, Any, StageContext]:
    return block, p, ctx


@pytest.fixture(scope="session")
def run_stage() -> Callable[..., tuple[np.ndarray | None, dict[str, Any] | None]]:
    """Run a stage in slabs of a given thickness: (array, table)."""

    def run(name, volume, thickness, *, tables=None, voxel_nm=(2.0, 1.0, 1.0), **params):
        return _run(name, volume, thickness, params, tables or {}, voxel_nm)

    return run
