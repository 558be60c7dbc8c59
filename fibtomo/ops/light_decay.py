"""How light fades in open pores: black, white, decay and noise of a stack, from sampled rays."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import namespace, ndimage, to_host
from fibtomo.core.volume import Shape, Table
from fibtomo.errors import InputError
from fibtomo.ops.thresholds import multi_otsu
from fibtomo.ops.wall_rays import Light

Array = Any
Float = NDArray[np.float64]
LAGS = (0, 2, 4, 8, 16)
"""Slices ahead that are looked at."""
RAYS = 60_000
"""Rays of a whole stack, about."""
SIGMA_PX = 1.0
"""Standard deviation, pixels, of the mean over which greys of rays are taken."""
MARGIN = math.ceil(3 * SIGMA_PX)
BEND = np.array([1, -2, 1], np.float32) / np.float32(math.sqrt(6))
ACROSS = np.array([-1, 0, 0, 0, 1], np.float32)
"""Second difference of unit noise, and slope over four pixels."""
FLATTEST = 0.4
"""Share of the rays of one grey that is used: those that begin where the face shows least of an edge."""
BINS = 24
LEAST_IN_BIN = 25
LEAST_RAYS = 500
DECAYS = np.geomspace(1.0, 200.0, 60)
DEEPER = np.linspace(0.0, 1.5, 61)
"""How far black may lie below the darkest pores, over the contrast that is seen."""
NEAR_WHITE = 0.12
"""Share of the contrast below white that is left out: too close to tell."""
TOLERANCE, NOTICEABLE = 0.06, 0.08
"""Of the contrast."""
LEAST_EXPLAINED, LEAST_ADVANTAGE = 0.4, 1.4
"""Share of greys that the decay must explain, and how much more than in the opposite direction."""


def sample_rays(
    volume: Array, z0: int, core: tuple[int, int], shape: Shape, rows_per_slice: float, seen: Array | None = None
) -> Table:
    """Greys along rays that begin on a lattice of the whole volume, of one slab.

    Parameters
    ----------
    volume
        (z, y, x) slab, NumPy or CuPy, with up to `LAGS[-1]` slices after its core.
    z0
        First slice of the slab in the whole volume.
    core
        Slices [start, stop) of the slab in which rays begin.
    shape
        Of the whole volume.
    rows_per_slice
        Rows that a ray runs down for every slice it goes deeper.
    seen
        Same shape as the slab; false where nothing is known.

    Returns
    -------
    partial
        ``grey`` (points,), and ``noise`` (points,), second difference of the unsmoothed grey along x over √6; of the
        points from which a ray can be followed to the last of the lags, ``along`` and ``against`` (rays, lags) float32,
        greys along the ray and along its mirror image, and ``slope`` (rays,), gradient of the face. On the host.
    """
    xp, nd = namespace(volume), ndimage(volume)
    step = max(1, math.ceil((math.prod(shape) / RAYS) ** (1 / 3)))
    moves = [round(lag * rows_per_slice) for lag in LAGS]
    points = (slice(MARGIN, -MARGIN, step), slice(MARGIN, -MARGIN, step))
    edge = MARGIN + moves[-1]
    origins = (slice(edge, max(edge, shape[1] - edge), step), points[1])
    found: dict[str, list[Any]] = {name: [] for name in ("grey", "noise", "along", "against", "slope")}

    def keep(name: str, values: Array, where: Array) -> None:
        found[name].append(to_host(values[where]))

    for z in range(*core):
        if (z0 + z) % step:
            continue
        face = volume[z].astype(xp.float32)
        known = xp.ones(face.shape, bool) if seen is None else seen[z]
        near = nd.minimum_filter(known, size=2 * MARGIN + 1)[points]
        smooth = nd.gaussian_filter(face, SIGMA_PX, radius=MARGIN)
        keep("grey", smooth[points], near)
        keep("noise", nd.correlate1d(face, xp.asarray(BEND), axis=1)[points], near)
        if z + LAGS[-1] >= len(volume) or edge >= shape[1] - edge:
            continue
        planes = [
            smooth,
            *(nd.gaussian_filter(volume[z + k].astype(xp.float32), SIGMA_PX, radius=MARGIN) for k in LAGS[1:]),
        ]
        known = known if seen is None else seen[z : z + LAGS[-1] + 1].all(axis=0)
        clear = nd.minimum_filter(known, size=(2 * edge + 1, 2 * MARGIN + 1))[origins]
        for name, sign in (("along", 1), ("against", -1)):
            greys = [_moved(p, sign * m, origins) for p, m in zip(planes, moves, strict=True)]
            keep(name, xp.stack(greys, axis=-1), clear)
        steep = sum(abs(nd.correlate1d(smooth, xp.asarray(ACROSS), axis=a)[origins]) for a in (0, 1))
        keep("slope", steep, clear)
    none = {name: np.empty((0, len(LAGS)), np.float32) for name in ("along", "against")}
    return {k: np.concatenate([none.get(k, np.empty(0, np.float32)), *v]) for k, v in found.items()}


def _moved(plane: Array, rows: int, lattice: tuple[slice, slice]) -> Array:
    y, x = lattice
    return plane[y.start + rows : y.stop + rows : y.step, x]


@dataclass(frozen=True)
class LightFit:
    """What the rays of a stack say.

    Attributes
    ----------
    light
        The light; its decay is 0 where nothing shines through.
    explained, opposite
        Share of medium greys that the decay explains, along the light and along its mirror image.
    upwards
        Whether light runs up the rows instead of down.
    rays
        Number of rays that were followed.
    """

    light: Light
    explained: float
    opposite: float
    upwards: bool
    rays: int

    @property
    def blind(self) -> bool:
        """Whether the volume was too small to follow rays, so that nothing can be said of what shines through."""
        return self.rays < LEAST_RAYS


def fit_light(partials: Sequence[Table]) -> LightFit:
    """Find black, white, decay and noise from sampled rays.

    White is the mode of the brightest greys, as all pores are darker. In a pore the grey grows along a ray from slice
    to slice until the wall is reached: v(z + k) = black + (v(z) − black) exp(k / decay). Decay and black are those that
    fit the medians of v(z + k) best, given v(z), for several k at once. Where that explains no more than it does along
    mirrored rays, the mirrored ones are tried; where they explain no more either, nothing shines through, and black is
    the median of the darker greys.

    Parameters
    ----------
    partials
        Of `sample_rays`, of all slabs.

    Returns
    -------
    LightFit
        What was found.

    Raises
    ------
    InputError
        Nothing was seen, or one grey only.
    """
    grey, noise, slope, along, against = (
        np.concatenate([p[k] for p in partials]).astype(np.float64)
        for k in ("grey", "noise", "slope", "along", "against")
    )
    if not len(grey):
        raise InputError(f"no place of the volume is seen farther than {MARGIN} pixels from its edge")
    darkest, brightest = np.quantile(grey, [0.01, 0.998])
    if not brightest > darkest:
        raise InputError(f"the volume shows one grey only ({darkest:g}): nothing to tell walls from pores by")
    white = _white(grey)
    sigma = 1.4826 * float(np.median(np.abs(noise[grey > white - 0.1 * (white - darkest)])))
    if len(along) >= LEAST_RAYS:
        flat = _flattest(along[:, 0], slope, darkest, white)
        ways = along[flat], against[flat]
        for upwards, (rays, mirrored) in enumerate((ways, ways[::-1])):
            black, decay = _decay(rays, darkest, white)
            explained, opposite = (_explained(r, black, white, decay) for r in (rays, mirrored))
            if explained >= max(LEAST_EXPLAINED, LEAST_ADVANTAGE * opposite):
                light = Light(black, white, decay, sigma / (white - black))
                return LightFit(light, explained, opposite, bool(upwards), len(along))
    counts, edges = np.histogram(grey, 256)
    black = float(np.median(grey[grey < multi_otsu(counts, edges)[0]]))
    return LightFit(Light(black, white, 0.0, sigma / (white - black)), 0.0, 0.0, upwards=False, rays=len(along))


def _bins(grey: Float, darkest: float, white: float) -> NDArray[np.int64]:
    edges = np.linspace(darkest, white - NEAR_WHITE * (white - darkest), BINS + 1)
    return np.digitize(grey, edges) - 1


def _flattest(grey: Float, slope: Float, darkest: float, white: float) -> NDArray[np.bool_]:
    """Which rays begin in the flattest places of their grey."""
    place = _bins(grey, darkest, white)
    flat = np.zeros(len(grey), bool)
    for k in range(BINS):
        here = place == k
        if here.any():
            flat |= here & (slope <= np.quantile(slope[here], FLATTEST))
    return flat


def _white(grey: Float) -> float:
    """Mode of the upper half of the grey range."""
    low, high = np.quantile(grey, [0.002, 0.998])
    counts, edges = np.histogram(grey, 200, (low, high + (high == low)))
    smooth = np.convolve(counts, np.hanning(13)[1:-1], mode="same")
    smooth[:100] = 0
    peak = int(smooth.argmax())
    return float((edges[peak] + edges[peak + 1]) / 2)


def _decay(rays: Float, darkest: float, white: float) -> tuple[float, float]:
    """Black and decay that fit the growth of greys along rays best."""
    contrast, place = white - darkest, _bins(rays[:, 0], darkest, white)
    black, decay = darkest - DEEPER[:, None] * contrast, DECAYS
    cost = np.zeros((len(DEEPER), len(DECAYS)))
    for k in range(BINS):
        here = rays[place == k]
        if len(here) < LEAST_IN_BIN:
            continue
        start, weight = np.median(here[:, 0]), math.sqrt(len(here))
        for column, lag in enumerate(LAGS[1:], start=1):
            expected = np.minimum(white, black + (start - black) * np.exp(lag / decay))
            cost += weight * np.abs(np.median(here[:, column]) - expected)
    row, column = np.unravel_index(int(cost.argmin()), cost.shape)
    return float(black[row, 0]), float(decay[column])


def _explained(rays: Float, black: float, white: float, decay: float) -> float:
    """Share of medium greys that grow along a ray as the decay says, of those that should grow noticeably."""
    contrast, start = white - black, rays[:, 0]
    agree, asked = 0, 0
    for column, lag in enumerate(LAGS[1:], start=1):
        expected = black + (start - black) * math.exp(lag / decay)
        medium = (start > black + 0.1 * contrast) & (expected < white - NEAR_WHITE * contrast)
        medium &= expected - start > NOTICEABLE * contrast
        agree += int(np.count_nonzero(np.abs(rays[:, column] - expected)[medium] < TOLERANCE * contrast))
        asked += int(np.count_nonzero(medium))
    return agree / asked if asked >= LEAST_RAYS // 2 else 0.0
