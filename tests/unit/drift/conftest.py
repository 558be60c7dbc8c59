"""A small analytic specimen: level-cut random waves, sampled exactly at any shift and depth."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import uniform_filter1d


@dataclass(frozen=True)
class Waves:
    """Bicontinuous structure of length `wavelength_px`; waves come in mirrored pairs, so that it leans nowhere."""

    seed: int = 0
    wavelength_px: float = 20.0
    shape: tuple[int, int] = (256, 256)
    waves: int = 240

    def stack(self, shifts_px, dz_px=1.0, noise=0.06, curtains=0.0, columns=None):
        """Return (n, y, x) uint8 slices whose content appears at `shifts_px`; `columns`: lean in rows per slice."""
        rng = np.random.default_rng(self.seed)
        direction = rng.normal(size=(self.waves // 4, 3))
        direction /= np.linalg.norm(direction, axis=1)[:, None]
        k = 2 * np.pi / self.wavelength_px * direction * (1 + 0.1 * rng.normal(size=(len(direction), 1)))
        k = np.concatenate([k * (1, sy, sx) for sy in (1, -1) for sx in (1, -1)])
        phase = rng.uniform(0, 2 * np.pi, len(k))
        y, x = (np.arange(n)[:, None] for n in self.shape)
        stripes = self._stripes(len(shifts_px), rng) * curtains
        depth_shade = np.linspace(0.3, 1.0, self.shape[0])[:, None]
        out = np.empty((len(shifts_px), *self.shape), np.uint8)
        for i, (dy, dx) in enumerate(shifts_px):
            kz, lean = (k[:, 0], 0.0) if columns is None else (0.0, columns * i)
            rows = np.exp(1j * ((y - dy - lean) * k[:, 1] + kz * i * dz_px + phase)).astype(np.complex64)
            level = (rows @ np.exp(1j * (x - dx) * k[:, 2]).astype(np.complex64).T).real * np.sqrt(2 / len(k))
            grey = 0.5 + 0.2 * np.tanh(level / 0.15) + depth_shade * stripes[i]
            out[i] = np.clip(np.rint(255 * (grey + noise * rng.normal(size=self.shape))), 0, 255)
        return out

    def _stripes(self, n, rng):
        """Column profiles fixed to the frame that change slowly from slice to slice."""
        fresh = uniform_filter1d(rng.normal(size=(n, self.shape[1])), 3, axis=1) * 3**0.5
        for i in range(1, n):
            fresh[i] = 0.9 * fresh[i - 1] + np.sqrt(1 - 0.81) * fresh[i]
        return fresh


def random_walk(n, step_px, seed, slope=(0.0, 0.0)):
    rng = np.random.default_rng(1000 + seed)
    shifts = np.cumsum(step_px * rng.normal(size=(n, 2)), axis=0) + np.outer(np.arange(n), slope)
    return shifts - shifts[0]


def rms(error):
    """Root mean square of the vector error once its mean is removed."""
    return float(np.sqrt(((error - error.mean(axis=0)) ** 2).sum(axis=1).mean()))


def high_frequency(error):
    """What is left of an error above an 11-slice running mean, away from the ends."""
    return (error - uniform_filter1d(error, 11, axis=0, mode="nearest"))[5:-5]


@pytest.fixture(scope="session")
def lab():
    """The specimen, its motion and the error measures."""
    return SimpleNamespace(Waves=Waves, random_walk=random_walk, rms=rms, high_frequency=high_frequency)


@pytest.fixture(scope="session")
def moderate():
    """Three stacks with moderate noise and curtains, and their true shifts."""
    truths = [random_walk(40, 0.6, seed) for seed in range(3)]
    return [(Waves(seed).stack(truth, curtains=0.06), truth) for seed, truth in enumerate(truths)]
