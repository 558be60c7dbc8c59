"""Curtain filters to compare, ours and those of other packages, as functions of one plane; for ``curtain_peers.py``.

Other packages are used where they can be imported, at the settings their documentation or PyStack3D names.
"""

import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
from curtaining import Plane, column_mean, munch

from fibtomo.ops.curtaining import remove_curtaining

Filter = Callable[[Plane], Plane]
OURS = ("gradient", "vsnr", "general", "wedge", "wavelet_fft")


def vsnr(settings: list[tuple[float, float, float]]) -> Filter:
    from pyvsnr import vsnr2d

    atoms = [{"name": "Gabor", "noise_level": n, "sigma": (w, length), "theta": 0} for n, w, length in settings]
    return lambda plane: vsnr2d(plane, atoms, maxit=50, algo="numpy", norm=False, cvg_threshold=1e-2)


def algotom(name: str, **options: float) -> Filter:
    from algotom.prep import removal

    return partial(getattr(removal, f"remove_stripe_based_{name}"), **options)


def pystripe(sigma: float, other: float, wavelet: str) -> Filter:
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


def rivals() -> dict[str, Filter | str]:
    """Filters by name, or the word that one is not installed; planes are float32 on a scale of 0 to 255."""
    entries: dict[str, Callable[[], Filter]] = {
        "pyvsnr Gabor 30 .5x80 + 80 .5x200": partial(vsnr, [(30, 0.5, 80), (80, 0.5, 200)]),
        "pyvsnr Gabor 20 .5x200": partial(vsnr, [(20, 0.5, 200)]),
        "algotom sorting 21": partial(algotom, "sorting", size=21),
        "algotom filtering + sorting": partial(algotom, "filtering", sigma=3, size=21),
        "algotom wavelet-FFT": partial(algotom, "wavelet_fft", level=5, size=1),
        "algotom FFT": partial(algotom, "fft"),
        "pystripe db2 128/256": partial(pystripe, 128, 256, "db2"),
        "pystripe db3 32/32": partial(pystripe, 32, 32, "db3"),
        "destripe PDHG": universal,
    }
    out: dict[str, Filter | str] = {}
    for name, make in entries.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                out[name] = make()
        except ImportError:
            out[name] = "not installed"
    return out


def fixed() -> dict[str, Filter]:
    """Filters that need no other package."""
    return {
        "column mean, high-passed": column_mean,
        "wavelet-FFT db20 L6 sigma 3": munch("db20", 6, 3),
        "wavelet-FFT coif3 L4 sigma 4": munch("coif3", 4, 4),
    }


def ours() -> dict[str, Filter]:
    return {f"fibtomo {m}": partial(remove_curtaining, method=m) for m in OURS}


def best_munch(plane: Plane, error: Callable[[Plane], float]) -> Plane:
    """Of a grid of settings, the outcome nearest to the truth: what no user can do."""
    grid = [munch(w, n, s)(plane) for w in ("db4", "db10", "coif3") for n in (2, 3, 4, 5, 6) for s in (1, 2, 4, 8)]
    return min(grid, key=error)
