"""Smoother borders between phases: each phase's indicator is blurred, and the strongest wins."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import as_array, namespace, ndimage, to_host
from fibtomo.core.volume import OUTSIDE, Table, VoxelNm
from fibtomo.errors import InputError
from fibtomo.ops.morphometry import as_scale
from fibtomo.ops.segmentation import TRUNCATE, smoothing_halo

SAMPLES = 500_000
"""Voxels at which the volumes are balanced, of the whole volume or slightly more of a small one."""
LARGEST_HANDICAP = 0.3
SETTLED = 1e-5
ROUNDS = 30


@dataclass(frozen=True)
class Blur:
    """Gaussian sigma in nm (voxels without a scale; ``None``: the smallest voxel edge) and the voxel size."""

    sigma_nm: float | None
    scale: VoxelNm

    @property
    def sigma_px(self) -> tuple[float, float, float]:
        """Sigma along z, y and x."""
        sigma = min(self.scale) if self.sigma_nm is None else self.sigma_nm
        z, y, x = (sigma / edge for edge in self.scale)
        return z, y, x

    @property
    def halo(self) -> int:
        """Neighbouring slices that a slab needs on either side."""
        return smoothing_halo(self.sigma_px[0])


def smooth_phases(
    phases: Any, voxel_nm: float | VoxelNm | None, sigma_nm: float | None = None, *, keep_volume: bool = True
) -> Any:
    """Smooth the borders between phases.

    Steps and single voxels go; what is thinner than about two sigmas thins out or breaks. A border of mean curvature H
    would move by about sigma² H towards its inside; with `keep_volume` each phase gets a handicap, the same everywhere,
    with which its volume in all stays, to some hundredths of a percent of the whole in large volumes.

    Parameters
    ----------
    phases
        (z, y, x) uint8 phase labels, 255 outside; numpy or cupy.
    voxel_nm
        Voxel size, one number or (dz, dy, dx); ``None``: `sigma_nm` is in voxels.
    sigma_nm
        Sigma of the Gaussian; ``None``: the smallest voxel edge.
    keep_volume
        Whether the phases keep their fractions.

    Returns
    -------
    phases
        (z, y, x) uint8, the same kind of array; what is outside stays.

    Raises
    ------
    InputError
        Not three axes, or a sigma that is not positive.

    References
    ----------
    Merriman, Bence & Osher 1994, J. Comput. Phys. 112, 334; with volumes kept: Ruuth & Wetton 2003, J.
    Sci. Comput. 19, 373.

    Examples
    --------
    >>> phases = np.zeros((5, 8, 8), np.uint8)
    >>> phases[:, 4:] = 1
    >>> phases[2, 1, 1] = 1
    >>> smooth_phases(phases, 5.0, 7.0, keep_volume=False)[2, :, 1].tolist()
    [0, 0, 0, 0, 1, 1, 1, 1]
    """
    phases = as_array(phases)
    if phases.ndim != 3 or 0 in phases.shape:
        raise InputError(f"phases of shape {phases.shape} must have three axes (z, y, x), none of them empty")
    if sigma_nm is not None and not sigma_nm > 0:
        raise InputError(f"sigma_nm = {sigma_nm} must be positive")
    blur = Blur(sigma_nm, as_scale(voxel_nm)[0])
    n = len(phases)
    samples = [slab_samples(phases, blur, slice(0, n), 0, n)] if keep_volume else []
    return smoothed(phases, blur, handicaps(samples))


def _shares(phases: Any, blur: Blur) -> tuple[list[int], Any]:
    """Phases that occur, ascending, and (phases, z, y, x) float32: the share of each around every voxel."""
    xp, nd = namespace(phases), ndimage(phases)
    counts = to_host(xp.bincount(phases.reshape(-1), minlength=256))
    present = [int(p) for p in np.flatnonzero(counts[:OUTSIDE])]
    shares = xp.empty((len(present), *phases.shape), dtype=xp.float32)
    for share, phase in zip(shares, present, strict=True):
        share[...] = phases == phase
        nd.gaussian_filter(share, blur.sigma_px, output=share, mode="nearest", truncate=TRUNCATE)
    if present:
        total = shares.sum(axis=0)
        total[total == 0] = 1
        shares /= total
    return present, shares


def slab_samples(phases: Any, blur: Blur, core: slice, z0: int, nz: int) -> Table:
    """Phases and shares at evenly spread voxels of a slab's own slices, those of the whole volume's about `SAMPLES`.

    Parameters
    ----------
    phases, blur
        (z, y, x) uint8 of the slab and its halo; how they are blurred.
    core
        The slab's own slices.
    z0, nz
        Number of the first of these in the volume, and slices of the whole volume.

    Returns
    -------
    partial
        ``phases`` (n,) uint8 and ``shares`` (n, present) float32, of the phases ``present``; on the host.
    """
    present, shares = _shares(phases, blur)
    own = phases[core].reshape(-1)
    area = phases.shape[1] * phases.shape[2]
    step = max(1, nz * area // SAMPLES)
    while gcd(step, area) > 1:
        step += 1
    picked = slice(-z0 * area % step, None, step)
    samples = to_host(own[picked])
    seen = samples != OUTSIDE
    found = to_host(shares[:, core].reshape(len(present), own.size)[:, picked])
    return {"phases": samples[seen], "shares": found[:, seen].T, "present": np.array(present, dtype=np.int64)}


def handicaps(partials: Sequence[Table]) -> NDArray[np.float32]:
    """Handicap (256,) of each phase with which the samples keep their volumes; 0 without samples."""
    handicap = np.zeros(256, dtype=np.float32)
    if not partials:
        return handicap
    own = np.concatenate([t["phases"] for t in partials])
    present = np.unique(own)
    shares = np.full((len(own), len(present)), -np.inf, dtype=np.float32)
    start = 0
    for t in partials:
        rows = shares[start : start + len(t["phases"])]
        for k, phase in enumerate(present):
            for column in t["shares"].T[t["present"] == phase]:
                rows[column > 0, k] = column[column > 0]
        start += len(rows)
    for _ in range(ROUNDS if len(present) > 1 else 0):
        before = handicap.copy()
        for k, phase in enumerate(present):
            rest = np.delete(shares - handicap[present], k, axis=1).max(axis=1)
            lead = np.sort((shares[:, k] - rest)[shares[:, k] > -np.inf])
            losers = len(lead) - np.count_nonzero(own == phase)
            between = lead[max(losers - 1, 0) : losers + 1].mean(dtype=np.float64)
            handicap[phase] = np.clip(between, -LARGEST_HANDICAP, LARGEST_HANDICAP)
        handicap[present] -= handicap[present].mean()
        if np.abs(handicap - before).max() < SETTLED:
            break
    return handicap


def smoothed(phases: Any, blur: Blur, handicap: NDArray[np.float32]) -> Any:
    """Phase with the largest share less its handicap at every voxel; the lower one where two are equal."""
    xp = namespace(phases)
    present, shares = _shares(phases, blur)
    winner = phases.copy()
    best = xp.full(phases.shape, -xp.inf, dtype=xp.float32)
    for share, phase in zip(shares, present, strict=True):
        score = xp.where(share > 0, share - handicap[phase], -xp.inf)
        better = (score > best) & (phases != OUTSIDE)
        winner[better] = phase
        xp.maximum(best, score, out=best)
    return winner
