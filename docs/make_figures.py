"""Draws docs/geometry.svg from the maps of `fibtomo.Geometry`, so that the figure cannot disagree with the code."""

import sys
from dataclasses import replace
from math import atan2, cos, degrees, radians, sin
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fibtomo import Geometry

HERE = Path(__file__).parent
THETA = 52.0
INK, GREY, BLUE, RED, FILL = "#222222", "#8a8a8a", "#1f5fa8", "#b3361f", "#e9e4da"
Point = NDArray[np.float64]


class Drawing:
    """SVG elements with the few shapes a figure needs; points are (right, down) in pixels."""

    def __init__(self, width: int, height: int) -> None:
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-size="13"',
            f'width="{width}" height="{height}" font-family="DejaVu Sans, Arial, sans-serif">',
            f'<rect width="{width}" height="{height}" fill="white"/>',
        ]

    def line(self, points: list[Point], colour: str = INK, width: float = 1.5, dash: str = "", fill: str = "") -> None:
        """Draw an open line, or a filled shape."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        style = f'stroke="{colour}" stroke-width="{width}"' + (f' stroke-dasharray="{dash}"' if dash else "")
        shape = "polygon" if fill else "polyline"
        self.parts.append(f'<{shape} points="{path}" {style} fill="{fill or "none"}"/>')

    def arrow(self, start: Point, end: Point, colour: str = INK, width: float = 1.8, both: bool = False) -> None:
        """Draw a line with a head at its end, or at both."""
        self.line([start, end], colour, width)
        for tip, back in ((end, start), (start, end))[: 2 if both else 1]:
            along = (back - tip) / np.hypot(*(back - tip))
            side = np.array([-along[1], along[0]])
            self.line([tip, tip + 9 * along + 3.5 * side, tip + 9 * along - 3.5 * side], colour, 0.5, fill=colour)

    def arc(self, centre: Point, radius: float, start_deg: float, end_deg: float, colour: str = INK) -> None:
        """Draw part of a circle; angles run clockwise from the right."""
        turns = np.radians(np.linspace(start_deg, end_deg, 24))
        self.line([centre + radius * np.array([cos(a), sin(a)]) for a in turns], colour, 1.2)

    def text(self, at: Point, words: str, colour: str = INK, anchor: str = "middle", weight: str = "normal") -> None:
        """Write words at a place."""
        self.parts.append(
            f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" fill="{colour}" text-anchor="{anchor}" '
            f'font-weight="{weight}">{words}</text>'
        )

    def finish(self) -> str:
        """Return the SVG."""
        return "\n".join([*self.parts, "</svg>", ""])


def at(x: float, y: float) -> Point:
    """Place on the drawing."""
    return np.array([x, y], dtype=np.float64)


def chamber_axes(geometry: Geometry) -> tuple[Point, Point]:
    """Directions of y and z in a side view with image down to the left and the electron beam coming from above."""
    gamma = radians(geometry.face_angle_deg)
    return at(-cos(gamma), sin(gamma)), at(sin(gamma), cos(gamma))


def chamber(d: Drawing, geometry: Geometry, origin: Point) -> None:
    """Beams, block, face and the specimen axes, seen along the tilt axis."""
    y, z = chamber_axes(geometry)
    d.text(at(20, 24), "a", weight="bold")
    d.line([origin, origin + 150 * y, origin + 150 * y + 110 * z, origin + 110 * z], GREY, 1, fill=FILL)
    d.line([origin, origin + 150 * y], BLUE, 3)
    d.line([origin, origin + 110 * z], INK, 3)
    d.arrow(origin - 150 * y, origin - 14 * y, RED, 3)
    d.text(origin - 156 * y + at(2, -6), "ion beam", RED)
    face = origin + 75 * y
    d.arrow(at(face[0], origin[1] - 125), face - at(0, 6), INK, 3)
    d.text(at(face[0], origin[1] - 132), "electron beam")
    d.line([origin, origin - at(0, 85)], GREY, 1, "4 3")
    d.arc(origin, 60, -90, -90 + THETA)
    d.text(origin + at(30, -68), f"θ = {THETA:.0f}°")
    normal = face - 105 * z
    d.line([face, normal], GREY, 1, "4 3")
    d.text(normal + at(-6, -6), "face normal", GREY)
    d.arc(face, 48, -90 - geometry.face_angle_deg, -90)
    d.text(face + at(-29, -54), f"γ = {geometry.face_angle_deg:.0f}°")
    d.arrow(origin + 35 * y + 12 * z, origin + 90 * y + 12 * z, BLUE)
    d.text(origin + 62 * y + 29 * z, "y", BLUE, weight="bold")
    d.arrow(origin + 35 * y + 12 * z, origin + 35 * y + 67 * z, BLUE)
    d.text(origin + 24 * y + 64 * z, "z", BLUE, weight="bold")
    d.text(origin + 112 * y + at(-10, -8), "milled face", BLUE, anchor="end")
    d.text(origin + 62 * z + at(8, -4), "sample surface,", anchor="start")
    d.text(origin + 62 * z + at(20, 13), "tilted by φ = θ", anchor="start")
    scale = at(origin[0] - 75, origin[1] + 212)
    d.arrow(scale, scale - at(55, 0), GREY)
    d.text(scale + at(8, 4), "image down; x comes out of the page", GREY, anchor="start")


def advance(d: Drawing, geometry: Geometry, origin: Point) -> None:
    """What milling one slice does under a fixed field of view, to scale."""
    y, z = chamber_axes(geometry)
    step = 125.0
    slice_ = replace(geometry, voxel_nm=(step, 1.0, 1.0))
    new = origin + step * z
    corner = origin + at(0, slice_.wd_nm_per_slice)
    d.text(at(410, 24), "b", weight="bold")
    d.line([origin, origin + 165 * y, new + 165 * y, new], GREY, 0.5, fill=FILL)
    d.line([origin, origin + 165 * y], BLUE, 3)
    d.line([new, new + 165 * y], BLUE, 3, "8 4")
    d.text(origin + 165 * y + at(-4, 16), "slice k", BLUE)
    d.text(new + 165 * y + at(4, 18), "slice k + 1", BLUE)
    d.arrow(origin + 110 * y, origin + 110 * y + step * z, INK, 1.2, both=True)
    d.text(origin + 110 * y + 0.5 * step * z + at(-8, 14), "dz", anchor="end")
    d.arrow(origin, corner, RED, 1.5, both=True)
    d.arrow(corner, new, RED, 1.5, both=True)
    d.text((origin + corner) / 2 + at(46, -22), "farther by dz·cosγ", RED, "start")
    d.text((origin + corner) / 2 + at(46, -5), f"= {slice_.wd_nm_per_slice / step:.3f} dz", RED, "start")
    d.text(new + at(12, -2), "up the screen by dz·sinγ", RED, "start")
    d.text(new + at(12, 15), f"= {slice_.screen_shift_nm_per_slice / step:.3f} dz", RED, "start")
    d.arrow(origin + at(-60, -110), origin + at(-60, -50), INK, 3)
    d.text(origin + at(-60, -117), "electron beam")


def section(d: Drawing, origin: Point, size: Point, title: str) -> None:
    """Frame of a y–z section: z to the right, y down."""
    d.text(origin + at(size[0] / 2, -14), title, weight="bold")
    d.line([origin, origin + at(size[0], 0), origin + size, origin + at(0, size[1])], GREY, 1, fill=FILL)
    d.arrow(origin + at(0, size[1] + 14), origin + at(50, size[1] + 14), BLUE)
    d.text(origin + at(60, size[1] + 18), "z", BLUE, weight="bold")
    d.arrow(origin + at(-12, size[1] - 50), origin + at(-12, size[1]), BLUE)
    d.text(origin + at(-23, size[1] - 20), "y", BLUE, weight="bold")


def surfaces(d: Drawing, geometry: Geometry, origin: Point, size: Point, stored: bool) -> None:
    """Two surfaces in a y–z section of the stack as stored, or of the true volume."""
    ends = np.linspace(0, size[0], 2)
    for sample_tilt, colour, dash in ((THETA, INK, ""), (0.0, RED, "7 4")):
        surface = replace(geometry, sample_tilt_deg=sample_tilt).surface_axes().inverse()
        along = surface([1.0, 0.0, 0.0])
        points = ends[:, None] / along[0] * along
        rows = (geometry.to_stack(points) if stored else points)[:, 1]
        low = -rows[1] + 0.5 * (size[1] + rows[1])
        d.line([origin + at(x, low + row) for x, row in zip(ends, rows, strict=True)], colour, 2.5, dash)
        angle = f"{abs(degrees(atan2(rows[1], size[0]))):.1f}°"
        end = origin + at(size[0] + 6, low + rows[1] + 5)
        d.text(end, angle, colour, anchor="start")


def main() -> None:
    """Write the figure, or with --check say whether it is current."""
    geometry = Geometry((1.0, 1.0, 1.0), THETA)
    d = Drawing(1240, 420)
    chamber(d, geometry, at(235, 180))
    advance(d, geometry, at(560, 170))
    d.text(at(820, 24), "c", weight="bold")
    size = at(125, 220)
    for origin, title, stored in ((at(860, 80), "as stored", True), (at(1060, 80), "true to scale", False)):
        section(d, origin, size, title)
        surfaces(d, geometry, origin, size, stored)
    d.line([at(860, 352), at(890, 352)], INK, 2.5)
    d.text(at(898, 356), "surface normal to the ion beam (φ = θ)", anchor="start")
    d.line([at(860, 376), at(890, 376)], RED, 2.5, "7 4")
    d.text(at(898, 380), "surface flat under the electron beam (φ = 0)", RED, anchor="start")
    page = HERE / "geometry.svg"
    if "--check" in sys.argv:
        sys.exit(page.read_text(encoding="utf-8") != d.finish())
    page.write_text(d.finish(), encoding="utf-8")


if __name__ == "__main__":
    main()
