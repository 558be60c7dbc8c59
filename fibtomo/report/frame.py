"""The picture plane of a 3-D rendering: direction of view, box outline, edge lengths."""

from dataclasses import dataclass
from itertools import product
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fibtomo.errors import InputError
from fibtomo.report.lettering import write
from fibtomo.report.pictures import Picture
from fibtomo.report.text import length

Corner = tuple[int, ...]
Edge = tuple[Corner, Corner]

_LINE = (125, 125, 125)
_SUPERSAMPLE = 2
_TALLEST = 1.5


@dataclass(frozen=True)
class Camera:
    """Orthographic view: the milled face (z = 0) in front, y down, milling advance away from the viewer.

    Parameters
    ----------
    yaw_deg, pitch_deg
        Turn of the view towards the side x = max and towards the top y = 0, each between 1 and 89 degrees.

    Raises
    ------
    InputError
        An angle would hide one of the three faces.
    """

    yaw_deg: float = 32.0
    pitch_deg: float = 24.0

    def __post_init__(self) -> None:
        if not (1 <= self.yaw_deg <= 89 and 1 <= self.pitch_deg <= 89):
            raise InputError(f"view angles {self.yaw_deg} and {self.pitch_deg} must lie between 1 and 89 degrees")

    @property
    def axes(self) -> NDArray[np.float64]:
        """Rows right, down, forward of the picture, each as (z, y, x)."""
        a, b = np.radians(self.yaw_deg), np.radians(self.pitch_deg)
        right = np.array([np.sin(a), 0.0, np.cos(a)])
        flat = np.array([np.cos(a), 0.0, -np.sin(a)])
        down_axis = np.array([0.0, 1.0, 0.0])
        forward = np.cos(b) * flat + np.sin(b) * down_axis
        down = np.cos(b) * down_axis - np.sin(b) * flat
        return np.stack([right, down, forward])


@dataclass(frozen=True)
class Frame:
    """Pixels of the picture plane; all lengths in the unit of the volume."""

    left: float
    top: float
    per_px: float
    width: int
    height: int

    @classmethod
    def around(cls, size: NDArray[np.float64], axes: NDArray[np.float64], width_px: int) -> Self:
        """Fit the box of `size` (z, y, x), with room for the lengths written beside it."""
        seen = _corners(size) @ axes[:2].T
        low, high = seen.min(axis=0), seen.max(axis=0)
        aside = 6.5 * _letters_px(width_px) + 10
        across, down = high - low
        per_px = max(across / (width_px - 2 * aside), down / (_TALLEST * width_px))
        margin = np.array([aside, 2.5 * _letters_px(width_px)]) * per_px
        width, height = np.ceil((high - low + 2 * margin) / per_px).astype(int)
        return cls(float(low[0] - margin[0]), float(low[1] - margin[1]), float(per_px), int(width), int(height))

    def place(self, point: NDArray[np.float64], axes: NDArray[np.float64]) -> tuple[float, float]:
        """Return the pixel (column, row) at which a point (z, y, x) is seen."""
        right, down = axes[:2] @ point
        return (right - self.left) / self.per_px, (down - self.top) / self.per_px

    def decorate(self, surface: Picture, size: NDArray[np.float64], axes: NDArray[np.float64], unit: str) -> Picture:
        """Draw the box around `surface`, its far edges behind, and write the edge lengths."""
        far = np.where(axes[2] > 0, size, 0.0)
        behind = self._edges(size, axes, [e for e in _EDGES if _meets(e, size, far)], 110)
        front = self._edges(size, axes, [e for e in _EDGES if not _meets(e, size, far)], 200)
        page = Image.alpha_composite(behind, Image.fromarray(surface))
        page = Image.alpha_composite(page, front)
        draw = ImageDraw.Draw(page)
        size_px = _letters_px(self.width)
        centre = np.array(self.place(size / 2, axes))
        names = {"z": (0.5, 1.0, 1.0), "y": (0.0, 0.5, 0.0), "x": (0.0, 1.0, 0.5)}
        for i, (name, place) in enumerate(names.items()):
            spot = np.array(self.place(np.array(place) * size, axes))
            aside = np.array([-10.0, 0.0]) if name == "y" else np.array([np.sign(spot[0] - centre[0]) * 34.0, 8.0])
            column, row = spot + aside
            align = ("right", "middle") if name == "y" else ("middle", "top")
            write(draw, (column, row), f"{name}  {length(size[i], unit)}", size_px, (*_LINE, 255), align)
        return np.asarray(page)

    def _edges(
        self, size: NDArray[np.float64], axes: NDArray[np.float64], edges: list[Edge], alpha: int
    ) -> Image.Image:
        big = Image.new("RGBA", (self.width * _SUPERSAMPLE, self.height * _SUPERSAMPLE), (*_LINE, 0))
        draw = ImageDraw.Draw(big)
        for a, b in edges:
            ends = [tuple(_SUPERSAMPLE * v for v in self.place(np.array(c) * size, axes)) for c in (a, b)]
            draw.line(ends, fill=(*_LINE, alpha), width=_SUPERSAMPLE + 1)
        return big.resize((self.width, self.height), Image.Resampling.LANCZOS)


_UNIT_CORNERS = list(product((0, 1), repeat=3))
_EDGES = [
    (a, b)
    for a in _UNIT_CORNERS
    for b in _UNIT_CORNERS
    if a < b and sum(x != y for x, y in zip(a, b, strict=True)) == 1
]


def _letters_px(width_px: int) -> int:
    return max(12, width_px // 50)


def _corners(size: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array(_UNIT_CORNERS) * size


def _meets(edge: Edge, size: NDArray[np.float64], corner: NDArray[np.float64]) -> bool:
    return any(np.allclose(np.array(end) * size, corner) for end in edge)
