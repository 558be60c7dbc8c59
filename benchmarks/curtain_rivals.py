"""Curtain filters to compare, ours and others, as functions of one float32 plane of grey values 0 to 255.

Other packages are used where they can be imported, at the settings that their documentation or PyStack3D names.
"""

import importlib.util
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import pywt
import scipy.ndimage as ndi

from fibtomo.ops.curtaining import remove_curtaining

Plane = np.ndarray
Filter = Callable[[Plane], Plane]
OURS = ("auto", "vsnr", "general", "wedge", "wavelet_fft")
SLOW = ("destripe", "wavelet-FFT, oracle")


def column_mean(plane: Plane) -> Plane:
    mean = plane.mean(axis=0)
    return plane - (mean - ndi.gaussian_filter1d(mean, 20))


def munch(wavelet: str, levels: int, sigma: float) -> Filter:
    """Wavelet-FFT filter of Münch et al. 2009."""

    def apply(plane: Plane) -> Plane:
        ny, nx = plane.shape
        possible = min(levels, pywt.dwt_max_level(min(ny, nx), 2))
        coefficients = pywt.wavedec2(plane, wavelet, mode="symmetric", level=possible)
        out = [coefficients[0]]
        for across, along, diagonal in coefficients[1:]:
            cycles = np.fft.fftfreq(len(along)) * len(along)
            kept = np.fft.fft(along, axis=0) * (1 - np.exp(-(cycles**2) / (2 * sigma**2)))[:, None]
            out.append((across, np.fft.ifft(kept, axis=0).real, diagonal))
        return pywt.waverec2(out, wavelet, mode="symmetric")[:ny, :nx]

    return apply


def oracle(plane: Plane, truth: Plane) -> Plane:
    """Of 60 settings of the wavelet-FFT filter the outcome nearest to the truth: what no user can do."""
    grid = (munch(w, n, s)(plane) for w in ("db4", "db10", "coif3") for n in (2, 3, 4, 5, 6) for s in (1, 2, 4, 8))
    return min(grid, key=lambda v: float(np.mean((v - truth) ** 2)))


def vsnr() -> Filter:
    """PyStack3D's settings."""
    from pyvsnr import vsnr2d

    atoms = [
        {"name": "Gabor", "noise_level": n, "sigma": s, "theta": 0} for n, s in ((30, (0.5, 80)), (80, (0.5, 200)))
    ]
    return lambda plane: vsnr2d(plane, atoms, maxit=50, algo="numpy", norm=False, cvg_threshold=1e-2)


def algotom(name: str, **options: float) -> Filter:
    from algotom.prep import removal

    return partial(getattr(removal, f"remove_stripe_based_{name}"), **options)


def pystripe(sigma: float, other: float, wavelet: str) -> Filter:
    """On a scale of 16 bits, which it expects."""
    from pystripe.core import filter_streaks

    def apply(plane: Plane) -> Plane:
        low = plane.min()
        grey = (1000 + 200 * (plane - low)).astype(np.float32)
        return (filter_streaks(grey, sigma=[sigma, other], level=7, wavelet=wavelet) - 1000) / 200 + low

    return apply


def universal() -> Filter:
    import torch
    from destripe import destripe

    torch.set_num_threads(1)
    return lambda plane: destripe(plane, device="cpu")


OTHERS: dict[str, tuple[str, Callable[[], Filter]]] = {
    "column mean, high-passed": ("numpy", lambda: column_mean),
    "wavelet-FFT db20 L6 sigma 3": ("pywt", lambda: munch("db20", 6, 3)),
    "wavelet-FFT coif3 L4 sigma 4": ("pywt", lambda: munch("coif3", 4, 4)),
    "pyvsnr, as in PyStack3D": ("pyvsnr", vsnr),
    "algotom sorting": ("algotom", partial(algotom, "sorting", size=21)),
    "algotom filtering + sorting": ("algotom", partial(algotom, "filtering", sigma=3, size=21)),
    "algotom wavelet-FFT": ("algotom", partial(algotom, "wavelet_fft", level=5, size=1)),
    "pystripe db2 128/256": ("pystripe", partial(pystripe, 128, 256, "db2")),
    "destripe PDHG": ("destripe", universal),
}


def filters(only: str) -> tuple[dict[str, Filter], list[str]]:
    """Filters whose name contains `only`, and the names of those whose package is not installed."""
    out: dict[str, Filter] = {
        f"fibtomo {m}": partial(remove_curtaining, method=m) for m in OURS if only in f"fibtomo {m}"
    }
    missing = []
    for name, (package, make) in OTHERS.items():
        if only not in name:
            continue
        if importlib.util.find_spec(package) is None:
            missing.append(name)
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out[name] = make()
    return out, missing
