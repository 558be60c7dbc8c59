"""Stacks cut at known, irregular positions from a random two-phase block: quick to make, any seed."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, uniform_filter1d

from fibtomo.core.drift import Drift

FINE = 5
"""Planes of the block per nominal step; a slice averages this many, as a beam does not see a plane."""


@dataclass(frozen=True)
class Cut:
    """Slices, their drift and the true steps in nominal ones."""

    slices: np.ndarray
    drift: Drift
    steps: np.ndarray

    @property
    def z(self):
        return np.concatenate([[0.0], np.cumsum(self.steps)])


def _irregular_steps(n, seed, white=0.15, slow=0.05):
    rng = np.random.default_rng([seed, 1])
    steps = 1 + white * rng.standard_normal(n - 1)
    walk = np.zeros(n - 1)
    for k in range(1, n - 1):
        walk[k] = 0.95 * walk[k - 1] + np.sqrt(1 - 0.95**2) * slow * rng.standard_normal()
    return np.maximum(steps + walk, 0.2)


def _cut(steps, seed, size=144, radius_px=4.5, coarse_px=None, noise=12.0, shift_px=0, flicker=0.0):
    """Cut a stack; `radius_px` is the width of the filter that makes the structure, `shift_px` the largest jitter.

    With `coarse_px` the structure coarsens gradually to that width.
    """
    rng = np.random.default_rng([seed, 2])
    z = np.concatenate([[0.0], np.cumsum(steps)])
    planes = np.rint(z * FINE).astype(int)
    step_px = 1.5  # a nominal step in pixels

    def field(radius):
        white = rng.standard_normal((planes[-1] + 2 * FINE, size, size), dtype=np.float32)
        smooth = gaussian_filter(white, (radius * FINE / step_px, radius, radius), mode="wrap", truncate=3)
        return smooth / smooth.std()

    block = field(radius_px)
    if coarse_px is not None:
        turn = np.linspace(0, np.pi / 2, len(block))[:, None, None]
        block = np.cos(turn) * block + np.sin(turn) * field(coarse_px)
    grey = uniform_filter1d(np.where(block > 0, 165.0, 85.0).astype(np.float32), 3, axis=0)
    slices = gaussian_filter(grey[planes], (0, 0.7, 0.7))
    shifts = np.zeros((len(z), 2))
    if shift_px:
        whole = rng.integers(-int(shift_px), int(shift_px) + 1, (len(z), 2))
        whole[0] = 0
        slices = np.stack([np.roll(s, tuple(w), (0, 1)) for s, w in zip(slices, whole, strict=True)])
        shifts = whole.astype(float)
    gain = 1 + flicker * rng.standard_normal(len(z))
    slices = slices * gain[:, None, None] + noise * rng.standard_normal(slices.shape)
    true = np.diff(planes) / FINE
    return Cut(np.clip(slices, 0, 255).astype(np.uint8), Drift(shifts), true)


@pytest.fixture(scope="session")
def irregular_steps():
    """``irregular_steps(n, seed)``: steps of n slices, in nominal ones."""
    return _irregular_steps


@pytest.fixture(scope="session")
def cut():
    """``cut(steps, seed)``: a stack cut at these steps."""
    return _cut
