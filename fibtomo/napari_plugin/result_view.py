"""Two ways to look at a finished run: section by section, or as a solid."""

from typing import TYPE_CHECKING, Any

from fibtomo.api import Run
from fibtomo.napari_plugin.layers import KEY, PHASE_OPACITY

if TYPE_CHECKING:
    import napari.viewer

_OBLIQUE = (12.0, -28.0, 148.0)
_ROOM = 0.75  # an oblique box is wider than its face


def show_sections(viewer: "napari.viewer.Viewer", run: Run) -> None:
    """Show the volume with its phases over it, and nothing else, in 2D."""
    wanted = [layer for layer in _layers_of(viewer, run) if _is(layer, "volume", "phases")]
    _only(viewer, wanted)
    viewer.dims.ndisplay = 2
    viewer.fit_to_view(layers=wanted)


def show_solid(viewer: "napari.viewer.Viewer", run: Run) -> None:
    """Show the surface in 3D, or the phases or the volume where the run made no surface."""
    layers = _layers_of(viewer, run)
    wanted = [layer for layer in layers if layer._type_string == "surface"]
    for kind in ("phases", "volume"):
        wanted = wanted or [layer for layer in layers if _is(layer, kind)]
    _only(viewer, wanted)
    for layer in wanted:
        layer.opacity = 1.0
    viewer.dims.ndisplay = 3
    viewer.fit_to_view(layers=wanted)
    viewer.scene.camera.angles = _OBLIQUE
    viewer.scene.camera.zoom *= _ROOM


def _layers_of(viewer: "napari.viewer.Viewer", run: Run) -> list[Any]:
    return [layer for layer in viewer.layers if layer.metadata.get(KEY) is run]


def _is(layer: Any, *kinds: str) -> bool:
    return layer.name.rpartition(" ")[2] in kinds


def _only(viewer: "napari.viewer.Viewer", wanted: list[Any]) -> None:
    for layer in viewer.layers:
        layer.visible = layer in wanted
        if layer in wanted and _is(layer, "phases"):
            layer.opacity = PHASE_OPACITY
