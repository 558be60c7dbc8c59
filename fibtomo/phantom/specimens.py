"""Analytic specimens: the phase at any real coordinate, without a voxel grid behind it.

Coordinates are nm in the specimen frame (z, y, x) and broadcast against each other, so a slice is sampled exactly
at any sub-pixel place. Phases are numbered by rising grey; phase 0 of a porous specimen is the pore.
"""

from dataclasses import dataclass, fields
from functools import cached_property
from math import cos, exp, inf, pi, radians, sin, sqrt
from statistics import NormalDist
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fibtomo.errors import InputError

Float = NDArray[np.float64]
Phase = NDArray[np.uint8]


@dataclass(frozen=True)
class Specimen:
    """What every specimen offers.

    Parameters
    ----------
    greys
        Signal of each phase, 0 (black) to 1 (white).
    """

    kind: ClassVar[str] = ""
    surface_nm: ClassVar[float] = -inf
    greys: tuple[float, ...] = (0.25, 0.7)

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name.endswith("_nm") and isinstance(value, int | float) and not np.isfinite(value):
                raise InputError(f"{self.kind}: {item.name} = {value} must be a finite length in nm")
            if isinstance(value, list):
                object.__setattr__(self, item.name, tuple(value))
        if not self.greys or not all(0 <= g <= 1 for g in self.greys):
            raise InputError(f"{self.kind}: greys = {self.greys} must lie between 0 and 1, one for each phase")

    def require(self, **positive: float) -> None:
        """Refuse values that are not above zero."""
        for name, value in positive.items():
            if not value > 0:
                raise InputError(f"{self.kind}: {name} = {value} must be above 0")

    @property
    def porous(self) -> bool:
        """Whether phase 0 is a pore, bounded by the zero of `level`."""
        return False

    def phase(self, z_nm: ArrayLike, y_nm: ArrayLike, x_nm: ArrayLike) -> Phase:
        """Return the phase at each broadcast coordinate."""
        raise NotImplementedError

    def level(self, z_nm: ArrayLike, y_nm: ArrayLike, x_nm: ArrayLike) -> Float:
        """Return a smooth function that is positive where the phase is not 0 (porous specimens only)."""
        raise NotImplementedError

    def expected(self) -> dict[str, float]:
        """Closed-form values of an infinite volume, by measurement name; empty where none is known."""
        return {}


class LevelSpecimen(Specimen):
    """A two-phase specimen that is solid where its level function is positive."""

    @property
    def porous(self) -> bool:
        """Whether phase 0 is a pore: always."""
        return True

    def phase(self, z_nm: ArrayLike, y_nm: ArrayLike, x_nm: ArrayLike) -> Phase:
        """Return 1 in the solid and 0 in the pore."""
        return (self.level(z_nm, y_nm, x_nm) > 0).astype(np.uint8)


@dataclass(frozen=True)
class NanoporousMetal(LevelSpecimen):
    """Bicontinuous solid cut from a sum of plane waves of one wavelength (spinodal-like).

    Parameters
    ----------
    wavelength_nm
        Distance between ligament axes; ligaments are about 0.45 wavelengths thick at 40 % solid.
    solid_fraction
        Volume fraction of the solid; the cut is at the Gaussian quantile.
    waves
        Number of plane waves.
    bandwidth
        Relative spread of the wave numbers.
    seed
        Phases and orientation.

    References
    ----------
    Cahn, J. Chem. Phys. 42, 93 (1965); Soyarslan et al., Acta Mater. 149, 326 (2018).

    Examples
    --------
    >>> metal = NanoporousMetal(wavelength_nm=150, solid_fraction=0.4, seed=1)
    >>> z, y, x = np.ogrid[0:1500:10, 0:1500:10, 0:1500:10]
    >>> abs(float(metal.phase(z, y, x).mean()) - 0.4) < 0.01
    True
    """

    kind: ClassVar[str] = "nanoporous_metal"
    wavelength_nm: float = 150.0
    solid_fraction: float = 0.4
    waves: int = 120
    bandwidth: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(wavelength_nm=self.wavelength_nm, waves=self.waves)
        if not 0 < self.solid_fraction < 1 or not 0 <= self.bandwidth <= 0.3:
            raise InputError(
                f"{self.kind}: solid_fraction = {self.solid_fraction} must lie between 0 and 1 "
                f"and bandwidth = {self.bandwidth} between 0 and 0.3"
            )

    @cached_property
    def _waves(self) -> tuple[Float, Float]:
        """Wave vectors (waves, 3) in rad/nm, spread evenly over the half sphere, and their phases."""
        rng = np.random.default_rng(self.seed)
        i = np.arange(self.waves) + 0.5
        polar, azimuth = i / self.waves, i * pi * (1 + sqrt(5))
        radius = np.sqrt(1 - polar**2)
        directions = np.stack([polar, radius * np.cos(azimuth), radius * np.sin(azimuth)], axis=1)
        rotation, _ = np.linalg.qr(rng.standard_normal((3, 3)))
        number = 2 * pi / self.wavelength_nm * (1 + self.bandwidth * np.clip(rng.standard_normal(self.waves), -3, 3))
        return directions @ rotation * number[:, None], rng.uniform(0, 2 * pi, self.waves)

    @property
    def cut(self) -> float:
        """Level of the unit-variance field above which there is solid."""
        return NormalDist().inv_cdf(1 - self.solid_fraction)

    def level(self, z_nm: ArrayLike, y_nm: ArrayLike, x_nm: ArrayLike) -> Float:
        """Unit-variance field minus the cut."""
        vectors, phases = self._waves
        return _sum_of_waves(vectors, phases, z_nm, y_nm, x_nm) * sqrt(2 / self.waves) - self.cut

    def expected(self) -> dict[str, float]:
        """Fraction, surface and Euler density of a Gaussian field (Adler 1981)."""
        vectors, _ = self._waves
        slope = float((vectors**2).sum(axis=1).mean() / 3)
        tail = exp(-(self.cut**2) / 2)
        return {
            "volume_fraction": self.solid_fraction,
            "surface_density": 2 / pi * sqrt(slope) * tail,
            "euler_density": slope**1.5 / (4 * pi**2) * (self.cut**2 - 1) * tail,
        }


def _sum_of_waves(vectors: Float, phases: Float, z: ArrayLike, y: ArrayLike, x: ArrayLike) -> Float:
    """Sum of cos(k·r + φ); two matrix products where each line of samples runs along x in the same steps."""
    from fibtomo.phantom._loops import sum_of_products

    z, y, x = (np.asarray(a, dtype=np.float64) for a in (z, y, x))
    shape = np.broadcast_shapes(z.shape, y.shape, x.shape)
    z, y, x = (a.reshape((1,) * (max(1, len(shape)) - a.ndim) + a.shape) for a in (z, y, x))
    kz, ky, kx = vectors.T
    first = x[..., :1]
    steps = (x - first).reshape(-1, x.shape[-1])[0]
    if z.shape[-1] == y.shape[-1] == 1 and np.abs(x - first - steps).max() < 1e-9:
        line = z * kz + y * ky + first * kx + phases
        along = kx[:, None] * steps
        line = line.reshape(-1, len(phases))
        return np.asarray(sum_of_products(np.cos(line), np.cos(along), np.sin(line), np.sin(along))).reshape(shape)
    total = np.zeros(shape)
    for i, phase in enumerate(phases):
        total += np.cos(kz[i] * z + ky[i] * y + kx[i] * x + phase)
    return total


@dataclass(frozen=True)
class Tpms(LevelSpecimen):
    """Labyrinth bounded by the nodal approximation of a triply periodic minimal surface.

    Parameters
    ----------
    surface
        "P", "gyroid" or "diamond".
    period_nm
        Edge of the cubic cell.
    cut
        Solid where the nodal function is below this; 0 gives half solid.

    References
    ----------
    von Schnering and Nesper, Z. Phys. B 83, 407 (1991).

    Examples
    --------
    >>> z, y, x = np.ogrid[1:100:2.0, 1:100:2.0, 1:100:2.0]
    >>> float(Tpms(surface="gyroid", period_nm=100).phase(z, y, x).mean())
    0.5
    """

    kind: ClassVar[str] = "tpms"
    surface: str = "gyroid"
    period_nm: float = 200.0
    cut: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(period_nm=self.period_nm)
        if self.surface not in {"P", "gyroid", "diamond"}:
            raise InputError(f"{self.kind}: surface = {self.surface!r} must be P, gyroid or diamond")

    def level(self, z_nm: ArrayLike, y_nm: ArrayLike, x_nm: ArrayLike) -> Float:
        """Cut minus the nodal function."""
        scaled = [2 * pi / self.period_nm * np.asarray(a, dtype=np.float64) for a in (z_nm, y_nm, x_nm)]
        (sz, sy, sx), (cz, cy, cx) = [np.sin(a) for a in scaled], [np.cos(a) for a in scaled]
        if self.surface == "P":
            return self.cut - (cx + cy + cz)
        if self.surface == "gyroid":
            return self.cut - (sx * cy + sy * cz + sz * cx)
        return self.cut - (sx * sy * sz + sx * cy * cz + cx * sy * cz + cx * cy * sz)

    def expected(self) -> dict[str, float]:
        """Area and Euler number per volume of the symmetric (cut = 0) surface."""
        if self.cut != 0:
            return {}
        area = {"P": 2.35257, "gyroid": 3.09165, "diamond": 3.83802}[self.surface]
        euler = {"P": -2, "gyroid": -4, "diamond": -8}[self.surface]
        return {
            "volume_fraction": 0.5,
            "surface_density": area / self.period_nm,
            "euler_density": euler / self.period_nm**3,
        }


@dataclass(frozen=True)
class Layered(Specimen):
    """Lamellae of several phases, inclined and gently wavy.

    Parameters
    ----------
    thickness_nm
        Thickness of the lamella of each phase, stacked in this order.
    inclination_deg
        Dip of the lamellae along z, against the x–z plane.
    azimuth_deg
        Dip along x.
    waviness_nm, wave_nm
        Amplitude and length of an undulation along x and z.
    """

    kind: ClassVar[str] = "layered"
    greys: tuple[float, ...] = (0.3, 0.5, 0.75)
    thickness_nm: tuple[float, ...] = (60.0, 90.0, 40.0)
    inclination_deg: float = 15.0
    azimuth_deg: float = 10.0
    waviness_nm: float = 0.0
    wave_nm: float = 600.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(wave_nm=self.wave_nm, thickness_nm=min(self.thickness_nm, default=0))
        if len(self.thickness_nm) != len(self.greys):
            raise InputError(
                f"{self.kind}: {len(self.thickness_nm)} lamellae need as many greys, not {len(self.greys)}"
            )

    def phase(self, z_nm: ArrayLike, y_nm: ArrayLike, x_nm: ArrayLike) -> Phase:
        """Return the index of the lamella."""
        z, y, x = (np.asarray(a, dtype=np.float64) for a in (z_nm, y_nm, x_nm))
        dip, turn = radians(self.inclination_deg), radians(self.azimuth_deg)
        height = (y * cos(turn) + x * sin(turn)) * cos(dip) + z * sin(dip)
        if self.waviness_nm:
            height = height + self.waviness_nm * np.sin(2 * pi * x / self.wave_nm) * np.cos(2 * pi * z / self.wave_nm)
        edges = np.cumsum(self.thickness_nm)
        place = np.mod(height, edges[-1])
        return np.minimum(np.searchsorted(edges, place, side="right"), len(edges) - 1).astype(np.uint8)

    def expected(self) -> dict[str, float]:
        """Fraction of the brightest lamella."""
        return {"volume_fraction": self.thickness_nm[-1] / sum(self.thickness_nm)}
