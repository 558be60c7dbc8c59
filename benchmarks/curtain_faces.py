"""Faces and stacks with known curtains for ``curtaining.py``."""

from functools import cache
from typing import NamedTuple

import numpy as np
import scipy.ndimage as ndi

Plane = np.ndarray
SIZE = 512
GREYS = {2: (0.30, 0.65), 3: (0.25, 0.45, 0.70)}


class Case(NamedTuple):
    """What a face is made of.

    `rms` of the curtains is in units of the grey range, `share` of it in proportion to the grey below; with
    `rocking_deg` half of the curtains lean to either side of `angle_deg` by that much; `onset` says where they begin:
    "anywhere", or at a "boundary" of phases.
    """

    rms: float = 0.05
    angle_deg: float = 0.0
    widths_px: tuple[float, float] = (1, 10)
    noise: float = 0.03
    wavelength_px: float = 40.0
    phases: int = 2
    share: float = 0.0
    rocking_deg: float = 0.0
    onset: str = "anywhere"


class Face(NamedTuple):
    """A striped face, the same without stripes, and its brightest phase; float32, grey values about 0 to 1."""

    striped: Plane
    clean: Plane
    phase: Plane


class Stack(NamedTuple):
    """Slices (z, y, x): uint8 with curtains and noise, uint8 with noise only, and the float32 truth without either."""

    striped: Plane
    clean: Plane
    truth: Plane


def field(rng: np.random.Generator, wavelength_px: float) -> Plane:
    """Isotropic random field of one wavelength."""
    k = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.fftfreq(SIZE))
    ring = np.exp(-(((k - 1 / wavelength_px) * 4 * wavelength_px) ** 2) / 2)
    return np.fft.ifft2(np.fft.fft2(rng.normal(size=(SIZE, SIZE))) * ring).real


def streaks(
    shape: tuple[int, int],
    angle_deg: float,
    widths_px: tuple[float, float],
    rng: np.random.Generator,
    labels: Plane | None = None,
) -> Plane:
    """220 streaks per 512 columns that fade over 150 to 800 rows; they start anywhere, or where a label ends."""
    ny, nx = shape
    y, x = np.arange(ny)[:, None], np.arange(nx)
    slope = np.tan(np.radians(angle_deg))
    margin = abs(slope) * ny + widths_px[1]
    total = np.zeros(shape)
    for _ in range(round(220 * nx / 512)):
        width, start = np.exp(rng.uniform(*np.log(widths_px))), rng.uniform(-0.5, 0.7) * ny
        length, middle = rng.uniform(150, 800), rng.uniform(-margin, nx + margin) + slope * y
        if labels is not None:
            start = next_boundary(labels, start, middle[:, 0])
        fade = np.where(y > start, np.exp(-np.maximum(y - start, 0) / length), 0)
        near = slice(max(0, int(middle.min() - 3 * width)), max(0, int(middle.max() + 3 * width) + 1))
        total[:, near] += rng.normal() * fade * np.exp(-(((x[near] - middle) / (width / 2)) ** 2) / 2)
    return total - total.mean()


def next_boundary(labels: Plane, start: float, column: Plane) -> float:
    """First row at or below `start` where the label along `column` (row,) changes."""
    along = labels[np.arange(len(column)), np.clip(np.rint(column), 0, labels.shape[1] - 1).astype(int)]
    changes = np.flatnonzero(along[1:] != along[:-1]) + 1
    below = changes[changes >= start]
    return float(below[0]) if len(below) else start


def curtain(case: Case, rng: np.random.Generator, labels: Plane) -> Plane:
    """Streaks of one direction, or of two; rms 1."""
    onset = labels if case.onset == "boundary" else None
    leans = {case.angle_deg - case.rocking_deg, case.angle_deg + case.rocking_deg}
    total = sum(streaks(labels.shape, lean, case.widths_px, rng, onset) for lean in sorted(leans))
    return total / total.std()


@cache
def make_face(case: Case, seed: int = 0) -> Face:
    """A level-cut random field of two or three greys with one pixel of blur, noise and curtains."""
    rng = np.random.default_rng(seed)
    labels = (field(rng, case.wavelength_px) > 0).astype(np.int64)
    if case.phases == 3:
        labels = np.where(labels > 0, 2, field(rng, case.wavelength_px) > 0)
    grey = ndi.gaussian_filter(np.array(GREYS[case.phases])[labels], 1)
    clean = grey + case.noise * rng.normal(size=labels.shape)
    striped = clean.copy()
    if case.rms:
        added = curtain(case, rng, labels) * (1 - case.share + case.share * grey / grey.mean())
        striped += added * (case.rms / added.std())
    return Face(striped.astype(np.float32), clean.astype(np.float32), labels == case.phases - 1)


def profile(size: int, rng: np.random.Generator) -> Plane:
    """Grey profile (x,) of unit variance, 60 % of it in narrow (sigma 1 px) and the rest in broad curtains (8 px)."""
    parts = [ndi.gaussian_filter1d(rng.normal(size=size), s, mode="wrap") for s in (1, 8)]
    total = sum((p - p.mean()) / p.std() * share**0.5 for p, share in zip(parts, (0.6, 0.4), strict=True))
    return total / total.std()


def make_stack(slices: int = 8, seed: int = 0) -> Stack:
    """Two-phase volume seen as uint8 with curtains that deepen downwards and carry over from slice to slice.

    Multiplicative curtains of 5.5 % and additive ones of 5 grey (rms), each an autoregressive sequence over
    the slices with coefficient 0.9; noise of 10.6 grey, which alone makes a PSNR of 27.6 dB.
    """
    rng = np.random.default_rng(seed)
    k = [np.fft.fftfreq(n) for n in (2 * slices, SIZE)]
    kz, ky, kx = k[0][:, None, None], k[1][:, None], np.fft.rfftfreq(SIZE)
    ring = np.exp(-(((np.sqrt(kz**2 + ky**2 + kx**2) - 1 / 40) * 160) ** 2) / 2)
    noise = rng.normal(size=(2 * slices, SIZE, SIZE))
    deep = np.fft.irfftn(np.fft.rfftn(noise) * ring, s=noise.shape, axes=(0, 1, 2))
    truth = ndi.gaussian_filter(np.where(deep[:slices] > 0, 150.0, 80.0), (0, 1, 1))
    deeper = (0.25 + 1.35 * np.arange(SIZE) / SIZE)[:, None]
    shares, greys = profile(SIZE, rng), profile(SIZE, rng)
    noisy, striped = [], []
    for plane in truth:
        grain = 10.6 * rng.normal(size=plane.shape)
        noisy.append(plane + grain)
        striped.append(plane * (1 + 0.055 * deeper * shares) + 5 * deeper * greys + grain)
        shares, greys = (0.9 * p + np.sqrt(1 - 0.9**2) * profile(SIZE, rng) for p in (shares, greys))
    as_bytes = [np.clip(np.rint(v), 0, 255).astype(np.uint8) for v in (striped, noisy)]
    return Stack(*as_bytes, truth.astype(np.float32))
