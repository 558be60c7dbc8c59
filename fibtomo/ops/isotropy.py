"""How long structures are along y compared with x, as stored: the sign of a tilt that was corrected, or was not.

The power spectrum of a slice through an isotropic specimen depends on the length of the wave vector alone. Rows that
are foreshortened by s show P(f) = F(√(fx² + s² fy²)), whatever F is and whatever the detector makes of the greys.
Frequencies in the wedges of curtains and scan lines are not used.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fibtomo.ops.tile_spectra import Tiles, noise_level, typical_wavelength_px

Float = NDArray[np.float64]

_LONGEST, _SHORTEST = 0.35, 3.0  # band, in typical frequencies
_LOWEST, _HIGHEST = 2.2, 0.25  # at least so many periods per tile; cycles per binned pixel at most
_LEAST_BAND = 1.6  # ratio of its ends
_FEWEST_MODES = 60
_ABOVE_NOISE = 2.0
_ORDER = 6  # of the polynomial in log frequency that stands for F
_ITERATIONS, _STEP, _DONE = 30, 0.1, 2e-4
_RATIO_LIMITS, _SURE_LIMITS = (0.4, 2.5), (0.5, 2.0)
_BEAM_PX2, _BEAM_SPREAD_PX2 = 0.6, 1.0  # variance of the beam, expected and give or take
_ALIKE = 2.25  # frequencies of a tile that the taper makes one
_MODEL_ERROR = 0.02  # of the ratio, from what no model has: depth of focus, detector, few shapes
_BEHIND_ERROR = 0.7  # share of the effect of light from behind that may be left
_LEAST_FEATURES = 60
_MOST_SKEW, _SKEW_SIGMA = 0.05, 4.0
_MOST_QUARTERS = 0.2  # fourth angular harmonic of the log spectrum
_MOST_RESIDUAL = 0.85
_MOST_SCALE_CHANGE, _SCALE_SIGMA = 0.12, 3.0
_GROUPS = 24  # of tiles and runs, left out one after the other
_RIDGE = 1e-9


@dataclass(frozen=True)
class Isotropy:
    """Shape of structures in the plane of the slices.

    Attributes
    ----------
    ratio, sigma
        Length along y over length along x in stored pixels, and its standard deviation.
    skew
        Lean of structures: xy element of the shape over its xx element; 0 if the axes are x and y.
    features
        Independent structures that were seen, about.
    behind
        What light from behind the face adds to the ratio if it is not left out.
    doubts
        Why the structure is none whose shape tells of the tilt; empty if it may be.
    """

    ratio: float
    sigma: float
    skew: float
    features: float
    behind: float
    doubts: tuple[str, ...] = ()


def measure_isotropy(power: Float, bright: Float, tiles: Tiles) -> Isotropy | None:
    """Compare the lengths of structures along y and x.

    Parameters
    ----------
    power
        (runs, tiles, size, size // 2 + 1) power spectra of tiles, averaged over the slices of each run.
    bright
        The same of the bright greys alone; see `tile_spectra`. Light from behind the face can only lengthen what is
        seen along y, so that the shorter of the two counts.
    tiles
        From `make_tiles`.

    Returns
    -------
    Isotropy or None
        ``None`` where too little structure stands above the noise. Its standard deviation is that of a jackknife over
        tiles and runs, and of the model.

    References
    ----------
    Whittle 1953, Ark. Mat. 2:423 (spectral likelihood); Tukey 1958, Ann. Math. Stat. 29:614 (jackknife).
    """
    whole = _fitted(power, tiles)
    if whole is None:
        return None
    other = _fitted(bright, tiles)
    behind = whole.ratio - other.ratio if other is not None and not other.doubts else 0.0
    used = other if other is not None and behind > 0 else whole
    behind = max(behind, 0.0)
    sigma = float(np.sqrt(used.sigma**2 + _MODEL_ERROR**2 + (_BEHIND_ERROR * behind) ** 2))
    return Isotropy(used.ratio, sigma, used.skew, whole.features, behind, whole.doubts)


def _fitted(power: Float, tiles: Tiles) -> Isotropy | None:
    blocks = power.reshape(-1, *power.shape[2:])
    mean = blocks.mean(axis=0)
    wavelength = typical_wavelength_px(mean, tiles)
    low, high = max(_LOWEST / tiles.size, _LONGEST / wavelength), min(_HIGHEST, _SHORTEST / wavelength)
    if not high > _LEAST_BAND * low:
        return None
    fit = _Fit(mean, tiles, low, high)
    if len(fit.y) < _FEWEST_MODES:
        return None
    groups = [blocks[part].sum(axis=0) for part in np.array_split(np.arange(len(blocks)), min(_GROUPS, len(blocks)))]
    shape, sigma = _with_error(fit, mean, len(blocks), groups)
    features = len(power) * len(tiles.corners) * tiles.size**2 / (8.0 * wavelength**2)
    doubts = _doubts(fit, mean, shape, float(sigma[1]), features)
    middle = float(np.sqrt(low * high))
    parts = [_Fit(mean, tiles, *ends, order=4) for ends in ((low, 1.15 * middle), (middle / 1.15, high))]
    if min(len(part.y) for part in parts) >= _FEWEST_MODES:
        (coarse, coarse_sigma), (fine, fine_sigma) = (_with_error(part, mean, len(blocks), groups) for part in parts)
        error = float(np.hypot(coarse_sigma[0], fine_sigma[0]))
        long, short = coarse.s, fine.s
        inside = all(_SURE_LIMITS[0] < part < _SURE_LIMITS[1] for part in (long, short))
        if inside and abs(long - short) > _MOST_SCALE_CHANGE + _SCALE_SIGMA * error:
            doubts.append(f"coarse structures have another shape than fine ones ({long:.2f} and {short:.2f})")
    return Isotropy(shape.s, float(sigma[0]), shape.q, features, 0.0, tuple(doubts))


def _with_error(fit: "_Fit", mean: Float, blocks: int, groups: "list[Float]") -> "tuple[_Shape, Float]":
    """Shape, and errors of ratio and skew: those of a jackknife, and of the beam."""
    shape = fit(mean)
    left_out = ((mean * blocks - part) / (blocks * (1 - 1 / max(len(groups), 2))) for part in groups)
    replicas = [fit(part, shape, iterations=2) for part in left_out]
    spread = np.array([(replica.s, replica.q) for replica in replicas]).var(axis=0)
    return shape, np.hypot(np.sqrt((len(groups) - 1) * spread), fit.beam_error(mean, shape))


def _doubts(fit: "_Fit", power: Float, shape: "_Shape", skew_sigma: float, features: float) -> list[str]:
    """Signs of a structure with directions of its own: lamellae, lattices, leaning grains."""
    found = []
    if features < _LEAST_FEATURES:
        found.append(f"only about {features:.0f} structures are in view")
    if not _RATIO_LIMITS[0] < shape.s < _RATIO_LIMITS[1] or shape.residual > _MOST_RESIDUAL:
        found.append("the structure is a lattice or has directions of its own")
    elif abs(quarters := fit.quarters(power, shape)) > _MOST_QUARTERS:
        found.append(f"the structure has directions of its own (fourth harmonic {quarters:+.2f})")
    if abs(shape.q) > max(_MOST_SKEW, _SKEW_SIGMA * skew_sigma):
        found.append(f"structures lean in the plane of the slices ({shape.q:+.2f})")
    return found


@dataclass(frozen=True)
class _Shape:
    """Ratio s, skew q and variance of the beam in binned pixels, and the root mean square residual of log P."""

    s: float = 1.0
    q: float = 0.0
    beam_px2: float = _BEAM_PX2
    residual: float = 1.0


class _Fit:
    """Least squares of log P = G(log √(fx² + 2 q fx fy + s² fy²)) − (2π)² beam f²."""

    def __init__(self, power: Float, tiles: Tiles, low: float, high: float, order: int = _ORDER) -> None:
        radius = np.hypot(tiles.fy, tiles.fx)
        strong = power > _ABOVE_NOISE * noise_level(power, tiles)
        self.keep = tiles.usable & strong & (radius > low) & (radius < high)
        self.y, self.x = tiles.fy[self.keep], tiles.fx[self.keep]
        self.tiles, self.order = tiles, order
        self.ends = float(np.log(0.7 * low)), float(np.log(1.3 * high))
        self.blur = -((2 * np.pi) ** 2) * (self.x**2 + self.y**2)

    def __call__(self, power: Float, start: _Shape = _Shape(), iterations: int = _ITERATIONS) -> _Shape:
        """Shape of the structure, by Gauss and Newton."""
        weight, log_power = self._data(power)
        shape = start
        for _ in range(iterations):
            columns = self._columns(log_power, weight, shape)
            prior = self._prior(columns, shape.residual)
            rows = np.vstack([columns * weight[:, None], prior])
            solution = _least_squares(rows, np.append(log_power * weight, _BEAM_PX2 * prior[-1]))
            left = (log_power - columns @ solution) * weight
            step = solution[-3:-1].clip(-_STEP, _STEP)
            s = float(np.clip(shape.s + step[0], *_RATIO_LIMITS))
            q = float(np.clip(shape.q + step[1], -0.8 * s, 0.8 * s))
            shape = _Shape(s, q, float(solution[-1]), float(np.sqrt((left**2).sum() / (weight**2).sum())))
            if np.abs(step).max() < _DONE:
                break
        return shape

    def beam_error(self, power: Float, shape: _Shape) -> Float:
        """Errors of ratio and skew from a beam that is wider or narrower than expected."""
        weight, log_power = self._data(power)
        columns = self._columns(log_power, weight, shape)
        prior = self._prior(columns, shape.residual)
        wider = _least_squares(np.vstack([columns * weight[:, None], prior]), np.append(0.0 * weight, prior[-1]))
        return np.asarray(wider[-3:-1] * _BEAM_SPREAD_PX2)

    def quarters(self, power: Float, shape: _Shape) -> float:
        """Amplitude of cos 4φ in log P once ratio, skew and beam are fitted."""
        weight, log_power = self._data(power)
        angle = np.arctan2(shape.s * self.y, self.x)
        columns = np.column_stack([self._columns(log_power, weight, shape), np.cos(4 * angle)])
        return float(_least_squares(columns * weight[:, None], log_power * weight)[-1])

    def _data(self, power: Float) -> tuple[Float, Float]:
        kept = power[self.keep]
        weight = np.clip(1 - noise_level(power, self.tiles) / kept, 0.02, 1.0)
        return weight, np.log(kept * weight)

    def _columns(self, log_power: Float, weight: Float, shape: _Shape) -> Float:
        """Polynomials in log frequency, and derivatives of log P by ratio, skew and beam."""
        from numpy.polynomial import chebyshev

        square = np.maximum(self.x**2 + 2 * shape.q * self.x * self.y + (shape.s * self.y) ** 2, 1e-9)
        scale = 2 / (self.ends[1] - self.ends[0])
        at = (0.5 * np.log(square) - self.ends[0]) * scale - 1
        base = chebyshev.chebvander(at, self.order)
        sharp = log_power - shape.beam_px2 * self.blur
        found = _least_squares(base * weight[:, None], sharp * weight)
        slope = chebyshev.chebval(at, chebyshev.chebder(found)) * scale
        by_ratio, by_skew = slope * shape.s * self.y**2 / square, slope * self.x * self.y / square
        return np.column_stack([base, by_ratio, by_skew, self.blur])

    def _prior(self, columns: Float, residual: float) -> Float:
        """What is known of the beam as one more row, in units of what the fit leaves open."""
        prior = np.zeros(columns.shape[1])
        prior[-1] = max(residual, 0.02) * _ALIKE**0.5 / _BEAM_SPREAD_PX2
        return prior


def _least_squares(rows: Float, right: Float) -> Float:
    """Solution by the normal equations, which are small and well scaled here."""
    normal = rows.T @ rows
    normal[np.diag_indices_from(normal)] *= 1 + _RIDGE
    return np.asarray(np.linalg.solve(normal, rows.T @ right))
