"""Features of voxels at several physical scales, from which a classifier learns what belongs together."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import as_array, namespace, to_host
from fibtomo.backend.kernels import twin
from fibtomo.errors import InputError

Array = Any
Core = tuple[slice, slice, slice]
Kind = Literal["grey", "gaussian", "gradient", "laplacian", "difference", "variance", "hessian", "structure"]
KINDS: tuple[Kind, ...] = (
    "grey", "gaussian", "gradient", "laplacian", "difference", "variance", "hessian", "structure",
)  # fmt: skip
TRUNCATE = 3.0
"""Standard deviations after which a Gaussian is cut off."""
INNER = 0.5
"""Standard deviation of the structure tensor's gradients over that of its average."""
ENOUGH = 0.05
"""Seen part of a Gaussian whose mean fills a voxel that was not seen; else a coarser one does."""
FILL = 2.0
"""The coarsest Gaussian that fills, over the coarsest scale: as far as any feature sees."""


def feature_bank(
    volume: Array,
    sigmas_nm: Sequence[float],
    voxel_nm: float | Sequence[float],
    *,
    kinds: Sequence[Kind] = KINDS,
    dimensions: int = 3,
    mask: Array | None = None,
    core: Core | None = None,
) -> Array:
    r"""Smoothed greys, edges, ridges, blobs and texture of a volume at several scales.

    With G the Gaussian mean of the grey at a scale σ and derivatives taken times σ, so that all features but
    "variance" and "structure" (grey²) are greys and do not fade with scale:

    - "grey": the volume itself, once;
    - "gaussian": G; "gradient": \|∇G\|; "laplacian": ΔG;
    - "difference": G of the next finer scale (at the finest one the grey) minus G;
    - "variance": Gaussian mean of (grey - G)²;
    - "hessian": eigenvalues of G's second derivatives, largest first;
    - "structure": eigenvalues of the Gaussian mean of ∇g ∇gᵀ, largest first, with g smoothed by σ / 2.

    Gaussians are cut off at 3 σ and sampled such that they are exact on polynomials of second order; beyond its faces
    the volume goes on with its outermost voxels (scipy's "nearest").

    Parameters
    ----------
    volume
        (z, y, x) greys of any real dtype, NumPy or CuPy.
    sigmas_nm
        Scales, nm, ascending.
    voxel_nm
        (dz, dy, dx) or one edge, nm.
    kinds
        Features to make.
    dimensions
        3, or 2 to filter every slice by itself.
    mask
        Same shape; false voxels touch no other, and their features are 0.
    core
        Window (z, y, x) of the volume whose features are wanted, the whole by default. The same as those cut from
        the whole, and cheaper.

    Returns
    -------
    Array
        (features, z, y, x) float32 as named by `feature_names`, as large as the window.

    Raises
    ------
    InputError
        The volume, its mask, the scales or the kinds cannot be used.

    References
    ----------
    T. Lindeberg, Int. J. Comput. Vis. 30 (1998) 79, doi:10.1023/A:1008045108935 (derivatives normalised by scale);
    I. Arganda-Carreras et al., Bioinformatics 33 (2017) 2424, doi:10.1093/bioinformatics/btx180 (features of forests).

    Examples
    --------
    >>> ramp = np.arange(64, dtype=np.float32) * np.ones((4, 5, 1), np.float32)
    >>> bank = feature_bank(ramp, [20.0], 10.0, kinds=("gaussian", "gradient"))
    >>> bank[:, 2, 2, 30].round(3).tolist()  # one grey per voxel is two per σ
    [30.0, 2.0]
    """
    volume = as_array(volume)
    sigmas, voxel = _checked(sigmas_nm, voxel_nm, kinds, dimensions)
    if volume.ndim != 3 or volume.dtype.kind not in "uif":
        raise InputError(f"features need a (z, y, x) volume of numbers, not {volume.dtype} of shape {volume.shape}")
    if mask is not None and mask.shape != volume.shape:
        raise InputError(f"mask of shape {mask.shape} must have the shape of the volume, {volume.shape}")
    xp = namespace(volume)
    wanted = _window(core, volume.shape)
    reach = feature_reach(sigmas, voxel, kinds=kinds, dimensions=dimensions)
    near, inside = around(wanted, reach, volume.shape)
    seen = None if mask is None else xp.asarray(mask, dtype=bool)
    if seen is None:
        grey = xp.ascontiguousarray(volume[near], dtype=xp.float32)
    else:
        grey = _filled(volume, seen, sigmas, voxel, dimensions, near)
    names = feature_names(sigmas_nm, kinds=kinds, dimensions=dimensions)
    out = xp.empty((len(names), *(w.stop - w.start for w in wanted)), xp.float32)
    if out.size:
        _fill(grey, sigmas, voxel, kinds, dimensions, out, inside)
    if seen is not None:
        out *= seen[wanted]
    return out


def _window(core: Core | None, shape: tuple[int, ...]) -> Core:
    """`core` with its ends as they lie in the volume."""
    z, y, x = (slice(*w.indices(n)[:2]) for w, n in zip(core or (slice(None),) * 3, shape, strict=True))
    return z, y, x


def around(core: Core, reach: Sequence[int], shape: Sequence[int]) -> tuple[Core, Core]:
    """Window with `reach` more to either side, as far as the volume goes, and `core` as seen from there.

    Examples
    --------
    >>> around((slice(0, 2), slice(5, 6), slice(3, 9)), (1, 2, 3), (9, 9, 9))[1]
    (slice(0, 2, None), slice(2, 3, None), slice(3, 9, None))
    """
    ends = [(max(0, w.start - r), min(n, w.stop + r)) for w, r, n in zip(core, reach, shape, strict=True)]
    inside = [slice(w.start - a, w.stop - a) for w, (a, _) in zip(core, ends, strict=True)]
    z, y, x = (slice(*pair) for pair in ends)
    return (z, y, x), (inside[0], inside[1], inside[2])


def feature_names(sigmas_nm: Sequence[float], *, kinds: Sequence[Kind] = KINDS, dimensions: int = 3) -> list[str]:
    """Names of the features, in order.

    Raises
    ------
    InputError
        There is no such kind, or scales do not ascend.

    Examples
    --------
    >>> feature_names([10, 25], kinds=("grey", "gaussian", "hessian"), dimensions=2)
    ['grey', 'gaussian 10 nm', 'hessian 1 10 nm', 'hessian 2 10 nm', 'gaussian 25 nm', 'hessian 1 25 nm',
     'hessian 2 25 nm']
    """
    sigmas, _ = _checked(sigmas_nm, 1.0, kinds, dimensions)
    names = ["grey"] if "grey" in kinds else []
    for sigma in sigmas:
        for kind in _ordered(kinds):
            parts = [f" {k + 1}" for k in range(_width(kind, dimensions))] if kind in ("hessian", "structure") else [""]
            names += [f"{kind}{part} {sigma:g} nm" for part in parts]
    return names


def feature_reach(
    sigmas_nm: Sequence[float],
    voxel_nm: float | Sequence[float],
    *,
    kinds: Sequence[Kind] = KINDS,
    dimensions: int = 3,
    masked: bool = False,
) -> tuple[int, int, int]:
    """Voxels along z, y and x to either side that a feature takes notice of.

    Parameters
    ----------
    sigmas_nm, voxel_nm, kinds, dimensions
        See `feature_bank`.
    masked
        Whether there will be a mask.

    Raises
    ------
    InputError
        The scales or the kinds cannot be used.

    Examples
    --------
    >>> feature_reach([10, 40], (20, 10, 10), kinds=("grey", "gaussian"))
    (6, 12, 12)
    """
    sigmas, voxel = _checked(sigmas_nm, voxel_nm, kinds, dimensions)
    if not _ordered(kinds):
        return 0, 0, 0
    largest = kernels(sigmas[-1], voxel, dimensions)
    reach = [_radius(w) for w in largest]
    if "variance" in kinds:
        reach = [2 * r for r in reach]
    elif "structure" in kinds:
        reach = [a + _radius(b) for a, b in zip(reach, kernels(INNER * sigmas[-1], voxel, dimensions), strict=True)]
    if masked:
        reach = [a + _radius(b) for a, b in zip(reach, kernels(FILL * sigmas[-1], voxel, dimensions), strict=True)]
    return reach[0], reach[1], reach[2]


def kernels(sigma_nm: float, voxel_nm: Sequence[float], dimensions: int = 3) -> tuple[NDArray[np.float32], ...]:
    """Gaussians along z, y and x with their first two derivatives times σ, each (3, taps) for correlation.

    On their cut-off support the mean is exact for constants, the slope for straight lines, the curvature for parabolas.
    The number of taps to either side is a multiple of 3; zeros fill up.

    Examples
    --------
    >>> [w.shape for w in kernels(20.0, (10.0, 10.0, 5.0), dimensions=2)]
    [(3, 1), (3, 13), (3, 25)]
    """
    made = [_kernel(sigma_nm / float(step)) for step in voxel_nm]
    if dimensions == 2:
        made[0] = np.array([[1], [0], [0]], np.float32)
    return tuple(made)


def _kernel(sigma_px: float) -> NDArray[np.float32]:
    radius = max(1, math.ceil(TRUNCATE * sigma_px))
    x = np.arange(-radius, radius + 1.0)
    bell = np.exp(-0.5 * (x / sigma_px) ** 2)
    steep = np.exp(-0.5 * (x / max(sigma_px, 0.2)) ** 2)  # below, differences of neighbours in any case
    spread = (x * x * steep).sum()
    curve = (x * x - spread / steep.sum()) * steep
    weights = [bell / bell.sum(), sigma_px * x * steep / spread, sigma_px**2 * 2 * curve / (x * x * curve).sum()]
    return np.pad(np.array(weights, np.float32), ((0, 0), (-radius % 3,) * 2))


def _radius(kernel: NDArray[np.float32]) -> int:
    """Voxels to either side that a kernel really sees."""
    return int(np.abs(np.flatnonzero(kernel.any(axis=0)) - kernel.shape[1] // 2).max())


def _ordered(kinds: Sequence[Kind]) -> list[Kind]:
    return [kind for kind in KINDS[1:] if kind in kinds]


def _width(kind: Kind, dimensions: int) -> int:
    return dimensions if kind in ("hessian", "structure") else 1


def _checked(
    sigmas_nm: Sequence[float], voxel_nm: float | Sequence[float], kinds: Sequence[Kind], dimensions: int
) -> tuple[list[float], list[float]]:
    sigmas = [float(s) for s in sigmas_nm]
    voxel = [float(v) for v in np.broadcast_to(np.asarray(voxel_nm, dtype=float), 3)]
    if not sigmas or min(sigmas) <= 0 or not all(a < b for a, b in itertools.pairwise(sigmas)):
        raise InputError(f"scales sigmas_nm = {list(sigmas_nm)} must be positive and ascend")
    if min(voxel) <= 0:
        raise InputError(f"voxel_nm = {voxel_nm} must be positive")
    if dimensions not in (2, 3):
        raise InputError(f"dimensions = {dimensions} must be 2 or 3")
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown or not kinds:
        raise InputError(f"there are no features {unknown or 'asked for'}; there are {', '.join(KINDS)}")
    return sigmas, voxel


def _fill(
    grey: Array, sigmas: list[float], voxel: list[float], kinds: Sequence[Kind], dimensions: int, out: Array, core: Core
) -> None:
    loops = twin(__package__, "features", like=grey)
    position = 0
    if "grey" in kinds:
        out[0] = grey[core]
        position = 1
    finer = grey[core]
    for sigma in sigmas:
        at: dict[str, int] = dict.fromkeys(KINDS, -1)
        for kind in _ordered(kinds):
            at[kind], position = position, position + _width(kind, dimensions)
        broad = kernels(sigma, voxel, dimensions)
        wide, inside = around(core, [_radius(kernel) for kernel in broad], grey.shape)
        mean = None
        derived = [at[kind] for kind in ("gradient", "laplacian", "hessian")]
        if max(derived) >= 0:
            loops.derivative_features(grey, broad, (at["gaussian"], *derived), out, core)
            mean = out[at["gaussian"]] if at["gaussian"] >= 0 else None
        if mean is None and max(at["gaussian"], at["difference"]) >= 0:
            mean = loops.smooth(grey, broad, core)
            if at["gaussian"] >= 0:
                out[at["gaussian"]] = mean
        if at["difference"] >= 0:
            out[at["difference"]] = finer - mean
            finer = mean
        if at["variance"] >= 0:
            rest = grey[wide] - loops.smooth(grey, broad, wide)
            out[at["variance"]] = loops.smooth(rest * rest, broad, inside)
        if at["structure"] >= 0:
            narrow = kernels(INNER * sigma, voxel, dimensions)
            loops.tensor_features(grey, narrow, broad, at["structure"], out, wide, inside)


def _filled(volume: Array, seen: Array, sigmas: list[float], voxel: list[float], dimensions: int, near: Core) -> Array:
    """Put means of seen voxels where nothing was seen, over the smallest scale that sees enough (0 beyond all).

    Returns the window `near` of the volume, float32.
    """
    xp, loops = namespace(volume), twin(__package__, "features", like=volume)
    known, weight = xp.where(seen, volume, 0).astype(xp.float32, copy=False), seen.astype(xp.float32)
    levels = [*sigmas, FILL * sigmas[-1]]
    filled, missing = known[near].copy(), ~seen[near]
    for sigma in levels:
        box = _box_of(missing)
        if box is None:
            break
        there = tuple(slice(w.start + n.start, w.stop + n.start) for w, n in zip(box, near, strict=True))
        broad = kernels(sigma, voxel, dimensions)
        share = loops.smooth(weight, broad, there)
        enough = missing[box] & (share > (0 if sigma == levels[-1] else ENOUGH))
        mean = loops.smooth(known, broad, there) / xp.maximum(share, xp.float32(1e-30))
        filled[box] = xp.where(enough, mean, filled[box])
        missing[box] &= ~enough
    return filled


def _box_of(mask: Array) -> tuple[slice, ...] | None:
    """Smallest window that holds all true voxels."""
    box = []
    for axis in range(3):
        hit = np.flatnonzero(to_host(mask.any(axis=tuple(k for k in range(3) if k != axis))))
        if not len(hit):
            return None
        box.append(slice(int(hit[0]), int(hit[-1]) + 1))
    return tuple(box)
