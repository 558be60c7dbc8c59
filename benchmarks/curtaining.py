"""Curtain removal against the usual filters on a face with known curtains: ``python benchmarks/curtaining.py``.

The face is a level-cut random field of two greys (0.30 and 0.65, wavelength 40 px) with noise 0.03, one pixel of blur,
and 220 streaks, 1 to 10 px wide, that start anywhere and fade over 150 to 800 rows. PSNR (dB) and SSIM compare with the
same noisy face without streaks; Dice is that of the bright phase after Otsu's threshold; damage is the rms change of
the streak-free face, in 1/255 of the grey range. Means over the seeds.
"""

import argparse
from collections.abc import Callable
from time import process_time

import numpy as np
import pywt
import scipy.ndimage as ndi
from skimage.filters import threshold_otsu
from skimage.metrics import structural_similarity

from fibtomo.ops.curtaining import remove_curtaining

Plane = np.ndarray
SIZE = 512
CASES = [(0.03, 0.0), (0.08, 0.0), (0.03, 4.0), (0.08, 4.0)]


def phase_of(rng: np.random.Generator, wavelength_px: float = 40.0) -> Plane:
    k = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.fftfreq(SIZE))
    ring = np.exp(-(((k - 1 / wavelength_px) * 4 * wavelength_px) ** 2) / 2)
    return np.fft.ifft2(np.fft.fft2(rng.normal(size=(SIZE, SIZE))) * ring).real > 0


def curtains(rms: float, angle_deg: float, rng: np.random.Generator) -> Plane:
    y, x = np.arange(SIZE)[:, None], np.arange(SIZE)
    slope = np.tan(np.radians(angle_deg))
    margin = abs(slope) * SIZE + 10
    total = np.zeros((SIZE, SIZE))
    for _ in range(220):
        width, start = np.exp(rng.uniform(0, np.log(10))), rng.uniform(-0.5, 0.7) * SIZE
        fade = np.where(y > start, np.exp(-np.maximum(y - start, 0) / rng.uniform(150, 800)), 0)
        middle = rng.uniform(-margin, SIZE + margin) + slope * y
        total += rng.normal() * fade * np.exp(-(((x - middle) / (width / 2)) ** 2) / 2)
    total -= total.mean()
    return total * (rms / total.std())


def column_mean(plane: Plane) -> Plane:
    mean = plane.mean(axis=0)
    return plane - (mean - ndi.gaussian_filter1d(mean, 20))


def munch(wavelet: str, levels: int, sigma: float) -> Callable[[Plane], Plane]:
    def apply(plane: Plane) -> Plane:
        levels_possible = min(levels, pywt.dwt_max_level(SIZE, 2))
        coefficients = pywt.wavedec2(plane, wavelet, mode="symmetric", level=levels_possible)
        out = [coefficients[0]]
        for across, along, diagonal in coefficients[1:]:
            cycles = np.fft.fftfreq(len(along)) * len(along)
            kept = np.fft.fft(along, axis=0) * (1 - np.exp(-(cycles**2) / (2 * sigma**2)))[:, None]
            out.append((across, np.fft.ifft(kept, axis=0).real, diagonal))
        return pywt.waverec2(out, wavelet, mode="symmetric")[:SIZE, :SIZE]

    return apply


METHODS: dict[str, Callable[[Plane], Plane]] = {
    "input": lambda plane: plane,
    "column mean, high-passed": column_mean,
    "wavelet-FFT db20 L6 sigma 3": munch("db20", 6, 3),
    "wavelet-FFT coif3 L4 sigma 4": munch("coif3", 4, 4),
    "fibtomo wavelet_fft (gated)": lambda plane: remove_curtaining(plane, method="wavelet_fft"),
    "fibtomo auto": remove_curtaining,
}


def score(plane: Plane, clean: Plane, phase: Plane) -> tuple[float, float, float]:
    bright = plane > threshold_otsu(plane)
    dice = 2 * np.sum(bright & phase) / (bright.sum() + phase.sum())
    psnr = 10 * np.log10(1 / np.mean((plane - clean) ** 2))
    return psnr, structural_similarity(plane, clean, data_range=1.0), dice


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = range(parser.parse_args().seeds)
    print(
        f"{'':30s}" + "".join(f"{f'A={a:.2f}, {d:.0f} deg':>22s}" for a, d in CASES) + f"{'damage':>9s}{'s/slice':>9s}"
    )
    for name, method in METHODS.items():
        rows, damage, seconds = np.zeros((len(CASES), 3)), [], []
        for seed in seeds:
            for j, (rms, angle) in enumerate(CASES):
                rng = np.random.default_rng(seed)
                phase = phase_of(rng)
                face = ndi.gaussian_filter(np.where(phase, 0.65, 0.30), 1) + 0.03 * rng.normal(size=phase.shape)
                striped = (face + curtains(rms, angle, rng)).astype(np.float32)
                start = process_time()
                out = method(striped)
                seconds.append(process_time() - start)
                rows[j] += np.array(score(out, face.astype(np.float32), phase)) / len(seeds)
            damage.append(255 * np.std(method(face) - face))
        cells = "".join(f"{p:9.2f} {s:.3f} {d:.4f} " for p, s, d in rows)
        print(f"{name:30s}{cells}{np.mean(damage):9.2f}{np.median(seconds):9.3f}", flush=True)


if __name__ == "__main__":
    main()
