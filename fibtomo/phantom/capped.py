"""A protective layer with tracking marks over any specimen: the static reference of an acquisition."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from fibtomo.phantom.specimens import Float, NanoporousMetal, Phase, Specimen


@dataclass(frozen=True)
class Capped(Specimen):
    """Another specimen below a flat protective layer that carries tracking marks: a static reference.

    Marks run along z inside the layer; every second one is inclined, so that the distance between
    neighbours tells the milled depth. A chevron is a pair that converges symmetrically.

    Parameters
    ----------
    below
        The specimen proper; its phases keep their numbers.
    surface_nm
        y of the surface; the layer fills everything above.
    cap_grey, mark_grey
        Signals of the layer and of its marks (the last two phases).
    mark_spacing_nm
        Distance of the marks along x; 0 leaves them out.
    mark_width_nm, mark_depth_nm
        Section of a mark; its lower end is `mark_depth_nm` above the surface.
    mark_slope
        dx/dz of the inclined marks, and of either side of the chevron (tangent of its half-angle).
    chevron_gap_nm, chevron_at_nm
        Distance of the chevron's marks at z = 0, and x of its axis; a distance of 0 leaves it out.
    """

    kind: ClassVar[str] = "capped"
    below: Specimen = field(default_factory=NanoporousMetal)
    surface_nm: float = 200.0  # type: ignore[misc]
    cap_grey: float = 0.95
    mark_grey: float = 0.1
    mark_spacing_nm: float = 0.0
    mark_width_nm: float = 40.0
    mark_depth_nm: float = 50.0
    mark_slope: float = 0.5
    chevron_gap_nm: float = 0.0
    chevron_at_nm: float = 600.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "greys", (*self.below.greys, self.cap_grey, self.mark_grey))
        super().__post_init__()
        self.require(mark_width_nm=self.mark_width_nm)

    @property
    def porous(self) -> bool:
        """Whether the specimen below has pores."""
        return self.below.porous

    def phase(self, z_nm: ArrayLike, y_nm: ArrayLike, x_nm: ArrayLike) -> Phase:
        """Return the phase below the surface, the layer's above."""
        z, y, x = (np.asarray(a, dtype=np.float64) for a in (z_nm, y_nm, x_nm))
        cap = len(self.below.greys)
        above = np.full(np.broadcast_shapes(z.shape, x.shape), cap, dtype=np.uint8)
        if self.mark_spacing_nm > 0:
            straight = np.mod(x, 2 * self.mark_spacing_nm) < self.mark_width_nm
            shifted = x - self.mark_spacing_nm - self.mark_slope * z
            above[straight | (np.mod(shifted, 2 * self.mark_spacing_nm) < self.mark_width_nm)] = cap + 1
        if self.chevron_gap_nm > 0:
            aside = np.abs(x - self.chevron_at_nm) - self.chevron_gap_nm / 2 + self.mark_slope * z
            above[np.abs(aside) < self.mark_width_nm / 2] = cap + 1
        marked = np.where(y < self.surface_nm - self.mark_depth_nm, above, np.uint8(cap))
        return np.where(y < self.surface_nm, marked, self.below.phase(z, y, x))

    def level(self, z_nm: ArrayLike, y_nm: ArrayLike, x_nm: ArrayLike) -> Float:
        """Level of the specimen below, positive in the layer."""
        y = np.asarray(y_nm, dtype=np.float64)
        return np.where(y < self.surface_nm, 1.0, self.below.level(z_nm, y, x_nm))

    def expected(self) -> dict[str, float]:
        """Values of the specimen below the surface."""
        return self.below.expected()
