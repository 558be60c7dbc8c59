"""3-D pictures of a volume: a small orthographic ray-caster in NumPy.

Rays cross the empty space in steps of the distance to the next surface (sphere tracing, Hart 1996), are refined on
a smoothed density, and are shaded with a key light with soft shadow, a fill light and ambient occlusion.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.volume import OUTSIDE, VoxelNm
from fibtomo.errors import InputError
from fibtomo.report.frame import Camera, Frame
from fibtomo.report.pictures import Picture, phase_table, stretch

Float = NDArray[np.float32]
Vectors = NDArray[np.float64]
Albedo = Callable[[Vectors], Vectors]

_SURFACE = 0.5


@dataclass(frozen=True)
class Scene:
    """What the rays meet, in a box of `size`.

    Attributes
    ----------
    density
        Smoothed solid, its surface at 0.5.
    relief
        The same smoothed further; its gradient gives the normals.
    leap
        Empty samples around each sample (chessboard distance).
    haze
        Solid fraction of the surroundings.
    spacing
        Size (dz, dy, dx) of a sample.
    """

    density: Float
    relief: Float
    leap: NDArray[Any]
    haze: Float
    spacing: NDArray[np.float64]

    def nearest(self, field: NDArray[Any], points: Vectors) -> NDArray[Any]:
        """Values of `field` at the voxels that hold `points` (n, 3), the nearest ones outside the box."""
        index = (points / self.spacing).astype(np.intp)
        np.clip(index, 0, np.array(field.shape) - 1, out=index)
        return field[index[:, 0], index[:, 1], index[:, 2]]

    def sample(self, field: Float, points: Vectors, outside: str = "nearest") -> NDArray[np.float64]:
        """Linear interpolation of `field` at `points` (n, 3); outside the box as at its edge, or 0 ("constant")."""
        from scipy.ndimage import map_coordinates

        return map_coordinates(field, (points / self.spacing - 0.5).T, order=1, mode=outside, output=np.float64)

    def way_out(self, points: Vectors, direction: NDArray[np.float64]) -> NDArray[np.float64]:
        """Distance (n,) from `points` to the box's wall along `direction`; negative once outside."""
        wall = np.where(direction > 0, self.size, 0.0)
        return ((wall - points) / direction).min(axis=1)

    @property
    def size(self) -> NDArray[np.float64]:
        """Edges (z, y, x) of the box."""
        return np.array(self.density.shape) * self.spacing


def render_labels(
    labels: NDArray[Any],
    spacing: VoxelNm = (1.0, 1.0, 1.0),
    *,
    hidden: tuple[int, ...] = (0,),
    unit: str = "nm",
    width_px: int = 900,
    camera: Camera | None = None,
) -> Picture:
    """Render phase labels as solid surfaces in their colours, with a box and its edge lengths.

    Parameters
    ----------
    labels
        (z, y, x) phase labels, best at most about 160 samples along an edge.
    spacing
        Size (dz, dy, dx) of a sample in `unit`.
    hidden
        Phases left transparent (pores by default), as are voxels that were never seen.
    unit
        Unit of the lengths written at the box.
    width_px
        Width of the picture.
    camera
        Direction of view.

    Returns
    -------
    picture
        (h, w, 4) with a transparent background.

    Raises
    ------
    InputError
        `labels` is not three-dimensional.
    """
    from scipy.ndimage import gaussian_filter

    labels = np.asarray(labels)
    _check(labels)
    phases = [int(k) for k in np.unique(labels) if k not in (*hidden, OUTSIDE)]
    scene = _scene(np.isin(labels, phases), spacing)
    shares = [gaussian_filter((labels == k).astype(np.float32), 1.0) for k in phases] if len(phases) > 1 else []
    colours = phase_table()[phases] / 255.0

    def albedo(points: Vectors) -> Vectors:
        if not shares:
            return np.tile(colours.reshape(-1, 3), (len(points), 1))
        return colours[np.argmax([scene.sample(share, points) for share in shares], axis=0)]

    return _render(scene, albedo, unit, width_px, camera or Camera(), cut_tint=0.35)


def render_grey(
    volume: NDArray[Any],
    spacing: VoxelNm = (1.0, 1.0, 1.0),
    *,
    unit: str = "nm",
    width_px: int = 900,
    camera: Camera | None = None,
) -> Picture:
    """Render a grey volume as a solid block that shows its three nearest faces; parameters as `render_labels`.

    Raises
    ------
    InputError
        `volume` is not three-dimensional.
    """
    volume = np.asarray(volume)
    _check(volume)
    scene = _scene(np.ones(volume.shape, dtype=bool), spacing)
    grey = stretch(volume.reshape(volume.shape[0], -1))[..., 0].reshape(volume.shape).astype(np.float32) / 255.0

    def albedo(points: Vectors) -> Vectors:
        return np.repeat(scene.sample(grey, points)[:, None], 3, axis=1)

    return _render(scene, albedo, unit, width_px, camera or Camera())


def _check(volume: NDArray[Any]) -> None:
    if volume.ndim != 3 or 0 in volume.shape:
        raise InputError(f"an array of shape {volume.shape} is no (z, y, x) volume to render")


def _scene(solid: NDArray[np.bool_], spacing: VoxelNm) -> Scene:
    from scipy.ndimage import distance_transform_cdt, gaussian_filter

    mask = solid.astype(np.float32)
    density = gaussian_filter(mask, 1.0, mode="nearest")
    relief = gaussian_filter(mask, 1.8, mode="nearest")
    haze = gaussian_filter(mask, 4.0, mode="constant")
    empty = density < 0.25
    leap = distance_transform_cdt(empty, "chessboard") if not empty.all() else np.full(solid.shape, max(solid.shape))
    return Scene(density, relief, leap, haze, np.array(spacing, dtype=np.float64))


def _render(scene: Scene, albedo: Albedo, unit: str, width_px: int, camera: Camera, cut_tint: float = 0.0) -> Picture:
    axes = camera.axes
    frame = Frame.around(scene.size, axes, width_px)
    start, reach = _entries(scene, frame, axes)
    hit, points, on_face = _trace(scene, start, axes[2], reach)
    normals = _normals(scene, points, on_face, axes[2])
    paint = albedo(points)
    paint[on_face] += cut_tint * (1 - paint[on_face])
    colour = paint * _light(scene, points, normals, axes)[:, None]
    pixels = np.zeros((frame.height * frame.width, 4))
    pixels[hit, :3] = np.clip(colour, 0, 1)
    pixels[hit, 3] = 1.0
    return frame.decorate(_smooth_edges(pixels.reshape(frame.height, frame.width, 4)), scene.size, axes, unit)


def _smooth_edges(pixels: NDArray[np.float64]) -> Picture:
    """Blend a picture (h, w, 4), zero where transparent, across its steps only; returns bytes."""
    from scipy.ndimage import gaussian_filter, gaussian_gradient_magnitude

    steps = gaussian_gradient_magnitude(pixels[..., 0] + pixels[..., 3], 0.7)
    blend = np.clip(6.0 * steps - 0.3, 0, 1)[..., None]
    mixed = (1 - blend) * pixels + blend * gaussian_filter(pixels, (0.7, 0.7, 0))
    alpha = mixed[..., 3:]
    mixed[..., :3] = np.divide(mixed[..., :3], alpha, out=np.zeros_like(mixed[..., :3]), where=alpha > 1e-3)
    return np.rint(255 * np.clip(mixed, 0, 1)).astype(np.uint8)


def _entries(scene: Scene, frame: Frame, axes: Vectors) -> tuple[Vectors, NDArray[np.float64]]:
    """Where each pixel's ray enters the box (n, 3), and how far it runs inside (n,); 0 for a miss."""
    rows, cols = np.mgrid[: frame.height, : frame.width]
    right = (frame.left + (cols.ravel() + 0.5) * frame.per_px)[:, None]
    down = (frame.top + (rows.ravel() + 0.5) * frame.per_px)[:, None]
    origin = right * axes[0] + down * axes[1]
    start = origin - scene.way_out(origin, -axes[2])[:, None] * axes[2]
    return start, np.maximum(scene.way_out(start, axes[2]), 0.0)


def _trace(
    scene: Scene, start: Vectors, direction: NDArray[np.float64], reach: NDArray[np.float64]
) -> tuple[NDArray[np.intp], Vectors, NDArray[np.bool_]]:
    """Follow rays to the surface: indices of those that hit, their points (n, 3), and whether they hit at the start."""
    step = float(scene.spacing.min())
    active = np.flatnonzero(reach > 0)
    travelled = np.zeros(len(active))
    hits: list[NDArray[np.intp]] = []
    depths: list[NDArray[np.float64]] = []
    while active.size:
        points = start[active] + travelled[:, None] * direction
        free = scene.nearest(scene.leap, points)
        close = np.flatnonzero(free < 2)
        inside = np.zeros(len(active), dtype=bool)
        inside[close] = scene.sample(scene.density, points[close]) >= _SURFACE
        hits.append(active[inside])
        depths.append(travelled[inside])
        advanced = travelled + step * np.maximum(0.5, free - 1.5)
        keep = ~inside & (advanced < reach[active])
        active, travelled = active[keep], advanced[keep]
    hit, depth = np.concatenate([np.zeros(0, np.intp), *hits]), np.concatenate([np.zeros(0), *depths])
    low = np.maximum(depth - 0.5 * step, 0.0)
    for _ in range(4):
        middle = 0.5 * (low + depth)
        inside = scene.sample(scene.density, start[hit] + middle[:, None] * direction) >= _SURFACE
        depth, low = np.where(inside, middle, depth), np.where(inside, low, middle)
    return hit, start[hit] + depth[:, None] * direction, depth < 0.1 * step


def _normals(scene: Scene, points: Vectors, on_face: NDArray[np.bool_], forward: NDArray[np.float64]) -> Vectors:
    """Outward unit normals (n, 3): of the surface, or of the face of the box where the solid is cut."""
    normals = np.empty_like(points)
    for axis in range(3):
        shift = np.zeros(3)
        shift[axis] = scene.spacing[axis]
        rise = scene.sample(scene.relief, points - shift) - scene.sample(scene.relief, points + shift)
        normals[:, axis] = rise / scene.spacing[axis]
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
    gap = np.minimum(np.abs(points), np.abs(scene.size - points)) / scene.spacing
    gap[:, np.abs(forward) < 1e-9] = np.inf
    cut = np.zeros_like(points)
    face = np.argmin(gap, axis=1)
    cut[np.arange(len(points)), face] = -np.sign(forward)[face]
    return np.where(on_face[:, None], cut, normals)


def _light(scene: Scene, points: Vectors, normals: Vectors, axes: Vectors) -> NDArray[np.float64]:
    """Brightness (n,): ambient light where the surroundings are open, a key light with shadow, a faint fill light."""
    unit = scene.spacing.min()
    open_sky = np.ones(len(points))
    for distance in (3.0, 8.0):
        open_sky -= 0.5 * np.clip(
            1.5 * scene.sample(scene.haze, points + distance * unit * normals, "constant"), 0, 0.9
        )
    key = _unit(-0.5 * axes[0] - 0.7 * axes[1] - 0.9 * axes[2])
    fill = _unit(0.9 * axes[0] + 0.2 * axes[1] - 0.5 * axes[2])
    half = _unit(key - axes[2])
    lit = np.clip(normals @ key, 0, 1)
    shine = 0.25 * np.clip(normals @ half, 0, 1) ** 40
    facing = np.flatnonzero(lit > 0)
    lifted = points[facing] + 1.5 * unit * normals[facing]
    blocked, _, _ = _trace(scene, lifted, key, np.clip(scene.way_out(lifted, key), 0, 40 * unit))
    lit[facing[blocked]] *= 0.35
    shine[facing[blocked]] = 0.0
    ambient = open_sky * (0.5 + 0.25 * np.clip(normals @ fill, 0, 1))
    return ambient + (0.4 + 0.6 * open_sky) * (0.72 * lit + shine)


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return vector / np.linalg.norm(vector)
