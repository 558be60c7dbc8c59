"""Faces and stacks with known curtains for ``curtain_peers.py``."""

from functools import cache
from typing import NamedTuple

import numpy as np
import scipy.ndimage as ndi
from curtaining import phase_of

Plane = np.ndarray


class Face(NamedTuple):
    """A striped face, the same without stripes, and its bright phase; float32, grey values about 0 to 1."""

    striped: Plane
    clean: Plane
    phase: Plane


class Stack(NamedTuple):
    """Slices (z, y, x): uint8 with curtains and noise, uint8 with noise only, and the float32 truth without either."""

    striped: Plane
    clean: Plane
    truth: Plane


def streaks(rms: float, angle_deg: float, widths_px: tuple[float, float], size: int, rng: np.random.Generator) -> Plane:
    """220 streaks of the given widths that start anywhere and fade over 150 to 800 rows."""
    y, x = np.arange(size)[:, None], np.arange(size)
    slope = np.tan(np.radians(angle_deg))
    margin = abs(slope) * size + widths_px[1]
    total = np.zeros((size, size))
    for _ in range(220):
        width, start = np.exp(rng.uniform(*np.log(widths_px))), rng.uniform(-0.5, 0.7) * size
        fade = np.where(y > start, np.exp(-np.maximum(y - start, 0) / rng.uniform(150, 800)), 0)
        middle = rng.uniform(-margin, size + margin) + slope * y
        near = slice(max(0, int(middle.min() - 3 * width)), max(0, int(middle.max() + 3 * width) + 1))
        total[:, near] += rng.normal() * fade * np.exp(-(((x[near] - middle) / (width / 2)) ** 2) / 2)
    total -= total.mean()
    return total * (rms / total.std())


@cache
def make_face(
    rms: float,
    angle_deg: float,
    widths_px: tuple[float, float] = (1, 10),
    seed: int = 0,
    noise: float = 0.03,
    wavelength_px: float = 40.0,
) -> Face:
    """Two phases of 0.30 and 0.65 with one pixel of blur, noise, and streaks of the given rms."""
    rng = np.random.default_rng(seed)
    phase = phase_of(rng, wavelength_px)
    clean = ndi.gaussian_filter(np.where(phase, 0.65, 0.30), 1) + noise * rng.normal(size=phase.shape)
    curtain = streaks(rms, angle_deg, widths_px, len(phase), rng) if rms else np.zeros(phase.shape)
    return Face((clean + curtain).astype(np.float32), clean.astype(np.float32), phase)


def profile(size: int, rng: np.random.Generator) -> Plane:
    """Grey profile (x,) of unit variance, 60 % of it in narrow (sigma 1 px) and the rest in broad curtains (8 px)."""
    parts = [ndi.gaussian_filter1d(rng.normal(size=size), s, mode="wrap") for s in (1, 8)]
    total = sum((p - p.mean()) / p.std() * share**0.5 for p, share in zip(parts, (0.6, 0.4), strict=True))
    return total / total.std()


def make_stack(slices: int = 8, seed: int = 0, size: int = 512) -> Stack:
    """Two-phase volume seen as uint8 with curtains that deepen downwards and carry over from slice to slice.

    Multiplicative curtains of 5.5 % and additive ones of 5 grey (rms), each an autoregressive sequence over
    the slices with coefficient 0.9; noise of 10.6 grey, which alone makes a PSNR of 27.6 dB.
    """
    rng = np.random.default_rng(seed)
    k = [np.fft.fftfreq(n) for n in (2 * slices, size)]
    kz, ky, kx = k[0][:, None, None], k[1][:, None], np.fft.rfftfreq(size)
    ring = np.exp(-(((np.sqrt(kz**2 + ky**2 + kx**2) - 1 / 40) * 160) ** 2) / 2)
    field = np.fft.irfftn(np.fft.rfftn(rng.normal(size=(2 * slices, size, size))) * ring, s=(2 * slices, size, size))
    truth = ndi.gaussian_filter(np.where(field[:slices] > 0, 150.0, 80.0), (0, 1, 1))
    deeper = (0.25 + 1.35 * np.arange(size) / size)[:, None]
    shares, greys = profile(size, rng), profile(size, rng)
    noisy, striped = [], []
    for plane in truth:
        noise = 10.6 * rng.normal(size=plane.shape)
        noisy.append(plane + noise)
        striped.append(plane * (1 + 0.055 * deeper * shares) + 5 * deeper * greys + noise)
        shares, greys = (0.9 * p + np.sqrt(1 - 0.9**2) * profile(size, rng) for p in (shares, greys))
    as_bytes = [np.clip(np.rint(v), 0, 255).astype(np.uint8) for v in (striped, noisy)]
    return Stack(*as_bytes, truth.astype(np.float32))
