"""Affine displacement of single slices from the displacements of their tiles.

Changing structure moves every tile a little. It does so independently where tiles share no content, so that what the
tiles of a slice have in common stands out against their scatter.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

_OUTLIER = 3.0  # standard deviations beyond which a tile loses weight
_ROUNDS = 4
_FEWEST_TILES = 12
_RELATIVE = 0.5, 3.0  # range of the tiles' standard deviations around their median


@dataclass(frozen=True, eq=False)
class SliceTiles:
    """Tiles of one slice.

    Attributes
    ----------
    middle_px
        (m, 2) row and column relative to the middle of the frame.
    shift_px, sigma_px
        (m, 2) displacement and its standard deviation.
    """

    middle_px: Float
    shift_px: Float
    sigma_px: Float

    def covariance(self, axis: int, size: int) -> Float:
        """(m, m) of a component up to a factor: tiles of `size` px share noise as far as they share content."""
        apart = np.abs(self.middle_px[:, None] - self.middle_px[None])
        shared = np.clip(1 - apart / size, 0, None).prod(axis=-1) ** 2
        spread = self.sigma_px[:, axis] / np.median(self.sigma_px[:, axis])
        spread = spread.clip(*_RELATIVE)
        return np.asarray(shared * np.outer(spread, spread))

    @property
    def enough(self) -> bool:
        """Whether there are tiles enough to fit a plane and to tell its error."""
        return len(self.middle_px) >= _FEWEST_TILES


@dataclass(frozen=True, eq=False)
class Planes:
    """Affine displacement of every slice.

    Attributes
    ----------
    values, sigma
        (n, 2, 3) for dy and dx: at the middle of the frame in px, per row and per column; sigma is infinite where the
        slice has too few tiles.
    scatter_px
        (2,) standard deviation of a tile that the planes leave.
    outlying
        By slice, (m, 2) factors by which the noise of tiles that fit no plane is raised.
    """

    values: Float
    sigma: Float
    scatter_px: Float
    outlying: tuple[Float, ...]


def fit_planes(slices: Sequence[SliceTiles], size: int) -> Planes:
    """Fit dy and dx of every slice by planes, robust against outlying tiles; the scatter is that of the whole stack.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> middle = np.stack(np.meshgrid(*2 * [np.arange(-120.0, 121.0, 60)]), axis=-1).reshape(-1, 2)
    >>> shift = 0.01 * middle[:, ::-1] * (1, 0) + 0.1 * rng.normal(size=(25, 2))
    >>> found = fit_planes([SliceTiles(middle, shift, np.full((25, 2), 0.1))], 60)
    >>> bool(abs(found.values[0] - [[0, 0, 0.01], [0, 0, 0]])[:, 1:].max() < 4e-4 * 3)
    True
    """
    n = len(slices)
    values, sigma = np.zeros((n, 2, 3)), np.full((n, 2, 3), np.inf)
    misfit, raised = np.full((n, 2), np.nan), []
    for k, tiles in enumerate(slices):
        factors = np.ones_like(tiles.shift_px)
        raised.append(factors)
        if not tiles.enough:
            continue
        for axis in (0, 1):
            fit = _plane(tiles, axis, size)
            values[k, axis], sigma[k, axis], misfit[k, axis], factors[:, axis] = fit
    seen = np.isfinite(misfit).all(axis=1)
    scatter = np.sqrt(np.median(misfit[seen], axis=0)) if seen.any() else np.full(2, np.inf)
    # a slice that scatters more than most is known less well
    own = np.sqrt(np.maximum(misfit, scatter**2))[:, :, None]
    with np.errstate(invalid="ignore"):
        return Planes(values, np.where(seen[:, None, None], sigma * own, np.inf), scatter, tuple(raised))


def _plane(tiles: SliceTiles, axis: int, size: int) -> tuple[Float, Float, float, Float]:
    """Coefficients, their standard deviations for unit scatter, squared scatter, and factors of outlying tiles."""
    moved = tiles.middle_px - tiles.shift_px / 2
    design = np.column_stack([np.ones(len(moved)), moved])
    covariance, factors = tiles.covariance(axis, size), np.ones(len(moved))
    for _ in range(_ROUNDS):
        inverse = np.linalg.inv(covariance * np.outer(factors, factors))
        spread = np.linalg.inv(design.T @ inverse @ design)
        values = spread @ (design.T @ inverse @ tiles.shift_px[:, axis])
        rest = tiles.shift_px[:, axis] - design @ values
        middle = 1.4826 * np.median(np.abs(rest)) + 1e-6
        factors = np.maximum(1.0, np.abs(rest) / (_OUTLIER * middle)) ** 2
    misfit = float(rest @ inverse @ rest) / max(len(rest) - 3, 1)
    return values, np.sqrt(np.diag(spread)), misfit, factors
