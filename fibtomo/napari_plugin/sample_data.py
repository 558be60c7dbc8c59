"""napari sample data: virtual acquisitions, milled on demand into a folder that lives as long as napari does."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from fibtomo import phantom
from fibtomo.napari_plugin.layers import LayerTuple
from fibtomo.napari_plugin.reader import read


@cache
def _temporary() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="fibtomo-samples-")


@cache
def sample_folder(name: str, size: str = "medium") -> Path:
    """Folder with the slices of a named sample, written at the first call."""
    folder = Path(_temporary().name) / name
    phantom.write_sample(name, folder, size=size)
    return folder


def nanoporous_silver() -> list[LayerTuple]:
    """Slices of nanoporous silver, pores filled, not tilt-corrected."""
    return read(sample_folder("nanoporous-silver"))


def battery_electrode() -> list[LayerTuple]:
    """Slices of a battery electrode: particles, binder and pores."""
    return read(sample_folder("battery-electrode"))
