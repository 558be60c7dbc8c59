"""Specimens made of many separate things in a periodic box: particles, columns, grains."""

from dataclasses import dataclass
from functools import cached_property
from math import log, pi, radians, tan
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fibtomo.errors import InputError
from fibtomo.phantom.specimens import Float, LevelSpecimen, Phase, Specimen

TRIES_PER_BALL = 4000


@dataclass(frozen=True)
class CellList:
    """Centres in a periodic box, with the candidates of every cell in compressed rows."""

    box: Float
    cells: NDArray[np.int64]
    start: NDArray[np.int64]
    index: NDArray[np.int64]
    centres: Float

    @classmethod
    def build(cls, centres: Float, box: Float, cell: float, reach: float | None) -> "CellList":
        """List for each cell the centres within `reach` of it, or (``None``) all that may be nearest."""
        from scipy.spatial import cKDTree

        cells = np.maximum(1, np.floor(box / cell)).astype(np.int64)
        size = box / cells
        middle = np.stack(
            np.meshgrid(*[(np.arange(n) + 0.5) * s for n, s in zip(cells, size, strict=True)], indexing="ij")
        )
        middle = middle.reshape(3, -1).T
        half = float(np.linalg.norm(size) / 2)
        tree = cKDTree(centres, boxsize=box)
        radius = tree.query(middle)[0] + 2 * half if reach is None else np.full(len(middle), reach + half)
        found = tree.query_ball_point(middle, radius + 1e-9 * half, return_sorted=True)
        start = np.concatenate([[0], np.cumsum([len(f) for f in found])]).astype(np.int64)
        index = np.concatenate([np.asarray(f, dtype=np.int64) for f in found])
        return cls(box, cells, start, index, centres)

    def points(self, z: ArrayLike, y: ArrayLike, x: ArrayLike) -> tuple[Float, tuple[int, ...]]:
        """Coordinates (n, 3) wrapped into the box, and their shape before flattening."""
        axes = [np.mod(np.asarray(a, dtype=np.float64), b) for a, b in zip((z, y, x), self.box, strict=True)]
        full = np.broadcast_arrays(*axes)
        return np.stack([a.ravel() for a in full], axis=1), full[0].shape


def pack_balls(radii: Float, box: Float, rng: np.random.Generator, what: str) -> Float:
    """Centres (n, 3) of non-overlapping balls in a periodic box, largest placed first (`radii` descending).

    Raises
    ------
    InputError
        They do not fit.

    References
    ----------
    Widom, J. Chem. Phys. 44, 3888 (1966), random sequential addition.
    """
    from fibtomo.phantom._loops import place

    centres = place(radii, rng.random((TRIES_PER_BALL * len(radii), 3)) * box, box)
    if np.isnan(centres).any():
        raise InputError(
            f"{what}: so dense a packing cannot be reached by random addition; lower the fraction below 0.35"
        )
    return centres


@dataclass(frozen=True)
class Particles(Specimen):
    """Spheres of lognormal size, without overlap, in a uniform or structured matrix.

    Parameters
    ----------
    radius_nm
        Median radius.
    spread
        Standard deviation of ln(radius).
    fraction
        Volume fraction of the particles, at most about 0.35.
    matrix
        Specimen between the particles; ``None`` is a uniform phase 0. Particles are the last phase.
    box_nm
        Edge of the periodic box; 0 takes 14 median radii.
    seed
        Sizes and places.

    Examples
    --------
    >>> Particles(greys=(0.2, 0.8)).phase(0.0, 0.0, np.arange(3.0)).shape
    (3,)
    """

    kind: ClassVar[str] = "particles"
    radius_nm: float = 120.0
    spread: float = 0.25
    fraction: float = 0.3
    matrix: Specimen | None = None
    box_nm: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(radius_nm=self.radius_nm)
        phases = 2 if self.matrix is None else len(self.matrix.greys) + 1
        if len(self.greys) != phases:
            raise InputError(f"{self.kind}: {phases} phases need as many greys, not {len(self.greys)}")
        if not 0 < self.fraction <= 0.4 or not 0 <= self.spread <= 0.6:
            raise InputError(
                f"{self.kind}: fraction = {self.fraction} must be 0 to 0.4 and spread = {self.spread} 0 to 0.6"
            )

    @cached_property
    def _balls(self) -> tuple[CellList, Float]:
        rng = np.random.default_rng(self.seed)
        edge = self.box_nm or 14 * self.radius_nm
        radii = self.radius_nm * np.exp(self.spread * np.clip(rng.standard_normal(4096), -2.5, 2.5))
        filled = np.cumsum(4 / 3 * np.pi * radii**3) / edge**3
        count = int(np.argmin(np.abs(filled - self.fraction))) + 1
        radii = np.sort(radii[:count] * (self.fraction / filled[count - 1]) ** (1 / 3))[::-1].copy()
        box = np.full(3, float(edge))
        centres = pack_balls(radii, box, rng, self.kind)
        return CellList.build(centres, box, self.radius_nm, float(radii[0])), radii

    @property
    def porous(self) -> bool:
        """Whether phase 0 is the pore of the matrix (or the matrix itself)."""
        return self.matrix is None or self.matrix.porous

    def depth_nm(self, z_nm: ArrayLike, y_nm: ArrayLike, x_nm: ArrayLike) -> Float:
        """Distance below the nearest particle surface, negative outside (not farther than one median radius)."""
        return _depth_in(self._balls, z_nm, y_nm, x_nm, -self.radius_nm)

    def phase(self, z_nm: ArrayLike, y_nm: ArrayLike, x_nm: ArrayLike) -> Phase:
        """Return the last phase inside particles, the matrix's elsewhere."""
        inside = self.depth_nm(z_nm, y_nm, x_nm) > 0
        between = np.uint8(0) if self.matrix is None else self.matrix.phase(z_nm, y_nm, x_nm)
        return np.where(inside, np.uint8(len(self.greys) - 1), between)

    def level(self, z_nm: ArrayLike, y_nm: ArrayLike, x_nm: ArrayLike) -> Float:
        """Relative depth inside particles or the level of the matrix, whichever is larger."""
        depth = self.depth_nm(z_nm, y_nm, x_nm) / self.radius_nm
        return depth if self.matrix is None else np.maximum(depth, self.matrix.level(z_nm, y_nm, x_nm))

    def expected(self) -> dict[str, float]:
        """Fraction of the particles (exact in the periodic box)."""
        return {"volume_fraction": self.fraction}


@dataclass(frozen=True)
class BooleanBalls(LevelSpecimen):
    """Balls of one size thrown at random, overlapping: grains of a porous body, or its bubbles.

    Parameters
    ----------
    radius_nm
        Radius of the balls.
    fraction
        Volume fraction of the solid.
    bubbles
        Whether the balls are the pores.
    box_nm
        Edge of the periodic box; 0 takes 24 radii.
    seed
        Places.

    References
    ----------
    Chiu, Stoyan, Kendall & Mecke, Stochastic Geometry and its Applications, Wiley (2013): Boolean model.

    Examples
    --------
    >>> foam = BooleanBalls(radius_nm=40.0, fraction=0.3, bubbles=True, seed=1)
    >>> z, y, x = np.ogrid[0:960:10, 0:960:10, 0:960:10]
    >>> abs(float(foam.phase(z, y, x).mean()) - 0.3) < 0.03
    True
    """

    kind: ClassVar[str] = "boolean_balls"
    radius_nm: float = 80.0
    fraction: float = 0.4
    bubbles: bool = False
    box_nm: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(radius_nm=self.radius_nm)
        if not 0 < self.fraction < 1:
            raise InputError(f"{self.kind}: fraction = {self.fraction} must lie between 0 and 1")

    @cached_property
    def _balls(self) -> tuple[CellList, Float]:
        edge = self.box_nm or 24 * self.radius_nm
        empty = self.fraction if self.bubbles else 1 - self.fraction
        count = max(1, round(-log(empty) * edge**3 / (4 / 3 * pi * self.radius_nm**3)))
        centres = np.random.default_rng(self.seed).random((count, 3)) * edge
        box = np.full(3, float(edge))
        return CellList.build(centres, box, self.radius_nm, 2 * self.radius_nm), np.full(count, self.radius_nm)

    def level(self, z_nm: ArrayLike, y_nm: ArrayLike, x_nm: ArrayLike) -> Float:
        """Distance (nm) below the nearest surface of a ball, at least one radius above it; negative in pores."""
        depth = _depth_in(self._balls, z_nm, y_nm, x_nm, -self.radius_nm)
        return -depth if self.bubbles else depth

    def expected(self) -> dict[str, float]:
        """Mean fraction of the solid over all draws."""
        return {"volume_fraction": self.fraction}


def _depth_in(
    balls: tuple[CellList, Float], z_nm: ArrayLike, y_nm: ArrayLike, x_nm: ArrayLike, outside: float
) -> Float:
    """Distance (nm) of each place below the nearest ball's surface, `outside` where none is near."""
    from fibtomo.phantom._loops import depth_in_balls

    cells, radii = balls
    points, shape = cells.points(z_nm, y_nm, x_nm)
    depth = depth_in_balls(points, cells.box, cells.cells, cells.start, cells.index, cells.centres, radii, outside)
    return np.asarray(depth).reshape(shape)


@dataclass(frozen=True)
class InclinedColumns(LevelSpecimen):
    """Parallel cylinders that lean against z: what image correlation alone takes for drift.

    Parameters
    ----------
    radius_nm
        Radius of the section in the x–y plane.
    fraction
        Area fraction of the columns, at most about 0.4.
    lean_y_deg, lean_x_deg
        Angle of the axes against z, towards y and x.
    seed
        Places.
    """

    kind: ClassVar[str] = "inclined_columns"
    radius_nm: float = 60.0
    fraction: float = 0.3
    lean_y_deg: float = 0.0
    lean_x_deg: float = 16.7
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(radius_nm=self.radius_nm, fraction=self.fraction)

    @cached_property
    def _discs(self) -> tuple[CellList, Float]:
        rng = np.random.default_rng(self.seed)
        edge = 36 * self.radius_nm
        count = max(1, round(self.fraction * edge**2 / (np.pi * self.radius_nm**2)))
        radii = np.full(count, self.radius_nm * np.sqrt(self.fraction * edge**2 / count / np.pi) / self.radius_nm)
        plane = np.array([edge, edge, edge])
        centres = pack_balls(radii, plane * [0, 1, 1] + [1, 0, 0], rng, self.kind)
        return CellList.build(centres * [0, 1, 1], plane, self.radius_nm, float(radii[0])), radii

    def level(self, z_nm: ArrayLike, y_nm: ArrayLike, x_nm: ArrayLike) -> Float:
        """Distance (nm, in the x–y plane) inside the nearest column."""
        z, y, x = (np.asarray(a, dtype=np.float64) for a in (z_nm, y_nm, x_nm))
        y = y - z * tan(radians(self.lean_y_deg))
        x = x - z * tan(radians(self.lean_x_deg))
        return _depth_in(self._discs, 0.0, y, x, -self.radius_nm)

    def expected(self) -> dict[str, float]:
        """Fraction of the columns."""
        return {"volume_fraction": self.fraction}


@dataclass(frozen=True)
class Polycrystal(Specimen):
    """Voronoi grains whose grey comes from channelling contrast: a few grey classes, one for each grain.

    Parameters
    ----------
    grain_nm
        Mean grain size (cube root of the mean volume).
    seed
        Grain centres and grey classes.

    References
    ----------
    Okabe et al., Spatial Tessellations, Wiley (2000): Poisson–Voronoi cells.
    """

    kind: ClassVar[str] = "polycrystal"
    greys: tuple[float, ...] = (0.3, 0.38, 0.46, 0.54, 0.62, 0.7)
    grain_nm: float = 250.0
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(grain_nm=self.grain_nm)

    @cached_property
    def _grains(self) -> tuple[CellList, Phase]:
        rng = np.random.default_rng(self.seed)
        count = 1000
        box = np.full(3, self.grain_nm * count ** (1 / 3))
        centres = rng.random((count, 3)) * box
        classes = rng.permutation(np.resize(np.arange(len(self.greys), dtype=np.uint8), count))
        return CellList.build(centres, box, self.grain_nm / 2, None), classes

    def grain(self, z_nm: ArrayLike, y_nm: ArrayLike, x_nm: ArrayLike) -> NDArray[np.int64]:
        """Number of the grain (0 to 999; the specimen repeats after 10 grain sizes)."""
        from fibtomo.phantom._loops import nearest_seed

        cells, _ = self._grains
        points, shape = cells.points(z_nm, y_nm, x_nm)
        seeds = nearest_seed(points, cells.box, cells.cells, cells.start, cells.index, cells.centres)
        return np.asarray(seeds).reshape(shape)

    def phase(self, z_nm: ArrayLike, y_nm: ArrayLike, x_nm: ArrayLike) -> Phase:
        """Return the grey class of the grain."""
        return np.asarray(self._grains[1][self.grain(z_nm, y_nm, x_nm)])
