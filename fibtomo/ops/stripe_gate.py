"""What of a suspected stripe field may be called stripes, octave by octave across the stripes."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import fft, like, namespace, ndimage, to_host
from fibtomo.ops.stripe_frame import BAND_ROWS

Array = Any
Float = NDArray[np.float64]
SIGNIFICANCE = 5.0
"""Standard errors by which the power of an octave must exceed what structure and noise show."""
LAG_ROWS = (64, 64, 96, 96, 128)
"""Distance along the stripes over which they must still be the same, by octave from the finest; the last for all
coarser. Fine structure wanders off sooner, and a small error of the direction tells sooner."""
FINE_OCTAVES = 2
"""Octaves that pass only together with a coarser one."""
COHERENCE = 0.3
"""Least share of the excess power that must be the same at that distance; columnar structure wanders off."""
CONFIRMED = (0.4, 0.7)
"""Share of the power that the phases tell and the steps tell too: below the first it is structure, above the second
stripes. Measured: 0.9 to 1 with curtains, below 0.4 where phases hold grains."""
BACKED = (0.05, 0.3)
"""The same for what the steps tell, where there are phases: layers along the beam are steps and no part of a phase."""
AGREEMENT_LENGTHS = 1.5
"""Neighbourhood along the stripes, in lengths of their smoothing, in which the two estimates are compared."""
AGREEMENT_PX = 8.0
"""The same across the stripes."""
AGREEMENT_STEP = 4
"""Columns that are compared together."""
AGREEMENT_PRIOR = 0.8
"""Weight of the whole plane in that comparison."""
CLOSE_COHERENCE = 0.4
"""Added to it by and by where the plane has too few rows to look half that far."""
TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Profiles:
    """Suspected stripes of a plane.

    Attributes
    ----------
    bands
        (band, x) profile of each band of rows, smoothed along the bands by a Gaussian.
    null
        (band, y) the same estimate made across the stripes: what structure and noise alone leave in it.
    best, best_null
        The same with a smoothing that lets stripes begin and end, for the profiles that are to be subtracted.
    """

    bands: Array
    null: Array
    best: Array | None = None
    best_null: Array | None = None


def keep_stripes(
    steps: Profiles, phases: Profiles | None, length_px: float, witness: Array | None = None
) -> tuple[Array, float]:
    """Profiles (band, x) with each octave scaled to its share of stripes; also the stripe index.

    An octave of an estimate passes when its power exceeds that of the null (spectral subtraction), and when the excess
    is coherent along the stripes. What the phases tell must show in the steps as well: grains or shading inside what
    was taken for a phase do not. Both are weighted in each octave by what their nulls hold, and the steps by what
    their smoothing is seen to cost, too.

    Parameters
    ----------
    steps, phases
        Estimates from the grey steps and from the phases of one plane.
    length_px
        Standard deviation of the smoothing along the stripes.
    witness
        (band, x) another estimate, in which what the steps tell must be found again.
    """
    spectrum = _cosines(steps.bands)
    one = _verdict(spectrum, _cosines(steps.null), length_px)
    if phases is None or phases.best is None:
        gain, index = one.gain, one.index
        if witness is not None:
            backed = _confirmed(spectrum, _cosines(witness), len(gain), BACKED)
            gain, index = gain * backed, index * float(backed.max())
        kept = _profiles_of(_weighted_octaves(spectrum, gain))
    else:
        plain, best = _cosines(phases.bands), _cosines(phases.best)
        two = _verdict(plain, _cosines(phases.null), length_px).limited(best, _cosines(phases.best_null))
        octaves = min(len(one.gain), len(two.gain))
        confirmed = _confirmed(plain, spectrum, octaves, CONFIRMED)
        backed = _confirmed(spectrum, plain, octaves, BACKED)
        blur = _octave_means((plain - best, plain - best))[0][:octaves]
        gains = one.gain[:octaves] * backed, two.gain[:octaves] * confirmed
        trust = gains[0] / (one.floor[:octaves] + blur + TINY), gains[1] / (two.floor[:octaves] + TINY)
        share = trust[1] / np.maximum(trust[0] + trust[1], TINY)
        alone = _weighted_octaves(spectrum, gains[0])
        both = _weighted_octaves(spectrum, gains[0] * (1 - share)) + _weighted_octaves(best, gains[1] * share)
        seen = _weighted_octaves(spectrum, gains[1])
        told = _weighted_octaves(plain, gains[1])
        alone, both, seen, told = (_profiles_of(a) for a in (alone, both, seen, told))
        kept = alone + agreement(told, seen, length_px) * (both - alone)
        index = max(one.index * float(backed.max()), two.index * float(confirmed.max()))
    return kept, index


def agreement(told: Array, seen: Array, length_px: float) -> Array:
    """How far (band, x) profiles are found again in others nearby, 0 to 1; a grain inside a phase is not."""
    xp, smooth = namespace(told), ndimage(told).gaussian_filter
    near = (AGREEMENT_LENGTHS * length_px / BAND_ROWS, AGREEMENT_PX / AGREEMENT_STEP)
    common, power = (_column_means(told * other, AGREEMENT_STEP) for other in (seen, told))
    usual = AGREEMENT_PRIOR * float(power.mean())
    if usual == 0:
        return told
    expected = AGREEMENT_PRIOR * float(common.mean())
    share = (smooth(common, near, mode="nearest") + expected) / (smooth(power, near, mode="nearest") + usual)
    share = xp.clip((share - CONFIRMED[0]) / (CONFIRMED[1] - CONFIRMED[0]), 0, 1)
    return stretched(share, AGREEMENT_STEP, told.shape[1])


def _column_means(a: Array, step: int) -> Array:
    """Means (band, n) over runs of `step` columns, the last of them shorter."""
    xp = namespace(a)
    padded = xp.pad(a, ((0, 0), (0, -a.shape[1] % step)), mode="edge")
    return padded.reshape(len(a), -1, step).mean(axis=2)


def stretched(a: Array, step: int, width: int) -> Array:
    """Interpolate (…, n) means of runs of `step` columns linearly to (…, width)."""
    last = a.shape[-1] - 1
    position = np.clip((np.arange(width) - (step - 1) / 2) / step, 0, last)
    low = np.minimum(position.astype(np.int64), max(last - 1, 0))
    part = like(a, (position - low).astype(np.float32))
    near, far = a[..., like(a, low)], a[..., like(a, np.minimum(low + 1, last))]
    return near + part * (far - near)


def _confirmed(spectrum: Array, witness: Array, octaves: int, between: tuple[float, float]) -> Float:
    """Whether (octave,) the power of a spectrum is found again in that of a witness, 0 to 1."""
    common, power = _octave_means((spectrum, witness), (spectrum, spectrum))
    share, count = common[:octaves] / np.maximum(power[:octaves], TINY), _octave_sizes(spectrum)[:octaves]
    return np.clip((_with_neighbours(share, count) - between[0]) / (between[1] - between[0]), 0, 1)


@dataclass(frozen=True)
class _Verdict:
    """Share of stripes and power of the null (octave,), finest first; stripe index."""

    gain: Float
    floor: Float
    index: float

    def limited(self, spectrum: Array, null_spectrum: Array) -> "_Verdict":
        """Judge for other profiles of the same estimate: theirs is the null, and no gain rises."""
        power, floor = _octave_means((spectrum, spectrum), (null_spectrum, null_spectrum))
        octaves = min(len(power), len(floor), len(self.gain))
        excess = np.clip(1 - floor[:octaves] / np.maximum(power[:octaves], TINY), 0, 1)
        return _Verdict(np.minimum(self.gain[:octaves], excess), floor[:octaves], self.index)


def _verdict(spectrum: Array, null_spectrum: Array, length_px: float) -> _Verdict:
    count, floor_count = _octave_sizes(spectrum), _octave_sizes(null_spectrum)
    octaves = min(len(count), len(floor_count))
    count, floor_count, lags = count[:octaves], floor_count[:octaves], _lags(len(spectrum), octaves)
    apart = [(spectrum[lag:], spectrum[:-lag]) for lag in sorted(set(lags))]
    means = _octave_means((spectrum, spectrum), (null_spectrum, null_spectrum), *apart)
    power, floor, common = means[0][:octaves], means[1][:octaves], dict(zip(sorted(set(lags)), means[2:], strict=True))
    independent = 2 * np.sqrt(np.pi) * length_px / BAND_ROWS
    samples = count * max(1.0, len(spectrum) / independent)
    floor_samples = floor_count * max(1.0, len(null_spectrum) / independent)

    limit = floor * (1 + SIGNIFICANCE * np.sqrt(2 / samples + 2 / floor_samples))
    excess = np.minimum(1 - floor / np.maximum(power, TINY), (power - limit) / np.maximum(floor, TINY))
    share, reach = _coherence(common, lags, power - floor, length_px / BAND_ROWS)
    least = COHERENCE + CLOSE_COHERENCE * np.maximum(1 - 2 * reach, 0) + 1 / np.sqrt(samples)
    steady = np.clip((_with_neighbours(share, samples) - least) / 0.15, 0, 1)
    steady[:FINE_OCTAVES] *= steady[FINE_OCTAVES:].max(initial=0)
    index = float((power / np.maximum(limit, TINY) * steady).max())
    return _Verdict(np.clip(excess, 0, 1) * steady * (index > 1), floor, index)


def _cosines(profiles: Array) -> Array:
    return fft(profiles).dct(profiles, axis=1, norm="ortho")


def _profiles_of(spectrum: Array) -> Array:
    # kernels take no strides, and what cupyx transforms are views of complex numbers
    return namespace(spectrum).ascontiguousarray(fft(spectrum).idct(spectrum, axis=1, norm="ortho"))


def _octave_edges(spectrum: Array) -> list[int]:
    """Coefficients that bound the octaves, finest octave first."""
    n: int = spectrum.shape[1]
    return [n >> j for j in range(n.bit_length()) if n >> j >= 4]


def _octave_sizes(spectrum: Array) -> NDArray[np.int64]:
    """Coefficients (octave,) in each octave, finest first."""
    return -np.diff(_octave_edges(spectrum))


def _octave_means(*pairs: tuple[Array, Array]) -> list[Float]:
    """Mean (octave,) of the product of each two cosine spectra, finest octave first; one look at the device for all."""
    xp, means = namespace(pairs[0][0]), []
    products = to_host(xp.concatenate([xp.einsum("ij,ij->j", a, b) for a, b in pairs])).astype(np.float64)
    for (a, _), end in zip(pairs, np.cumsum([a.shape[1] for a, _ in pairs]), strict=True):
        product = products[end - a.shape[1] : end] / len(a)
        means.append(np.array([product[low:high].mean() for high, low in pairwise(_octave_edges(a))]))
    return means


def _lags(bands: int, octaves: int) -> list[int]:
    """Distance (octave,) in bands over which stripes must still be the same."""
    return [max(1, min(r // BAND_ROWS, bands // 3)) for r in _lag_rows(octaves)]


def _lag_rows(octaves: int) -> tuple[int, ...]:
    return (*LAG_ROWS, *(LAG_ROWS[-1],) * octaves)[:octaves]


def _coherence(common: dict[int, Float], lags: list[int], excess: Float, sigma: float) -> tuple[Float, Float]:
    """Share (octave,) of the excess power that is the same farther along, beyond what the smoothing shares.

    Also how far along that could be seen, as a share of `LAG_ROWS`. `common` is the power that is the same at each lag.
    """
    share = np.array([common[lag][j] for j, lag in enumerate(lags)])
    share = np.divide(share, excess, out=np.zeros_like(excess), where=excess > TINY)
    by_smoothing = np.exp(-((np.array(lags) / sigma) ** 2) / 4)
    reach = np.minimum(np.array(lags) * BAND_ROWS / np.array(_lag_rows(len(lags))), 1)
    return np.clip((share - by_smoothing) / (1 - by_smoothing), -1, 1), reach


def _with_neighbours(values: Float, samples: Float) -> Float:
    """Mean of each octave with the next finer and coarser one, by samples."""
    near = [slice(max(0, j - 1), j + 2) for j in range(len(values))]
    return np.array([values[n] @ samples[n] / samples[n].sum() for n in near])


def _weighted_octaves(spectrum: Array, gain: Float) -> Array:
    """Scale the octaves of a cosine spectrum by `gain` (octave,), with smooth transitions."""
    xp = namespace(spectrum)
    n = spectrum.shape[1]
    octave = np.clip(np.log2(n / np.maximum(np.arange(n), 0.5)) - 0.5, 0, len(gain) - 1)
    curve = np.interp(octave, np.arange(len(gain)), gain)
    curve[0] = 0
    return spectrum * xp.asarray(curve, dtype=xp.float32)
