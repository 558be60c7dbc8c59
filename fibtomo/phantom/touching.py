"""Balls pressed together until they touch: masks whose separate objects are known."""

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.volume import Shape, VoxelNm
from fibtomo.errors import InputError
from fibtomo.phantom.specimens import Float

PUSHES = 400


def touching_balls(
    count: int,
    shape: Shape,
    radius_nm: float,
    *,
    voxel_nm: VoxelNm = (1.0, 1.0, 1.0),
    spread: float = 0.0,
    overlap: float = 0.08,
    seed: int = 0,
) -> NDArray[np.uint32]:
    """Label touching balls in a box, each voxel by the ball in which it lies deepest.

    Random balls push each other apart until the deepest overlap is the one wanted (force-biased packing: Mościński &
    Bargieł 1989, Mol. Simul. 3, 201).

    Parameters
    ----------
    count, shape
        Number of balls, and voxels (z, y, x) of the box.
    radius_nm, spread
        Median radius, and standard deviation of ln(radius).
    voxel_nm
        Voxel size (dz, dy, dx).
    overlap
        By how much of their mean radius neighbours overlap.
    seed
        Places and sizes.

    Returns
    -------
    labels
        (z, y, x) uint32: 0 between the balls, else 1 … `count`, largest ball first.

    Raises
    ------
    InputError
        A ball is larger than the box.

    Examples
    --------
    >>> labels = touching_balls(12, (24, 24, 24), 5.0)
    >>> int(labels.max()), len(np.unique(labels))
    (12, 13)
    """
    rng = np.random.default_rng(seed)
    step = np.array(voxel_nm)
    box = step * shape
    radii = np.sort(radius_nm * np.exp(spread * rng.standard_normal(count)))[::-1]
    if 2 * radii[0] > box.min():
        raise InputError(f"touching_balls: a ball of radius {radii[0]:.4g} does not fit into a box of {tuple(box)}")
    centres = _pressed(radii[:, None] + rng.random((count, 3)) * (box - 2 * radii[:, None]), radii, box, overlap)
    labels = np.zeros(shape, dtype=np.uint32)
    depth = np.zeros(shape)
    for number, (centre, radius) in enumerate(zip(centres, radii, strict=True), start=1):
        low = np.maximum((centre - radius) / step - 1, 0).astype(int)
        high = ((centre + radius) / step + 2).astype(int)
        part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        axes = [(np.arange(n)[p] + 0.5) * s for n, p, s in zip(shape, part, step, strict=True)]
        squares = [(axis - c) ** 2 for axis, c in zip(np.ix_(*axes), centre, strict=True)]
        inside = radius - np.sqrt(squares[0] + squares[1] + squares[2])
        deeper = inside > depth[part]
        depth[part][deeper] = inside[deeper]
        labels[part][deeper] = number
    return labels


def _pressed(centres: Float, radii: Float, box: Float, overlap: float) -> Float:
    """Move centres apart until no overlap exceeds the wanted one by a hundredth of a radius."""
    from scipy.spatial import cKDTree

    for _ in range(PUSHES):
        pairs = cKDTree(centres).query_pairs(2 * radii[0], output_type="ndarray")
        apart = centres[pairs[:, 1]] - centres[pairs[:, 0]]
        length = np.linalg.norm(apart, axis=1) + 1e-9 * radii[0]
        excess = np.maximum((1 - overlap / 2) * radii[pairs].sum(axis=1) - length, 0)
        if excess.max(initial=0) < 0.01 * radii.mean():
            break
        push = apart * (0.5 * excess / length)[:, None]
        np.add.at(centres, pairs[:, 1], push)
        np.subtract.at(centres, pairs[:, 0], push)
        centres = np.clip(centres, radii[:, None], box - radii[:, None])
    return centres
