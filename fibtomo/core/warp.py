"""What is left of the motion within a slice once shift, shear and scale are known: a smooth displacement field.

Scan-line drift, magnification and rotation steps after refocusing, and local charging displace parts of one slice
against each other. A `Warp` holds such displacements at a few nodes per slice; the resample adds them to the place it
reads, so that they cost no second interpolation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self
from zipfile import BadZipFile

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fibtomo.core.splines import basis, control_points, sampled
from fibtomo.core.volume import Table
from fibtomo.errors import InputError

Float = NDArray[np.float64]

_FORMAT = "fibtomo warp 1"
_MAX_STEPS = 200
_CHUNK = 64
"""Slices whose gradients are looked at together."""


@dataclass(frozen=True, eq=False)
class Warp:
    """Displacement within every slice: content that belongs at q appears at ``q + w(q)``.

    Between nodes the displacement is the natural bicubic spline through them (twice continuously differentiable, so
    that it leaves no kinks in straight interfaces); beyond the frame it goes on linearly. It is linear in the nodes
    and reproduces any affine displacement exactly from 2 × 2 nodes.

    Laws, for warps ``a, b, c`` on the same frame, ``e = Warp.identity(...)`` and any place q, up to rounding:

    - ``a + b`` displaces by the sum, ``a + b = b + a``, ``(a + b) + c = a + (b + c)``, ``a + e = a``
    - ``a.then(b)`` displaces by ``a(q) + b(q + a(q))`` at the nodes; between them as well if both are affine
    - ``a.undo(k, q + a(q)) = q``
    - ``a.bounds_px`` contains every displacement inside the frame

    Parameters
    ----------
    nodes_px
        (n, gy, gx, 2) displacement (dy, dx) of slice k at gy × gx nodes spread evenly from corner to corner of the
        frame; one node along an axis means no change along it.
    frame
        (rows, columns) of the slices.

    Raises
    ------
    InputError
        The shape does not fit, a number is not finite, or the displacement changes by 1 px per px or more, so that
        the slice would fold.

    Examples
    --------
    >>> warp = Warp.from_affine(affine_matrices(scale=[1.0, 1.01]), frame=(101, 201))
    >>> (warp(1, 0.0, 100.0).round(6) + 0.0).tolist()
    [-0.5, 0.0]
    """

    nodes_px: Float
    frame: tuple[int, int]

    def __post_init__(self) -> None:
        nodes = np.array(self.nodes_px, dtype=np.float64)
        frame = tuple(int(v) for v in self.frame)
        if nodes.ndim != 4 or nodes.shape[-1] != 2 or nodes.size == 0:
            raise InputError(f"a warp needs nodes of shape (slices, gy, gx, 2), not {nodes.shape}")
        if len(frame) != 2 or min(frame) < 1:
            raise InputError(f"frame = {self.frame} must be (rows, columns) of the slices")
        if not np.isfinite(nodes).all():
            k = int(np.argwhere(~np.isfinite(nodes))[0, 0])
            raise InputError(f"the warp of slice {k} holds a displacement that is not finite")
        nodes.flags.writeable = False
        object.__setattr__(self, "nodes_px", nodes)
        object.__setattr__(self, "frame", frame)
        steepest = self.max_gradient
        if (folded := np.flatnonzero(steepest >= 1)).size:
            raise InputError(
                f"the warp of slice {folded[0]} changes by {steepest[folded[0]]:.2g} px per px and would fold it "
                f"(so do {folded.size - 1} others): displacements must vary by less than 1 px per px"
            )

    @classmethod
    def identity(cls, n_slices: int, frame: tuple[int, int]) -> Self:
        """Displace nothing."""
        return cls(np.zeros((n_slices, 1, 1, 2)), frame)

    @classmethod
    def from_affine(cls, matrices: ArrayLike, frame: tuple[int, int]) -> Self:
        """Affine displacement of every slice about the middle of its frame.

        Parameters
        ----------
        matrices
            (n, 2, 3): a place (row, column) relative to the middle appears at ``matrix[:, :2] · place + matrix[:, 2]``.
        frame
            (rows, columns) of the slices.

        Raises
        ------
        InputError
            The shape is another, a number is not finite, or a slice would fold.
        """
        m = np.asarray(matrices, dtype=np.float64)
        if m.ndim != 3 or m.shape[1:] != (2, 3):
            raise InputError(f"affine warps need matrices of shape (slices, 2, 3), not {m.shape}")
        corners = _node_places((2, 2), frame) - (np.asarray(frame) - 1) / 2
        return cls(np.einsum("nij,yxj->nyxi", m[:, :, :2], corners) + m[:, None, None, :, 2] - corners, frame)

    @classmethod
    def from_line_drift(cls, knots_px: ArrayLike, frame: tuple[int, int]) -> Self:
        """Drift while a slice is scanned: every line of the image is displaced as a whole.

        Parameters
        ----------
        knots_px
            (n, m, 2) displacement (dy, dx) of the lines at m rows spread evenly over the *recorded* image, the first
            and the last row included; a natural cubic spline runs through them.
        frame
            (rows, columns) of the slices.

        Raises
        ------
        InputError
            The shape is another, a number is not finite, or a slice would fold.

        Examples
        --------
        >>> drift = Warp.from_line_drift([[[0, 0], [0, 4]]], frame=(101, 50))
        >>> drift(0, 50.0, 10.0).round(9).tolist()
        [0.0, 2.0]
        """
        knots = np.asarray(knots_px, dtype=np.float64)
        if knots.ndim != 3 or knots.shape[-1] != 2:
            raise InputError(f"line drift needs knots of shape (slices, m, 2), not {knots.shape}")
        recorded = cls(knots[:, :, None], frame)
        count = 4 * (knots.shape[1] - 1) + 1
        places = np.broadcast_to(_node_places((count, 1), frame)[:, 0], (len(knots), count, 2))
        slices = np.arange(len(knots))[:, None]
        lines = _fixed_point(lambda at: places[..., 0] + recorded(slices, at, 0.0)[..., 0], places[..., 0])
        return cls(recorded(slices, lines, 0.0)[:, :, None], frame)

    def __len__(self) -> int:
        """Number of slices."""
        return len(self.nodes_px)

    @cached_property
    def control_px(self) -> NDArray[np.float32]:
        """(n, gy + 2, gx + 2, 2) B-spline coefficients, at least four along each axis."""
        return np.ascontiguousarray(self._control, dtype=np.float32)

    @cached_property
    def _control(self) -> Float:
        return control_points(control_points(self.nodes_px, 1), 2)

    @property
    def nodes_per_px(self) -> tuple[float, float]:
        """Steps of the node grid (along rows, along columns) per pixel."""
        gy, gx = (g - 3 for g in self._control.shape[1:3])
        rows, cols = self.frame
        return (gy / (rows - 1) if rows > 1 else 0.0), (gx / (cols - 1) if cols > 1 else 0.0)

    @cached_property
    def bounds_px(self) -> Float:
        """(n, 2, 2): lowest and highest (dy, dx) that slice k can show inside the frame, safe but not always tight."""
        inner = self._control
        return np.stack([inner.min(axis=(1, 2)), inner.max(axis=(1, 2))], axis=1)

    @cached_property
    def max_gradient(self) -> Float:
        """(n,) largest change of displacement per pixel in any direction, sampled at nodes and thrice between them."""
        found = np.zeros(len(self))
        values, slopes = zip(
            *(sampled(g, s) for g, s in zip(self._control.shape[1:3], self.nodes_per_px, strict=True)), strict=True
        )
        for a in range(0, len(self), _CHUNK):
            control = self._control[a : a + _CHUNK]
            along = [
                np.einsum("yi,xj,nijc->nyxc", y, x, control, optimize=True)
                for y, x in ((slopes[0], values[1]), (values[0], slopes[1]))
            ]
            found[a : a + _CHUNK] = _spectral_norm(np.stack(along, axis=-1)).max(axis=(1, 2))
        return found

    @cached_property
    def margin_px(self) -> Float:
        """(n,) distance from the edge of the frame that no displacement can carry a place across."""
        largest = np.hypot(*np.abs(self.bounds_px).max(axis=1).T)
        return np.asarray(largest / (1 - self.max_gradient) + 1)

    def __call__(self, k: ArrayLike, row: ArrayLike, col: ArrayLike) -> Float:
        """Displacement (..., 2) as (dy, dx) of slice `k` at the places (row, col), which are broadcast together."""
        k, row, col = np.broadcast_arrays(k, np.asarray(row, dtype=np.float64), np.asarray(col, dtype=np.float64))
        scale_y, scale_x = self.nodes_per_px
        y, weight_y = basis(row * scale_y, self._control.shape[1])
        x, weight_x = basis(col * scale_x, self._control.shape[2])
        found = np.zeros((*k.shape, 2))
        for a in range(4):
            for b in range(4):
                found += (weight_y[a] * weight_x[b])[..., None] * self._control[k, y + a, x + b]
        return found

    def undo(self, k: ArrayLike, row: ArrayLike, col: ArrayLike) -> Float:
        """Places (..., 2) that slice `k` shows at (row, col): the inverse of ``q + w(q)``."""
        k, row, col = np.broadcast_arrays(k, np.asarray(row, dtype=np.float64), np.asarray(col, dtype=np.float64))
        seen = np.stack([row, col], axis=-1)
        size = np.asarray(self.frame, dtype=np.float64)

        def step(place: Float) -> Float:
            near = np.clip(place, -size, 2 * size)  # far beyond a corner the displacement may grow faster than the way
            return seen - self(k, near[..., 0], near[..., 1])

        return _fixed_point(step, seen)

    def __add__(self, other: "Warp") -> "Warp":
        """Add the displacements; on node grids of different size at the nodes of the finer one."""
        return self._joined(other, lambda k, q: self(k, *q) + other(k, *q))

    def then(self, other: "Warp") -> "Warp":
        """Displace by this warp, and by `other` at the place that leads to."""

        def both(k: NDArray[Any], q: tuple[Float, Float]) -> Float:
            first = self(k, *q)
            return first + other(k, q[0] + first[..., 0], q[1] + first[..., 1])

        return self._joined(other, both)

    def _joined(self, other: "Warp", displacement: Callable[[NDArray[Any], tuple[Float, Float]], Float]) -> "Warp":
        if self.frame != other.frame or len(self) != len(other):
            raise InputError(
                f"a warp of {len(self)} slices of {self.frame} and one of {len(other)} slices of {other.frame} do not "
                f"fit together"
            )
        gy, gx = (max(a, b) for a, b in zip(self.nodes_px.shape[1:3], other.nodes_px.shape[1:3], strict=True))
        places = _node_places((gy, gx), self.frame)
        k = np.arange(len(self))[:, None, None]
        row, col = (np.broadcast_to(places[..., c], (len(self), gy, gx)) for c in (0, 1))
        return Warp(displacement(np.broadcast_to(k, row.shape), (row, col)), self.frame)

    def to_table(self) -> Table:
        """Return the flat table that stages and ledger pass on."""
        return {"nodes_px": self.nodes_px.astype(np.float32), "frame": list(self.frame)}

    def save(self, path: str | Path) -> None:
        """Write an ``.npz`` file with the arrays ``nodes_px`` and ``frame``."""
        with Path(path).open("wb") as handle:
            np.savez_compressed(handle, format=np.array(_FORMAT), nodes_px=self.nodes_px, frame=np.array(self.frame))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote; nothing in the file is executed.

        Raises
        ------
        InputError
            The file cannot be read or holds no warp.
        """
        try:
            with np.load(Path(path), allow_pickle=False) as stored:
                nodes, frame = stored["nodes_px"], stored["frame"]
        except (OSError, ValueError, KeyError, BadZipFile, EOFError) as error:
            raise InputError(f"{path}: no warp can be read from this file ({error})") from error
        if frame.shape != (2,):
            raise InputError(f"{path}: frame must hold (rows, columns), not {frame.tolist()}")
        return cls(nodes, (int(frame[0]), int(frame[1])))


def affine_matrices(
    scale: ArrayLike = 1.0, rotation_deg: ArrayLike = 0.0, shear: ArrayLike = 0.0, shift_px: ArrayLike = (0.0, 0.0)
) -> Float:
    """Matrices (n, 2, 3) for `Warp.from_affine` of slices that appear enlarged, turned, sheared and shifted.

    Parameters
    ----------
    scale
        (n,) magnification, or (n, 2) along rows and columns.
    rotation_deg
        (n,) turn of the content from column axis towards row axis (clockwise on the screen).
    shear
        (n,) columns by which content moves right per row below the middle, before the turn.
    shift_px
        (n, 2) displacement (dy, dx) of the middle.

    Examples
    --------
    >>> affine_matrices(scale=1.01, shear=[0.0, 0.002]).shape
    (2, 2, 3)
    """
    scale = np.asarray(scale, dtype=np.float64)
    scale = scale if scale.ndim == 2 else np.stack([scale, scale], axis=-1)
    angle, shear, shift = np.radians(rotation_deg), np.asarray(shear, dtype=np.float64), np.asarray(shift_px)
    shape = np.broadcast_shapes((1,), scale.shape[:-1], angle.shape, shear.shape, shift.shape[:-1])
    matrices = np.zeros((*shape, 2, 3))
    sine, cosine = np.sin(angle), np.cos(angle)
    matrices[..., 0, 0] = (cosine + sine * shear) * scale[..., 0]
    matrices[..., 0, 1] = sine * scale[..., 1]
    matrices[..., 1, 0] = (cosine * shear - sine) * scale[..., 0]
    matrices[..., 1, 1] = cosine * scale[..., 1]
    matrices[..., 2] = shift
    return matrices


def _node_places(counts: tuple[int, int], frame: tuple[int, int]) -> Float:
    """(gy, gx, 2) rows and columns of nodes spread over the frame."""
    axes = [np.linspace(0, size - 1, count) for count, size in zip(counts, frame, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def _spectral_norm(matrices: Float) -> Float:
    """Largest singular value of (..., 2, 2) matrices."""
    a, b, c, d = (matrices[..., i, j] for i in (0, 1) for j in (0, 1))
    return np.asarray((np.hypot(a + d, b - c) + np.hypot(a - d, b + c)) / 2)


def _fixed_point(step: Callable[[Float], Float], start: Float) -> Float:
    """Repeat a contracting `step` until it stands still."""
    place = start
    for _ in range(_MAX_STEPS):
        following = step(place)
        if np.max(np.abs(following - place), initial=0.0) < 1e-9:
            return following
        place = following
    return place
