"""Affine maps of (z, y, x) coordinates, and the small algebra that composes all corrections into one of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, radians, sin
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fibtomo.errors import InputError

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Affine:
    """The map ``p -> matrix · p + offset`` of points (z, y, x); immutable.

    Resampling pulls back: the map takes a place in the result to the place in the source that it reads. Chaining
    corrections by composing their maps and reading the source once, instead of resampling after each of them, keeps
    resolution and noise as they were recorded.

    Laws, for maps ``f, g, h``, ``e = Affine.identity()``, and points ``p``, up to rounding:

    - ``(f @ g)(p) = f(g(p))``
    - ``(f @ g) @ h = f @ (g @ h)``
    - ``e @ f = f = f @ e``
    - ``f.inverse() @ f = e = f @ f.inverse()`` and ``(f @ g).inverse() = g.inverse() @ f.inverse()``
    - ``f.bounds(box)`` contains ``f(p)`` for every ``p`` in the box, and no smaller box does
    - ``f.volume_factor`` of ``f @ g`` is the product of both, positive where handedness is kept

    Parameters
    ----------
    matrix
        (3, 3), acting on columns (z, y, x).
    offset
        (3,) image of the origin.

    Raises
    ------
    InputError
        The shapes do not fit, or a number is not finite.

    Examples
    --------
    >>> stretch = Affine.scaling((10.0, 6.345, 5.0))
    >>> lean = Affine.shear_y_along_z(1.2313)
    >>> (stretch @ lean)([1.0, 0.0, 0.0]).round(2)
    array([10.  ,  7.81,  0.  ])
    """

    matrix: Float
    offset: Float

    def __post_init__(self) -> None:
        matrix, offset = np.array(self.matrix, dtype=np.float64), np.array(self.offset, dtype=np.float64)
        if matrix.shape != (3, 3) or offset.shape != (3,):
            raise InputError(f"a map needs a (3, 3) matrix and a (3,) offset, not {matrix.shape} and {offset.shape}")
        if not (np.isfinite(matrix).all() and np.isfinite(offset).all()):
            raise InputError("a map with numbers that are not finite leads nowhere; give finite matrix and offset")
        for name, array in (("matrix", matrix), ("offset", offset)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @classmethod
    def identity(cls) -> Self:
        """The map that leaves every point where it is."""
        return cls(np.eye(3), np.zeros(3))

    @classmethod
    def scaling(cls, factors: Sequence[float]) -> Self:
        """Stretch (z, y, x) by `factors`, the origin fixed."""
        return cls(np.diag(np.asarray(factors, dtype=np.float64)), np.zeros(3))

    @classmethod
    def translation(cls, step: Sequence[float]) -> Self:
        """Move every point by `step` (z, y, x)."""
        return cls(np.eye(3), np.asarray(step, dtype=np.float64))

    @classmethod
    def shear_y_along_z(cls, slope: float) -> Self:
        """Move y by ``slope · z``: what the milling advance does to the image of a fixed field of view."""
        matrix = np.eye(3)
        matrix[1, 0] = slope
        return cls(matrix, np.zeros(3))

    @classmethod
    def rotation_about_x(cls, angle_deg: float) -> Self:
        """Turn about the tilt axis x; a positive angle moves the z axis towards y (image down)."""
        c, s = cos(radians(angle_deg)), sin(radians(angle_deg))
        return cls(np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]), np.zeros(3))

    @property
    def volume_factor(self) -> float:
        """Volume of the image of a unit cube; negative when the map mirrors."""
        a, b, c = self.matrix
        return float(a @ np.cross(b, c))

    def __call__(self, points: ArrayLike) -> Float:
        """Map points (..., 3).

        Raises
        ------
        InputError
            The last axis does not hold (z, y, x).
        """
        points = as_points(points)
        return np.asarray(points @ self.matrix.T + self.offset)

    def __matmul__(self, first: "Affine") -> "Affine":
        """The map that applies `first`, then this one."""
        return Affine(self.matrix @ first.matrix, self.matrix @ first.offset + self.offset)

    def inverse(self) -> "Affine":
        """The map that leads back.

        Raises
        ------
        InputError
            The map flattens space, so that no way leads back.
        """
        try:
            back: Float = np.linalg.inv(self.matrix).astype(np.float64)
        except np.linalg.LinAlgError as error:
            raise InputError("a map that flattens space cannot be inverted; check for a scale of zero") from error
        return Affine(back, -back @ self.offset)

    def bounds(self, box: ArrayLike) -> Float:
        """Tightest box (2, 3) around the image of a box.

        Parameters
        ----------
        box
            (2, 3) lowest and highest (z, y, x), both inside.

        Raises
        ------
        InputError
            The box has another shape or its sides are swapped.
        """
        box = np.asarray(box, dtype=np.float64)
        if box.shape != (2, 3) or not np.all(box[0] <= box[1]):
            raise InputError(f"a box is (2, 3), lowest corner first, not {box.tolist()}")
        terms = self.matrix * box[:, None, :]
        return np.stack([terms.min(axis=0).sum(axis=1), terms.max(axis=0).sum(axis=1)]) + self.offset


def as_points(points: ArrayLike) -> Float:
    """Float array (..., 3) of points.

    Raises
    ------
    InputError
        The last axis does not hold (z, y, x).
    """
    array = np.asarray(points, dtype=np.float64)
    if array.ndim < 1 or array.shape[-1] != 3:
        raise InputError(f"points need (z, y, x) along their last axis, but the array has shape {array.shape}")
    return array
