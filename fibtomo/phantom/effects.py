"""What the beam and the detector do to one slice: arrays in, arrays out, never in place."""

from math import radians, tan

import numpy as np
from numpy.typing import NDArray

from fibtomo.phantom.artefacts import Charging, Curtains, EdgeRim, Noise, Shading
from fibtomo.phantom.motion import autoregressive, generator
from fibtomo.phantom.specimens import Phase, Specimen

Float = NDArray[np.float64]


def shine_through(
    specimen: Specimen, z_nm: float, y_nm: Float, x_nm: Float, slope: float, decay_nm: float, step_nm: float
) -> Float:
    """Signal of the back walls seen through the pores of one face.

    The ray that leaves the face at (z, y) runs to (z + t, y + t·slope); the first wall it meets shines with
    exp(−t/decay) between the grey of the pore and its own.

    Parameters
    ----------
    y_nm, x_nm
        Coordinates of the pixels, broadcasting to (rows, columns).
    slope
        Tangent of the angle between beam and face normal (cotangent of the column angle).

    Returns
    -------
    Signal (rows, columns); where the face itself is solid, its own grey.
    """
    greys = np.asarray(specimen.greys)
    before = specimen.level(z_nm, y_nm, x_nm)
    open_ray = before <= 0
    seen = np.where(open_ray, greys[0], greys[specimen.phase(z_nm, y_nm, x_nm)])
    for i in range(1, int(np.ceil(4 * decay_nm / step_nm)) + 1):
        if not open_ray.any():
            break
        depth = i * step_nm
        place = (z_nm + depth, y_nm + depth * slope, x_nm)
        here = specimen.level(*place)
        hit = open_ray & (here > 0)
        crossing = depth - step_nm * here[hit] / (here[hit] - before[hit])
        wall = greys[1] if len(greys) == 2 else greys[specimen.phase(*place)[hit]]
        seen[hit] = greys[0] + (wall - greys[0]) * np.exp(-crossing / decay_nm)
        open_ray &= ~hit
        before = here
    return seen


def edge_rim(signal: Float, solid: Float, rim: EdgeRim, pixel_nm: tuple[float, float]) -> Float:
    """Brighten the solid next to pores; `solid` (rows, columns) is the solid share of each pixel."""
    from scipy.ndimage import gaussian_filter

    near_pore = gaussian_filter(1 - solid, [rim.width_nm / p for p in pixel_nm], mode="nearest")
    return signal * (1 + 2 * rim.gain * near_pore * solid)


def shade(signal: Float, shading: Shading) -> Float:
    """Darken towards the last row and towards both side walls."""
    rows, cols = signal.shape
    down = 1 - shading.bottom * np.arange(rows)[:, None] / max(1, rows - 1)
    column = np.arange(cols)
    wall = np.exp(-column / shading.side_px) + np.exp(-(cols - 1 - column) / shading.side_px)
    return signal * down * (1 - shading.side * np.minimum(wall, 1))


class CurtainField:
    """The streaks of a whole acquisition: fixed places in the specimen, strengths that wander from slice to slice.

    Parameters
    ----------
    settings
        Amplitude, size and angle of the streaks.
    slices
        Number of slices.
    x_px, y_px
        Ranges (low, high) of specimen coordinates, in pixels and rows, that any slice shows.
    seed
        Seed of the acquisition.
    """

    def __init__(
        self, settings: Curtains, slices: int, x_px: tuple[float, float], y_px: tuple[float, float], seed: int
    ) -> None:
        rng = generator(seed, "curtains")
        margin = 20 + (y_px[1] - y_px[0]) * abs(tan(radians(abs(settings.angle_deg) + settings.rocking_deg)))
        count = max(1, round(settings.per_column * (x_px[1] - x_px[0] + 2 * margin)))
        self.settings = settings
        self.x = rng.uniform(x_px[0] - margin, x_px[1] + margin, count)
        self.width = np.clip(settings.width_px * np.exp(0.6 * rng.standard_normal(count)), 1, 10)
        self.inside = rng.random(count) < settings.at_pores
        self.y = rng.uniform(*y_px, count)
        side = np.where(rng.random(count) < 0.5, -1.0, 1.0)
        self.above = y_px[0] - self.settings.decay_px * rng.random(count)
        self.slope = np.tan(np.radians(settings.angle_deg + side * settings.rocking_deg))
        self.strength = autoregressive(rng.standard_normal((slices, count)), settings.slice_correlation)

    def __call__(self, k: int, phase: Phase, shift_px: Float, surface_row: float) -> Float:
        """Relative curtain (rows, columns) of slice `k` with the requested rms; zero above every onset.

        Parameters
        ----------
        phase
            (rows, columns) of this slice: streaks start where a darker phase gives way to a brighter one below.
        shift_px
            (dy, dx) of this slice.
        surface_row
            Row of the specimen's surface, −inf if it has none.
        """
        rows, cols = phase.shape
        field = np.zeros((rows, cols))
        exits = phase[1:] > phase[:-1]
        has_surface = np.isfinite(surface_row)
        for j, strength in enumerate(self.strength[k]):
            column = self.x[j] + shift_px[1]
            onset = surface_row if has_surface else self.above[j] + shift_px[0]
            if self.inside[j]:
                below = exits[:, min(max(round(column), 0), cols - 1)]
                first = max(0, int(np.ceil(self.y[j] + shift_px[0])))
                found = np.flatnonzero(below[first:])
                if not len(found):
                    continue
                onset = first + found[0] + 1
            self._add_streak(field, column, max(onset, surface_row), strength, j)
        rms = field.std()
        return field if rms == 0 else field * (self.settings.rms / rms)

    def _add_streak(self, field: Float, column: float, onset: float, strength: float, j: int) -> None:
        rows, cols = field.shape
        top = max(0, int(np.ceil(onset)))
        if top >= rows:
            return
        down = np.arange(top, rows) - onset
        axis = column + (down * self.slope[j] if self.slope[j] else np.zeros(1))
        reach = 4 * self.width[j]
        left, right = max(0, int(axis.min() - reach)), min(cols, int(axis.max() + reach) + 2)
        if left >= right:
            return
        across = np.arange(left, right) - axis[:, None]
        fade = strength * np.exp(-down / self.settings.decay_px)
        field[top:, left:right] += fade[:, None] * np.exp(-0.5 * (across / self.width[j]) ** 2)


def curtain_signal(curtain: Float, signal: Float, brightest: float, multiplicative: float) -> Float:
    """What a relative curtain adds to the signal: partly in proportion to it, partly the same everywhere."""
    return curtain * (multiplicative * signal + (1 - multiplicative) * brightest)


def charge(
    signal: Float, discs: Float, pixel_nm: tuple[float, float], settings: Charging, rng: np.random.Generator
) -> Float:
    """Add bright insulating inclusions and their dark tails along the scan direction.

    Parameters
    ----------
    discs
        (m, 3): row, column and radius (nm) of every inclusion on this slice.
    """
    rows, cols = signal.shape
    out = signal.copy()
    for row, col, radius_nm in discs:
        half = radius_nm / pixel_nm[0]
        for r in range(max(0, int(np.ceil(row - half))), min(rows, int(np.floor(row + half)) + 1)):
            chord = np.sqrt(radius_nm**2 - ((r - row) * pixel_nm[0]) ** 2) / pixel_nm[1]
            right = np.arange(cols) - (col + chord)
            tail = settings.strength * rng.uniform(0.5, 1.5) * np.exp(-np.maximum(right, 0) / settings.tail_px)
            out[r] += np.where(right > 0, -tail, np.where(right > -2 * chord, settings.strength, 0.0))
    return out


def detect(signal: Float, noise: Noise, rng: np.random.Generator) -> Float:
    """Poisson statistics of the electrons plus Gaussian noise of the amplifier."""
    counted = rng.poisson(np.maximum(signal, 0) * noise.electrons) / noise.electrons
    return counted + noise.read * rng.standard_normal(signal.shape)
