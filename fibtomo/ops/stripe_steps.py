"""Stripe profiles from horizontal grey steps that are not part of the structure."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fibtomo.backend.array import like, namespace, to_host
from fibtomo.ops.stripe_frame import BAND_ROWS, loops
from fibtomo.ops.stripe_gate import Profiles

Array = Any

EDGE_SIGMA_PX = 1.5
"""Scale of the gradients that tell structure from stripes."""
EDGE_CUT = 6.0
"""Gradients beyond this many noise standard deviations belong to the structure."""
FIRST_CUT = 12.0
"""Steps taken for stripes before anything is known, in the same unit; protects structure that runs along the beam."""
FIRST_ROWS = 64
"""Rows over which that first guess takes the median."""
VARIANCE_SAMPLES = 1 << 14
"""About as many pixels as tell the noise of the gradients to 1%."""
MIN_SIDE_PX = 32
"""Smaller planes hold too little to tell stripes from structure."""


@dataclass(frozen=True)
class Gradients:
    """Gradients (y, x) at `EDGE_SIGMA_PX`, and the columns [first, last) of each row that are inside the plane."""

    gx: Array
    gy: Array
    spans: Array

    @classmethod
    def of(cls, u: Array, spans: Array) -> "Gradients":
        """Of an upright plane."""
        smooth, slope = half_gaussian(EDGE_SIGMA_PX)
        return cls(*loops(u).gradients(u, like(u, smooth), like(u, slope)), spans)

    def limit(self, stripe: Array | None) -> float:
        """Squared gradient that belongs to structure, given the stripe gradient (band, x).

        The magnitude of noise is Rayleigh distributed; the median starts, and repeated clipping leaves structure out.
        """
        ny, nx = self.gx.shape
        every = max(3, round((ny * nx / VARIANCE_SAMPLES) ** 0.5))
        gx, gy = self.gx[::every, ::every], self.gy[::every, ::every]
        if stripe is not None:
            gx = gx - stripe[:, ::every][like(gx, np.arange(0, ny, every) // BAND_ROWS)]
        square = to_host(gx**2 + gy**2)
        square = square[square > 0] if square.any() else square  # nothing varies where the detector clips
        variance = float(np.median(square)) / 1.3863
        for _ in range(4):
            quiet = square[square < 6.25 * variance]
            variance = min(variance, 0.6 * float(quiet.mean()) if len(quiet) else 0.0)
        return EDGE_CUT**2 * max(variance, float(np.finfo(np.float32).tiny))

    def turned(self, stripe: Array) -> "Gradients":
        """The same without the stripe gradient, rows and columns exchanged."""
        xp, turn = namespace(self.gx), loops(self.gx).transposed
        x = xp.arange(self.gx.shape[1])
        inside = (x >= self.spans[:, :1]) & (x < self.spans[:, 1:])
        first = inside.argmax(axis=0)
        spans = xp.stack([first, first + inside.sum(axis=0)], axis=1)
        return Gradients(turn(self.gy, xp.zeros_like(stripe), BAND_ROWS), turn(self.gx, stripe, BAND_ROWS), spans)

    def first_guess(self) -> Array:
        """Stripe gradient (band, x) as the median over runs of rows, never as strong as structure."""
        xp = namespace(self.gx)
        ny = len(self.gx)
        rows = min(FIRST_ROWS, ny)
        strongest = FIRST_CUT / EDGE_CUT * self.limit(None) ** 0.5
        medians = loops(self.gx).run_medians(self.gx, rows, rows - 1 + rows % 2, strongest)
        return medians[xp.minimum(xp.arange(-(-ny // BAND_ROWS)) * BAND_ROWS // rows, len(medians) - 1)]


def half_gaussian(sigma: float) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Weights of a Gaussian and of its slope from the centre outwards, as far as 4 sigma."""
    k = np.arange(int(4 * sigma + 0.5) + 1)
    smooth = np.exp(-(k**2) / (2 * sigma**2))
    smooth /= 2 * smooth.sum() - 1
    return smooth.astype(np.float32), (smooth * k / sigma**2).astype(np.float32)


def step_profiles(u: Array, spans: Array, length_px: float, width_px: float) -> Profiles:
    """Profiles of the stripes of an upright plane, and of what looks like them across the stripes."""
    gradients = Gradients.of(u, spans)
    bands, stripe = _two_passes(u, gradients, length_px, width_px)
    turned = loops(u).transposed(u, namespace(u).zeros_like(stripe), BAND_ROWS)
    null, _ = _two_passes(turned, gradients.turned(stripe), length_px, width_px)
    return Profiles(bands, null)


def _two_passes(u: Array, gradients: Gradients, length_px: float, width_px: float) -> tuple[Array, Array]:
    """Profiles (band, x), and the stripe gradient (band, x) that the second pass allowed for."""
    bands = _profiles(u, gradients, gradients.first_guess(), length_px, width_px)
    _, slope = half_gaussian(EDGE_SIGMA_PX)
    stripe, _ = loops(u).gradients(bands, like(u, np.eye(1, len(slope), dtype=np.float32)[0]), like(u, slope))
    return _profiles(u, gradients, stripe, length_px, width_px), stripe


def _profiles(u: Array, gradients: Gradients, stripe: Array, length_px: float, width_px: float) -> Array:
    """Profile (band, x) of each band of rows of `u`, from the steps between its flat pixels.

    Each is the least-squares profile s with steps s[x+1] - s[x], trusted by their weights, held near zero beyond
    `width_px`: it minimises Σ w (s[x+1] - s[x] - step/w)² + λ Σ s², the screened Poisson equation in one dimension.
    """
    g, over = gradients, loops(u)
    smooth = like(u, half_gaussian(length_px / BAND_ROWS)[0])
    sums = over.band_steps(u, g.gx, g.gy, stripe, g.spans, g.limit(stripe), BAND_ROWS)
    weights, steps = (over.smoothed_bands(a, smooth) for a in sums)
    return over.integrate_steps(weights, steps, float(weights.mean()) / width_px**2 + 1e-9)
