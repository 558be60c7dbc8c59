"""Volumes of known phases, seen through a microscope that blurs interfaces and adds noise."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter


@dataclass(frozen=True)
class Specimen:
    """Grey volume (float32, without and with noise), labels at voxel centres, and true volume fractions."""

    clean: np.ndarray
    grey: np.ndarray
    labels: np.ndarray
    fractions: np.ndarray

    def seen(self, gain=1.0) -> np.ndarray:
        """As uint8, the signal but not the noise times `gain`."""
        return np.clip(np.rint(self.clean * gain + (self.grey - self.clean)), 0, 255).astype(np.uint8)


def _field(shape, wavelength, seed):
    noise = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    return gaussian_filter(noise, wavelength / 4.5, mode="wrap")


def _specimen(seed, shares=(0.6, 0.4), greys=(80, 160), noise=10.0, wavelength=14, blur=0.7, shape=(20, 72, 72)):
    """Phases cut from Gaussian fields sampled twice as finely; the rest after phase 0 is shared out by more fields."""
    fine = tuple(2 * n for n in shape)
    field = _field(fine, 2 * wavelength, seed)
    labels = (field > np.quantile(field, shares[0])).astype(np.uint8)
    for k in range(2, len(shares)):
        other, solid = _field(fine, 2 * wavelength, seed + 1000 * k), labels >= 1
        labels[solid & (other > np.quantile(other[solid], 1 - shares[k] / (1 - shares[0])))] = k
    z, y, x = shape
    cover = [(labels == k).reshape(z, 2, y, 2, x, 2).mean((1, 3, 5), dtype=np.float32) for k in range(len(shares))]
    clean = sum(g * gaussian_filter(c, blur) for g, c in zip(greys, cover, strict=True))
    grain = np.random.default_rng(seed + 7).standard_normal(shape, dtype=np.float32) * noise
    fractions = np.array([c.mean() for c in cover])
    return Specimen(clean, clean + grain, np.argmax(cover, axis=0).astype(np.uint8), fractions)


@pytest.fixture(scope="session")
def specimen():
    return _specimen


@pytest.fixture(scope="session")
def dice():
    """Smallest Dice coefficient of all phases."""

    def worst(labels, truth):
        pairs = [(labels == k, truth == k) for k in np.unique(truth)]
        return min(2 * np.sum(a & b) / (a.sum() + b.sum()) for a, b in pairs)

    return worst
