"""What stacks and runs look like in napari: data, place, scale and colours."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.api import Run
from fibtomo.core.geometry import Geometry
from fibtomo.core.volume import OUTSIDE, VoxelNm
from fibtomo.io.stack import Stack
from fibtomo.io.zarr_store import open_array
from fibtomo.napari_plugin.ply import read_ply
from fibtomo.pipeline.results import VOLUME

LayerTuple = tuple[Any, dict[str, Any], str]
"""(data, keyword arguments, kind), as napari takes layers from plugins."""

KEY = "fibtomo"
"""Entry of ``layer.metadata`` that holds the `Stack` or `Run` a layer shows."""

_PHASE_COLOURS = ((0.90, 0.62, 0.0, 1.0), (0.34, 0.71, 0.91, 1.0), (0.0, 0.62, 0.45, 1.0), (0.80, 0.47, 0.65, 1.0))
"""Orange, sky blue, green, purple of Okabe & Ito, which the colour-blind tell apart too."""

_SURFACE_COLOURS = [[0.25, 0.16, 0.0], [0.93, 0.68, 0.15]]
_PERCENTILES = (0.2, 99.8)
PHASE_OPACITY = 0.4


def placed(scale: VoxelNm, unit: str, origin: VoxelNm = (0.0, 0.0, 0.0)) -> dict[str, Any]:
    """Layer options that put voxel (0, 0, 0) at `origin`; `unit` is "nm" or "voxel"."""
    units = ("nm" if unit == "nm" else "pixel",) * 3
    return {"scale": scale, "translate": origin, "units": units, "axis_labels": ("z", "y", "x")}


def display_scale(stack: Stack) -> tuple[VoxelNm, str]:
    """True (dz, dy, dx) of the stored grid and its unit: "nm", or "voxel" when not all three are known.

    Rows are stretched for the tilt where it is known that the scan did not do so.
    """
    if stack.voxel_nm is None:
        return (1.0, 1.0, 1.0), "voxel"
    dz, dy, dx = stack.voxel_nm
    z_nm, angle = stack.slice_z_nm, stack.column_angle_deg
    if z_nm is not None and len(z_nm) > 1:
        dz = float(z_nm[-1] - z_nm[0]) / (len(z_nm) - 1)
    if stack.tilt_corrected is False and angle is not None:
        return Geometry((dz, dy, dx), angle, tilt_corrected=False).true_voxel_nm, "nm"
    return (dz, dy, dx), "nm"


def stack_layers(stack: Stack) -> list[LayerTuple]:
    """One lazy image for each detector; of each, only one slice is read now, for its contrast."""
    layers: list[LayerTuple] = []
    for name in stack.channels:
        channel = stack if name == stack.channel_name else stack.channel(name)
        options = {
            **placed(*display_scale(stack)),
            "name": stack.path.name if len(stack.channels) == 1 else f"{stack.path.name} {name}",
            "metadata": {KEY: channel},
            "contrast_limits": contrast(_readable_slice(channel), channel.value_range),
            "visible": name == stack.channel_name,
        }
        layers.append((lazy_slices(channel), options, "image"))
    return layers


def lazy_slices(stack: Stack) -> Any:
    """The stack as a dask array (z, y, x) of which napari reads no more than it shows.

    napari computes and caches whole chunks, so slices that are files of their own become chunks of their own.
    """
    if len(stack.files) != len(stack):
        return stack.data
    import dask.array as da

    return da.map_blocks(
        partial(_one_slice, stack),
        chunks=((1,) * len(stack), *((n,) for n in stack.shape[1:])),
        meta=np.empty((0, 0, 0), stack.dtype),
        name=f"slices-{stack.fingerprint()}",
    )


def _one_slice(stack: Stack, block_info: Any = None) -> NDArray[Any]:
    z0, z1 = block_info[None]["array-location"][0]
    return stack.read(z0, z1)


def _readable_slice(stack: Stack) -> NDArray[Any]:
    middle, bad = (len(stack) - 1) // 2, stack.bad_slices  # the one napari shows first
    good = [k for k in range(len(stack)) if k not in bad] or [middle]
    k = min(good, key=lambda k: abs(k - middle))
    return stack.read(k, k + 1)


def contrast(values: NDArray[Any], otherwise: tuple[float, float]) -> tuple[float, float]:
    """Limits that leave out the few darkest and brightest values; `otherwise` where there is no contrast."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return otherwise
    low, high = (float(v) for v in np.percentile(finite, _PERCENTILES))
    return (low, high) if high > low else otherwise


def run_layers(run: Run) -> list[LayerTuple]:
    """Volume, labels and surface of a finished run; the pyramids are lazy."""
    place = placed(run.voxel_nm, "nm") if run.voxel_nm else placed((1.0, 1.0, 1.0), "voxel")
    common = {**place, "metadata": {KEY: run}}
    layers: list[LayerTuple] = []
    volume = run.path / VOLUME
    if (volume / "0").is_dir():
        layers.append(_grey_layer(volume, **common, name=f"{run.path.name} volume"))
    for name, folder in run.provenance.get("channels", {}).items():
        layers.append(_grey_layer(run.path / folder, **common, name=f"{run.path.name} {name}", visible=False))
    for kind in ("phases", "objects"):
        labels = volume / "labels" / kind
        if (labels / "0").is_dir():
            name = f"{run.path.name} {kind}"
            layers.append(_levelled(_pyramid(labels), "labels", **common, name=name, **label_style(kind)))
    for path in run.surface_paths:
        name = f"{run.path.name} {path.stem.replace('_', ' ')}"
        layers.append(surface_layer(*read_ply(path), {**common, "name": name}))
    return layers


def _grey_layer(folder: Path, **options: Any) -> LayerTuple:
    """A grey volume with the contrast of its coarsest level."""
    levels = _pyramid(folder)
    coarse = np.asarray(levels[-1])
    return _levelled(levels, "image", **options, contrast_limits=contrast(coarse[coarse != 0], (0.0, 1.0)))


def label_style(kind: str) -> dict[str, Any]:
    """Colours of "phases" (the darkest phase and what nobody saw stay clear) or "objects"."""
    if kind != "phases":
        return {"opacity": 0.6, "visible": False}
    from napari.utils.colormaps import CyclicLabelColormap

    colours = np.zeros((OUTSIDE + 1, 4), dtype=np.float32)
    for first, colour in enumerate(_PHASE_COLOURS, start=1):
        colours[first : OUTSIDE : len(_PHASE_COLOURS)] = colour
    return {"opacity": PHASE_OPACITY, "colormap": CyclicLabelColormap(colors=colours, background_value=0)}


def surface_layer(vertices: NDArray[Any], faces: NDArray[Any], options: dict[str, Any]) -> LayerTuple:
    """Make a hidden surface of a mesh given as (x, y, z) vertices in nm (or voxels) with outward faces.

    Axes are turned to (z, y, x), which is a reflection, so the faces are turned over as well. Vertices are counted in
    voxels of ``options["scale"]``, because the finest scale of all layers is the step of napari's sliders.
    """
    data = np.ascontiguousarray(vertices[:, ::-1] / np.float32(options["scale"])), np.ascontiguousarray(faces[:, ::-1])
    style = {
        "shading": "smooth",
        "colormap": {"colors": _SURFACE_COLOURS, "name": "phase"},
        "contrast_limits": (0.0, 1.0),
        "visible": False,
    }
    return data, {**options, **style}, "surface"


def _levelled(levels: list[Any], kind: str, **options: Any) -> LayerTuple:
    several = len(levels) > 1
    return (levels if several else levels[0]), {**options, "multiscale": several}, kind


def _pyramid(group: Path) -> list[Any]:
    """Levels of an OME-Zarr image, finest first, as dask arrays that read one stored chunk at a time."""
    import dask.array as da

    document = json.loads((group / "zarr.json").read_text(encoding="utf-8"))
    datasets = document["attributes"]["ome"]["multiscales"][0]["datasets"]
    arrays = [open_array(group / entry["path"]) for entry in datasets]
    # without a name of its own, an array that replaced another in the same folder would come out of the cache
    return [da.from_array(array, chunks=array.chunks, name=False) for array in arrays]


@contextmanager
def same_place(viewer: Any) -> Iterator[None]:
    """Keep the sliders at the same position in nm, which napari loses when layers of another scale come or go."""
    point = viewer.dims.point
    yield
    viewer.dims.point = point


def named(viewer: Any, name: str) -> Any:
    """Layer of this name, or ``None``."""
    return next((layer for layer in viewer.layers if layer.name == name), None)


def show(viewer: Any, layers: Sequence[LayerTuple]) -> list[Any]:
    """Add layers to a viewer; one that stands there under the same name gets the new data and place."""
    from napari.layers import Layer

    shown = []
    for data, options, kind in layers:
        old = named(viewer, options["name"])
        if old is not None and old._type_string == kind and not options.get("multiscale") and not old.multiscale:
            old.data = data
            old.scale, old.translate, old.units = options["scale"], options["translate"], options["units"]
            old.metadata = options["metadata"]
            shown.append(old)
            continue
        if old is not None:
            viewer.layers.remove(old)
        shown.append(viewer.add_layer(Layer.create(data, options, kind)))
    return shown
