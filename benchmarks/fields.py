"""Time distances, local thickness and diffusion beside SciPy, edt and PoreSpy (``python benchmarks/fields.py``).

edt and PoreSpy are timed where they are installed. All rows are wall time with all cores that a library takes.
"""

import importlib.util
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
from scipy import ndimage

from fibtomo.ops.diffusion import diffusion_field
from fibtomo.ops.distance import distance_transform
from fibtomo.ops.local_thickness import local_thickness

VOXEL_NM = (10.0, 5.0, 5.0)


def specimen(shape: tuple[int, int, int]) -> np.ndarray:
    """Pores of a bicontinuous structure."""
    return ndimage.gaussian_filter(np.random.default_rng(0).standard_normal(shape, dtype=np.float32), 4) > 0


def rivals(pores: np.ndarray) -> dict[str, list[tuple[str, Callable[[], Any]]]]:
    """Named libraries that do the same."""
    found: dict[str, list[tuple[str, Callable[[], Any]]]] = {
        "distance": [("SciPy", lambda: ndimage.distance_transform_edt(pores, sampling=VOXEL_NM))],
        "local thickness, cubic": [],
        "tortuosity": [],
    }
    if importlib.util.find_spec("edt"):
        import edt

        found["distance"].append(("edt", lambda: edt.edt(pores, anisotropy=VOXEL_NM, parallel=0)))
    if importlib.util.find_spec("porespy"):
        import porespy

        found["local thickness, cubic"].append(
            ("PoreSpy, 25 sizes", lambda: porespy.filters.local_thickness(pores, sizes=25))
        )
        found["tortuosity"].append(("PoreSpy", lambda: porespy.simulations.tortuosity_fd(pores, axis=0)))
    return found


def seconds(work: Callable[[], Any]) -> float:
    """Time of the second run; the first compiles."""
    work()
    start = perf_counter()
    work()
    return perf_counter() - start


def main(size: int) -> None:
    pores = specimen((size // 2, size, size))
    own: dict[str, Callable[[], Any]] = {
        "distance": lambda: distance_transform(pores, VOXEL_NM),
        "local thickness, cubic": lambda: local_thickness(pores, None),
        "tortuosity": lambda: diffusion_field(pores, "z", None),
    }
    others = rivals(pores)
    print(f"{'wall time, ' + ' × '.join(map(str, pores.shape)):34}{'fibtomo s':>10}{'Mvox/s':>8}  times as fast as")
    for name, work in own.items():
        t = seconds(work)
        ratios = ", ".join(f"{rival} {seconds(other) / t:.1f}" for rival, other in others[name])
        print(f"{name:34}{t:10.3f}{pores.size / 1e6 / t:8.1f}  {ratios or '-'}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 128)
