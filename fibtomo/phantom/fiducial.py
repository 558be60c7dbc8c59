"""A tracking mark beside or above the face: the same on every slice, whatever the specimen does."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fibtomo.errors import InputError
from fibtomo.phantom.specimens import Float, NanoporousMetal, Phase, Specimen

SHAPES = ("cross", "dot", "lines")


@dataclass(frozen=True)
class Fiducial(Specimen):
    """Another specimen with a mark that runs straight along z: a static reference.

    Parameters
    ----------
    below
        The specimen proper; its phases keep their numbers.
    shape
        "cross" (two arms), "dot" or "lines" (parallel to x).
    at_nm
        (y, x) of its middle.
    size_nm, arm_nm
        Length of its sides, and width of an arm or line.
    plate_nm
        Length of the sides of a plain plate around it; 0 leaves it out.
    mark_grey, plate_grey
        Signals of mark and plate (the last two phases).

    Examples
    --------
    >>> mark = Fiducial(at_nm=(100.0, 100.0), size_nm=60.0, arm_nm=10.0)
    >>> (mark.phase(0.0, np.array([100.0, 120.0]), np.array([120.0, 100.0])) == len(mark.greys) - 1).tolist()
    [True, True]
    """

    kind: ClassVar[str] = "fiducial"
    below: Specimen = field(default_factory=NanoporousMetal)
    shape: str = "cross"
    at_nm: tuple[float, float] = (150.0, 250.0)
    size_nm: float = 150.0
    arm_nm: float = 30.0
    plate_nm: float = 0.0
    mark_grey: float = 0.1
    plate_grey: float = 0.85

    def __post_init__(self) -> None:
        object.__setattr__(self, "greys", (*self.below.greys, self.plate_grey, self.mark_grey))
        object.__setattr__(self, "surface_nm", self.below.surface_nm)
        super().__post_init__()
        self.require(size_nm=self.size_nm, arm_nm=self.arm_nm)
        if self.shape not in SHAPES:
            raise InputError(f"{self.kind}: shape = {self.shape!r} must be one of {', '.join(SHAPES)}")

    @property
    def porous(self) -> bool:
        """Whether the specimen below has pores."""
        return self.below.porous

    def _inside(self, y_nm: ArrayLike, x_nm: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Where plate or mark, and where the mark is."""
        y, x = np.abs(np.asarray(y_nm) - self.at_nm[0]), np.abs(np.asarray(x_nm) - self.at_nm[1])
        box = np.maximum(y, x) < self.size_nm / 2
        if self.shape == "cross":
            mark = box & (np.minimum(y, x) < self.arm_nm / 2)
        elif self.shape == "dot":
            mark = np.hypot(y, x) < self.size_nm / 2
        else:
            mark = box & (np.mod(y + self.arm_nm / 2, 2 * self.arm_nm) < self.arm_nm)
        return mark | (np.maximum(y, x) < self.plate_nm / 2), mark

    def phase(self, z_nm: ArrayLike, y_nm: ArrayLike, x_nm: ArrayLike) -> Phase:
        """Return the phase of the mark, its plate, or the specimen."""
        either, mark = self._inside(y_nm, x_nm)
        plate = np.uint8(len(self.greys) - 2)
        found = np.where(either, plate, self.below.phase(z_nm, y_nm, x_nm))
        return np.where(mark, plate + np.uint8(1), found).astype(np.uint8)

    def level(self, z_nm: ArrayLike, y_nm: ArrayLike, x_nm: ArrayLike) -> Float:
        """Level of the specimen below, positive in mark and plate."""
        return np.where(self._inside(y_nm, x_nm)[0], 1.0, self.below.level(z_nm, y_nm, x_nm))

    def expected(self) -> dict[str, float]:
        """Values of the specimen below."""
        return self.below.expected()
