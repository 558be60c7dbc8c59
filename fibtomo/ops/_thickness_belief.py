"""How much of the steps that images show is believed: true irregularity, scatter of the tiles, and shared texture.

Structure feigns thickness. Where a few large features carry all the change from slice to slice, or where tiles show
repeats of each other, all tiles are fooled alike and their scatter says little. What is feigned has a colour, though:
features persist over several slices, and so does the change that they feign, while milling errs from slice to slice.
The steps are therefore read as the sum of three spectra along z, of which only the first is thickness.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

_SLOW_MEMORY = 0.95
_SLOW_SHARES = np.array([0.0, 0.2, 0.4])  # persistent part of the irregularity, relative to the independent one
_USUAL_SHARE = 1 / 3
_SPREADS = np.concatenate([[0.0], np.geomspace(0.01, 0.6, 24)])
_EVIDENCE = 2.5  # logarithm of the odds that irregularity must gain before it is believed
_PERSISTENCE = 1.5  # the same for its persistent part
_SCALES = np.geomspace(0.5, 4.0, 5)  # of the scatter of the tiles: neighbours share structure
_SCALE_DOUBT = 0.5  # natural logarithm
_TEXTURES = np.geomspace(0.03, 3.0, 12)  # largest amplitude of what all tiles share
_CORNERS = np.geomspace(1 / 50, 1 / 7, 7)  # cycles per slice from which on texture fades
_STEEPNESS = 1, 2, 4  # features that begin abruptly, and smooth ones
_EVEN = 0.03  # power that is left to the slowest waves where features are packed evenly
_FINE_GROUPS, _MOST_GROUPS = 32, 128
_UNLIKELY = 1e-4
_EXCESS = 4.0  # times the power expected, from which on waves of the steps are taken for structure
_SMOOTHING = 9  # frequencies over which the power is averaged for that


@dataclass(frozen=True, eq=False)
class Belief:
    """What m steps speak for.

    Attributes
    ----------
    spread, most
        Standard deviation of the independent part of true irregularity that is believed (0: none), and the largest
        one that the steps allow.
    error
        (m - 1,) spectrum of what is no thickness.
    gain
        (m - 1,) share of every wave that is kept.
    left
        (m - 1,) variance of the error that then remains in every wave, persistent irregularity feared.
    """

    spread: float
    most: float
    error: Float
    gain: Float
    left: Float

    def keep(self, deviation: Float) -> Float:
        """Believable part of deviations (m,)."""
        return filtered(deviation, self.gain)

    @property
    def sigma(self) -> float:
        """Standard deviation of the errors of the steps that are left."""
        return float(np.sqrt(self.left.sum() / (len(self.error) + 1)))

    def position_sigma(self) -> Float:
        """(m + 1,) standard deviations of the positions, if the mean step is right."""
        m = len(self.error) + 1
        # running sums of the cosines of the transform: sin(π j (k + 1) / m) / 2 sin(π j / 2m), normalised
        wave = np.arange(1, m)
        reach = self.left * 2 / m / (2 * np.sin(np.pi * wave / (2 * m))) ** 2
        return np.sqrt([(np.sin(np.pi * wave * k / m) ** 2 * reach).sum() for k in range(m + 1)])


def weigh_steps(deviation: Float, scatter: Float) -> Belief:
    """Tell true irregularity from what structure feigns.

    True irregularity is white, with or without a persistent part. Against it stand the scatter of the tiles, whose
    scale is not quite known, and texture that all tiles share: it fades beyond a corner, and below it is constant, or
    fades too where features are packed evenly. All are weighed by their likelihood (Whittle's); irregularity is
    believed, and so is its persistent part, only where the steps cannot do without it.

    Parameters
    ----------
    deviation
        (m,) of the steps from the nominal one.
    scatter
        (m - 1,) spectrum of their errors by the scatter of the tiles.

    References
    ----------
    Efron & Morris 1973, J. Am. Stat. Assoc. 68:117 (empirical Bayes).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> bool(0.12 < weigh_steps(rng.normal(0, 0.15, 200), np.full(199, 0.02**2)).spread < 0.18)
    True
    >>> weigh_steps(rng.normal(0, 0.15, 200), np.full(199, 0.15**2)).spread
    0.0
    >>> slow = np.convolve(rng.normal(0, 0.1, 220), np.hanning(21), mode="valid")
    >>> weigh_steps(slow, np.full(199, 0.02**2)).spread
    0.0
    """
    m = len(deviation)
    power = _power(deviation)
    groups = _groups(m - 1)
    count = np.diff(np.append(groups, m - 1))

    def grouped(values: Float) -> Float:
        return np.add.reduceat(values, groups, axis=-1) / count

    textures = _texture_spectra(np.arange(1, m) / (2 * m))
    shapes = np.array([irregularity(m, share) for share in _SLOW_SHARES])
    odds = np.full((len(_SCALES), len(textures)), -np.log(len(textures) - 1))
    odds[:, 0] = 0.0
    odds -= 0.5 * (np.log(_SCALES[:, None]) / _SCALE_DOUBT) ** 2
    errors = _SCALES[:, None, None] * grouped(scatter) + grouped(textures)
    likelihood = np.empty((len(_SPREADS), len(shapes), *odds.shape))
    for i, spread in enumerate(_SPREADS):
        for j, shape in enumerate(grouped(shapes)):
            total = spread**2 * shape + errors
            likelihood[i, j] = odds - 0.5 * (np.log(total) + grouped(power) / total) @ count
    evidence = np.logaddexp.reduce(likelihood.reshape(len(_SPREADS), -1), axis=1)
    best = int(evidence.argmax())
    if evidence[best] < evidence[0] + _EVIDENCE:
        best = 0
    most = max(1, int(np.flatnonzero(evidence > evidence.max() - _EVIDENCE)[-1]))
    at = best or most
    weight = np.exp(likelihood[at] - evidence[at])
    share, scale, texture = np.nonzero(weight > _UNLIKELY * weight.max())
    weight = weight[share, scale, texture] / weight[share, scale, texture].sum()
    priors = _SPREADS[at] ** 2 * shapes[share]
    errors = _SCALES[scale, None] * scatter + textures[texture]
    errors = np.maximum(errors, _excess(power, weight @ (priors + errors)) - weight @ priors)
    sure = np.bincount(share, weight, len(shapes))
    cautious = weight if sure.max() > np.exp(_PERSISTENCE) * sure[0] else np.where(share == 0, weight, 0.0) / sure[0]
    gain = cautious @ (priors / (priors + errors)) if best else np.zeros(m - 1)
    left = weight @ ((1 - gain) ** 2 * priors + gain**2 * errors)
    return Belief(float(_SPREADS[best]), float(_SPREADS[most]), weight @ errors, gain, left)


def step_gain(error: Float, spread: float) -> tuple[Float, float]:
    """Share of every wave (m - 1,) that is believable at a given spread (Wiener), and of a single step."""
    prior = spread**2 * irregularity(len(error) + 1)
    gain = prior / (prior + error)
    return gain, float(gain.mean())


def irregularity(m: int, share: float = _USUAL_SHARE) -> Float:
    """Spectrum (m - 1,) of the irregularity of m steps: white, and `share` times as much of first-order memory."""
    turn = np.cos(np.pi * np.arange(1, m) / m)
    slow = (1 - _SLOW_MEMORY**2) / (1 - 2 * _SLOW_MEMORY * turn + _SLOW_MEMORY**2)
    return 1 + share**2 * slow


def filtered(deviation: Float, gain: Float) -> Float:
    """Deviations (m,) with every wave but the mean multiplied by its gain."""
    from scipy.fft import dct, idct

    waves = dct(deviation - deviation.mean(), norm="ortho")
    return np.asarray(idct(np.concatenate([[0.0], gain]) * waves, norm="ortho"))


def _groups(waves: int) -> NDArray[np.int64]:
    """Where groups of waves begin: slow ones by themselves."""
    coarse = np.geomspace(_FINE_GROUPS, max(waves - 1, _FINE_GROUPS), _MOST_GROUPS - _FINE_GROUPS).astype(np.int64)
    groups = np.unique(np.concatenate([np.arange(_FINE_GROUPS), coarse]))
    return groups[groups < waves]


def _texture_spectra(frequency: Float) -> Float:
    """(textures, frequencies) of what structure feigns in all tiles alike; the first is nothing."""
    spectra = [np.zeros_like(frequency)]
    for corner in _CORNERS:
        turn = (frequency / corner) ** 2
        for steepness in _STEEPNESS:
            fading = np.sinc(frequency) ** 2 / (1 + turn / steepness) ** steepness
            for shape in (fading, fading * (_EVEN + turn / (1 + turn))):
                spectra.extend(amplitude**2 * shape / shape.max() for amplitude in _TEXTURES)
    return np.array(spectra)


def _excess(power: Float, expected: Float) -> Float:
    """Power of waves far beyond irregularity and errors together, which can only come from structure; else 0."""
    from scipy.ndimage import uniform_filter1d

    smooth = uniform_filter1d(power, min(_SMOOTHING, len(power)), mode="nearest")
    return np.where(smooth > _EXCESS * expected, smooth, 0.0)


def _power(deviation: Float) -> Float:
    from scipy.fft import dct

    return np.asarray(dct(deviation - deviation.mean(), norm="ortho")[1:] ** 2)
