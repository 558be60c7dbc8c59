"""napari reader: slices as one lazy image per detector, output folders of runs as volume, labels and surface."""

from collections.abc import Callable
from pathlib import Path

from fibtomo.api import Run
from fibtomo.core.resolve import missing_scale
from fibtomo.io.open import open_stack
from fibtomo.io.readers.heads import IMAGES
from fibtomo.io.stack import Stack
from fibtomo.napari_plugin.layers import LayerTuple, run_layers, stack_layers
from fibtomo.pipeline.results import VOLUME

_VOLUMES = (".h5", ".hdf5", ".mrc", ".rec", ".nrrd", ".nhdr", ".mha", ".mhd", ".zarr", ".raw")
_ZARR_DOCUMENTS = ("zarr.json", ".zgroup", ".zarray")


def get_reader(path: str | list[str]) -> Callable[[str], list[LayerTuple]] | None:
    """Return the reader if `path` is one file, folder of slices or run output that fibtomo may know."""
    if isinstance(path, list):
        if len(path) != 1:
            return None
        path = path[0]
    place = Path(path)
    known = _holds_slices(place) if place.is_dir() else place.is_file() and _is_known(place)
    return read if known or run_folder(place) is not None else None


def read(path: str | list[str] | Path) -> list[LayerTuple]:
    """Open slices or the folder of a run; what the user should know of the slices is shown as a notification.

    Raises
    ------
    FibtomoError
        The path cannot be opened.
    """
    place = Path(path[0] if isinstance(path, list) else path)
    folder = run_folder(place)
    if folder is not None:
        return run_layers(Run(folder))
    stack = open_stack(place)
    _notify(stack)
    return stack_layers(stack)


def run_folder(place: Path) -> Path | None:
    """Output folder of the finished run that `place` (the folder, its volume or its ``run.json``) belongs to."""
    folder = place.parent if place.name in ("run.json", VOLUME) else place
    return folder if (folder / "run.json").is_file() and (folder / VOLUME).is_dir() else None


def _holds_slices(folder: Path) -> bool:
    """Whether files of slices, or folders of them (one per detector), lie here."""
    if any((folder / name).is_file() for name in _ZARR_DOCUMENTS):
        return True
    entries = [folder, *(entry for entry in folder.iterdir() if entry.is_dir())]
    return any(_is_known(entry) for place in entries for entry in place.iterdir())


def _is_known(entry: Path) -> bool:
    return entry.suffix.casefold() in (*IMAGES, *_VOLUMES)


def _notify(stack: Stack) -> None:
    from napari.utils.notifications import show_warning

    question = missing_scale(stack.calibration)
    sentences = [*stack.warnings, *([f"shown in voxels, because {question}"] if question else [])]
    if sentences:
        show_warning(f"{stack.path.name}: " + "\n".join(sentences))
