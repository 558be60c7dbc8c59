"""A small virtual face: two phases, noise, curtains; and the slab-by-slab run of a stage."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.ndimage as ndi
from numpy.typing import NDArray

from fibtomo.core.stage import StageContext, get_stage
from fibtomo.core.volume import VolumeSpec

Float = NDArray[np.float32]


class Face(NamedTuple):
    striped: Float
    clean: Float
    phase: NDArray[np.bool_]
    curtain: NDArray[np.float64]


def level_cut(
    shape: tuple[int, ...], wavelength_px: float, rng: np.random.Generator, cut: Any = 0.0
) -> NDArray[np.bool_]:
    """Isotropic two-phase structure: a periodic Gaussian random field of one wavelength, cut at a level."""
    k = np.sqrt(sum(f**2 for f in np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij")))
    ring = np.exp(-(((k - 1 / wavelength_px) * 4 * wavelength_px) ** 2) / 2)
    field = np.fft.ifftn(np.fft.fftn(rng.normal(size=shape)) * ring).real
    return field / field.std() > cut


def curtains(shape: tuple[int, int], rms: float, angle_deg: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """220 streaks per 512 columns, 1 to 10 px wide, starting anywhere and fading over 150 to 800 rows."""
    ny, nx = shape
    y, x = np.arange(ny)[:, None], np.arange(nx)[None]
    slope = np.tan(np.radians(angle_deg))
    margin = abs(slope) * ny + 10
    total = np.zeros(shape)
    for _ in range(int(220 * nx / 512)):
        width, start = np.exp(rng.uniform(0, np.log(10))), rng.uniform(-0.5, 0.7) * ny
        fade = np.where(y > start, np.exp(-np.maximum(y - start, 0) / rng.uniform(150, 800)), 0)
        middle = rng.uniform(-margin, nx + margin) + slope * y
        total += rng.normal() * fade * np.exp(-(((x - middle) / (width / 2)) ** 2) / 2)
    total -= total.mean()
    return total * (rms / total.std())


@pytest.fixture(scope="session")
def make_face() -> Callable[..., Face]:
    def make(rms: float, angle_deg: float = 0.0, seed: int = 0, size: int = 256, noise: float = 0.03) -> Face:
        rng = np.random.default_rng(seed)
        phase = level_cut((size, size), 40, rng)
        clean = ndi.gaussian_filter(np.where(phase, 0.65, 0.30), 1) + noise * rng.normal(size=phase.shape)
        curtain = curtains(phase.shape, rms, angle_deg, rng) if rms else np.zeros(phase.shape)
        return Face((clean + curtain).astype(np.float32), clean.astype(np.float32), phase, curtain)

    return make


@pytest.fixture(scope="session")
def make_phases() -> Callable[..., NDArray[np.bool_]]:
    return level_cut


def run_stage(name: str, volume: Any, slabs: Sequence[int], **params: Any) -> Any:
    """Run one stage over `volume` in slabs of the given thicknesses, with the halos and tables an executor gives."""
    stage = get_stage(name)
    p = stage.params(**params)
    low, high = float(volume.min()), float(volume.max())
    spec = VolumeSpec(volume.shape, str(volume.dtype), value_range=(low, high))
    needs = stage.needs(p, spec)
    edges = np.minimum(np.cumsum([0, *slabs]), len(volume))
    spans = [(int(a), int(b)) for a, b in pairwise(edges) if b > a]

    def block(span: tuple[int, int], halo: tuple[int, int], tables: dict[str, Any]) -> tuple[Any, StageContext]:
        start, stop = max(0, span[0] - halo[0]), min(len(volume), span[1] + halo[1])
        core = (span[0] - start, span[1] - start)
        return volume[start:stop], StageContext(spec, z0=start, core=core, tables=tables)

    tables: dict[str, Any] = {}
    if stage.measure and stage.combine and stage.produces:
        parts = [stage.measure(b, p, ctx) for b, ctx in (block(s, needs.measure_halo, {}) for s in spans)]
        tables[stage.produces] = stage.combine(parts, p, StageContext(spec))
    out = []
    for span in spans:
        piece, ctx = block(span, needs.halo, tables)
        out.append(stage.apply(piece, p, ctx)[ctx.core_slices])
    return np.concatenate(out)


@pytest.fixture(scope="session")
def staged() -> Callable[..., Any]:
    return run_stage
