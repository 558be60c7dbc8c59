"""A milled face in its surroundings: vacuum, protective layer, side walls of the trench and redeposited material."""

from dataclasses import dataclass, field
from math import inf, pi, radians, tan
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from fibtomo.errors import InputError
from fibtomo.phantom.packing import Polycrystal
from fibtomo.phantom.specimens import Float, NanoporousMetal, Phase, Specimen

FINE_GRAINED = Polycrystal(greys=(0.9, 0.93, 0.96), grain_nm=25.0)


@dataclass(frozen=True)
class Trench(Specimen):
    """Another specimen as a slice shows it: what must be left out lies above it, beside it and below it.

    From top to bottom: vacuum, protective layer, specimen, redeposited material; walls of the trench at both sides.
    Lengths of 0 leave a part out; so do the infinite places of the walls and of the redeposited material.

    Parameters
    ----------
    below
        The specimen proper; its phases keep their numbers.
    cap
        Specimen that the protective layer is made of.
    cap_nm
        Thickness of the layer.
    surface_nm
        y of the surface at x = z = 0.
    incline_deg, dip_deg
        Slope of the surface along x and along z.
    waviness_nm, wave_nm
        Amplitude and length along x of an undulation of the surface (three times as long along z).
    left_nm, right_nm
        x of the side walls at the surface.
    lean_deg
        Angle by which both walls lean inwards, downwards.
    floor_nm
        y at which redeposited material begins.
    wall_grey, vacuum_grey
        Signals of walls and redeposited material, and of the vacuum (the last two phases).

    Examples
    --------
    >>> face = Trench(surface_nm=100.0, cap_nm=50.0)
    >>> face.phase(0.0, np.array([20.0, 80.0]), 0.0) >= len(face.below.greys)
    array([ True,  True])
    """

    kind: ClassVar[str] = "trench"
    below: Specimen = field(default_factory=NanoporousMetal)
    cap: Specimen = FINE_GRAINED
    cap_nm: float = 1e6
    surface_nm: float = 300.0
    incline_deg: float = 0.0
    dip_deg: float = 0.0
    waviness_nm: float = 0.0
    wave_nm: float = 600.0
    left_nm: float | None = None
    right_nm: float | None = None
    lean_deg: float = 0.0
    floor_nm: float | None = None
    wall_grey: float = 0.12
    vacuum_grey: float = 0.03

    def __post_init__(self) -> None:
        greys = (*self.below.greys, *self.cap.greys, self.wall_grey, self.vacuum_grey)
        object.__setattr__(self, "greys", greys)
        super().__post_init__()
        self.require(wave_nm=self.wave_nm)
        if not max(abs(self.incline_deg), abs(self.dip_deg), abs(self.lean_deg)) < 45:
            raise InputError(f"{self.kind}: incline_deg, dip_deg and lean_deg must lie between -45 and 45")

    @property
    def porous(self) -> bool:
        """Whether the specimen below has pores."""
        return self.below.porous

    def surface_at(self, z_nm: ArrayLike, x_nm: ArrayLike) -> Float:
        """Return y of the surface (nm) at each broadcast place."""
        z, x = np.asarray(z_nm, dtype=np.float64), np.asarray(x_nm, dtype=np.float64)
        wave = np.sin(2 * pi * x / self.wave_nm) * np.cos(2 * pi * z / (3 * self.wave_nm))
        slopes = tan(radians(self.incline_deg)) * x + tan(radians(self.dip_deg)) * z
        return np.asarray(self.surface_nm + slopes + self.waviness_nm * wave)

    def _place(self, z_nm: ArrayLike, y_nm: ArrayLike, x_nm: ArrayLike) -> tuple[Float, Float]:
        """Depth below the surface, and distance inside the walls and above the floor; (nm)."""
        y, x = np.asarray(y_nm, dtype=np.float64), np.asarray(x_nm, dtype=np.float64)
        depth = y - self.surface_at(z_nm, x)
        inwards = tan(radians(self.lean_deg)) * np.maximum(depth, 0)
        free = np.full(depth.shape, inf)
        if self.left_nm is not None:
            free = np.minimum(free, x - self.left_nm - inwards)
        if self.right_nm is not None:
            free = np.minimum(free, self.right_nm - x - inwards)
        if self.floor_nm is not None:
            free = np.minimum(free, self.floor_nm - y)
        return depth, free

    def phase(self, z_nm: ArrayLike, y_nm: ArrayLike, x_nm: ArrayLike) -> Phase:
        """Return the phase of the specimen, or of what surrounds it."""
        depth, free = self._place(z_nm, y_nm, x_nm)
        first = len(self.below.greys)
        wall = np.uint8(len(self.greys) - 2)
        found = np.where(free > 0, self.below.phase(z_nm, y_nm, x_nm), wall)
        if not (depth < 0).any():
            return np.asarray(found)
        above = np.where(depth < -self.cap_nm, wall + np.uint8(1), self.cap.phase(z_nm, y_nm, x_nm) + np.uint8(first))
        return np.where(depth < 0, above, found).astype(np.uint8)

    def level(self, z_nm: ArrayLike, y_nm: ArrayLike, x_nm: ArrayLike) -> Float:
        """Level of the specimen below, positive in what surrounds it."""
        depth, free = self._place(z_nm, y_nm, x_nm)
        return np.where((depth < 0) | (free <= 0), 1.0, self.below.level(z_nm, y_nm, x_nm))

    def expected(self) -> dict[str, float]:
        """Values of the specimen below."""
        return self.below.expected()
