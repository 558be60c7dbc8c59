"""Phases by random walks from voxels whose phase is beyond doubt; for volumes that fit into memory."""

from typing import Any

import numpy as np

from fibtomo.backend.array import as_array, like, to_host
from fibtomo.core.volume import OUTSIDE, VoxelNm
from fibtomo.errors import InputError
from fibtomo.ops.histogram import Bins
from fibtomo.ops.morphometry import as_scale
from fibtomo.ops.segmentation import grey_range
from fibtomo.ops.thresholds import multi_otsu

UNDECIDED = 255
SOLVER_TOLERANCE = 1e-4


def confident_markers(volume: Any, classes: int = 2) -> Any:
    """Phases of the voxels whose grey value is beyond doubt, 255 elsewhere.

    Multi-level Otsu finds ``2 classes - 1`` grey classes; every second one lies between two phases and is left open.

    Parameters
    ----------
    volume
        (z, y, x) grey values, numpy or cupy, any real dtype.
    classes
        Number of phases, 2 or 3.

    Returns
    -------
    markers
        (z, y, x) uint8, the same kind of array as `volume`.

    Raises
    ------
    InputError
        The number of phases is not 2 or 3.

    Examples
    --------
    >>> grey = np.array([[[10, 11, 60, 61, 110, 111]]], np.uint8)
    >>> confident_markers(grey).tolist()
    [[[0, 0, 255, 255, 1, 1]]]
    """
    if classes not in {2, 3}:
        raise InputError(f"confident_markers: classes = {classes} must be 2 or 3")
    volume = as_array(volume)
    bins = Bins.covering(volume.dtype, grey_range(volume))
    levels = multi_otsu(bins.count(volume, None)[1:-1], bins.edges, 2 * classes - 1)
    grey_class = sum((volume > level).astype(np.uint8) for level in levels)
    table = np.array([k // 2 if k % 2 == 0 else UNDECIDED for k in range(2 * classes - 1)], dtype=np.uint8)
    return like(volume, table)[grey_class]


def segment_random_walker(
    volume: Any,
    markers: Any = None,
    *,
    classes: int = 2,
    beta: float = 130.0,
    voxel_nm: float | VoxelNm | None = None,
) -> Any:
    """Give each undecided voxel the phase whose markers a random walk from it reaches first most likely.

    Steps across a difference of grey values are unlikely, so borders follow edges and bridge gaps in them. The solver
    sees the whole volume at once: it takes some 200 bytes per undecided voxel, on the host. For larger volumes work in
    tiles, or use the stages ``segment.*``.

    Parameters
    ----------
    volume
        (z, y, x) grey values, numpy or cupy, any real dtype.
    markers
        (z, y, x) phases 0, 1, … of decided voxels, 255 elsewhere; ``None``: `confident_markers`.
    classes
        Number of phases of automatic markers.
    beta
        How hard edges are: a step has the weight ``exp(-beta gradient² / (10 deviation))``, grey values scaled to a
        range of 1.
    voxel_nm
        Voxel size, one number or (dz, dy, dx), that turns differences into gradients; ``None``: cubic.

    Returns
    -------
    phases
        (z, y, x) uint8, the same kind of array as `volume`.

    Raises
    ------
    InputError
        Shapes differ, `beta` is not positive, or fewer than two phases have markers.

    References
    ----------
    Grady 2006, IEEE Trans. PAMI 28, 1768, as in scikit-image (conjugate gradients).

    Examples
    --------
    >>> grey = np.repeat([[[10.0, 11, 14, 90, 94, 95]]], 4, axis=0)
    >>> segment_random_walker(grey)[2].tolist()
    [[0, 0, 0, 1, 1, 1]]
    """
    from skimage.segmentation import random_walker

    volume = as_array(volume)
    seeds = to_host(confident_markers(volume, classes) if markers is None else as_array(markers))
    if volume.ndim != 3 or seeds.shape != volume.shape:
        raise InputError(f"markers of shape {seeds.shape} must have the three axes of the volume, {volume.shape}")
    if not beta > 0:
        raise InputError(f"beta = {beta} must be positive")
    found = np.unique(seeds[seeds != UNDECIDED])
    if len(found) < 2:
        raise InputError(f"the markers name {len(found)} phase(s); a random walk decides between at least two")
    scale, _ = as_scale(voxel_nm)
    numbered = np.where(seeds == UNDECIDED, 0, np.searchsorted(found, seeds) + 1).astype(np.int32)
    if (numbered == 0).any():
        grey = to_host(volume).astype(np.float64)
        grey /= max(float(np.ptp(grey)), np.finfo(np.float64).tiny)
        spacing = np.array(scale) / min(scale)
        given = {"beta": beta, "mode": "cg_j", "spacing": spacing, "tol": SOLVER_TOLERANCE, "prob_tol": 0.01}
        numbered = random_walker(grey, numbered, **given)
    phases = np.full(256, OUTSIDE, dtype=np.uint8)
    phases[1 : len(found) + 1] = found
    return like(volume, phases[np.maximum(numbered, 0)])
