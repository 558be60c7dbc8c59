"""Write an acquisition as a folder of slices, the way a microscope would leave it."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.volume import value_range_of
from fibtomo.errors import InputError, OutputError
from fibtomo.phantom.headers import Frame, tescan_text, thermo_project, thermo_text, zeiss_text
from fibtomo.phantom.microscope import Acquisition
from fibtomo.phantom.truth import Truth

TAG_THERMO = 34682
TAG_ZEISS = 34118
VENDORS = ("thermo", "zeiss", "tescan", "plain")


def write_slices(
    acquisition: Acquisition,
    folder: str | Path,
    *,
    vendor: str = "thermo",
    info_bar: bool = True,
    z_in_names: bool = False,
) -> list[Path]:
    """Write one TIFF for each slice, the vendor's metadata, and the ground truth.

    Parameters
    ----------
    acquisition
        What to write.
    folder
        Empty or new folder; the slices lie directly in it, the truth in ``ground_truth``.
    vendor
        "thermo" (tag 34682 and an Auto Slice & View ``ProjectData.dat`` with measured thickness), "zeiss" (tag
        34118), "tescan" (``.hdr`` sidecars) or "plain" (no calibration at all).
    info_bar
        Whether a bar with text stands below the image.
    z_in_names
        Whether file names carry the measured position ("slice_0001_z=0.0000um.tif").

    Returns
    -------
    list of Path
        The slice files in order.

    Raises
    ------
    InputError
        The vendor is not known.
    OutputError
        The folder holds something already, or cannot be written.
    """
    if vendor not in VENDORS:
        raise InputError(f"vendor = {vendor!r} must be one of {', '.join(VENDORS)}")
    folder, truth = Path(folder), acquisition.truth
    if folder.is_dir() and any(folder.iterdir()):
        raise OutputError(f"{folder} is not empty; give a new folder for the virtual acquisition")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / name for name in _names(truth, vendor, z_in_names)]
        for k, path in enumerate(paths):
            _write_slice(path, acquisition.slices[k], Frame.of(truth, k, _bar_rows(truth, info_bar)), vendor)
        if vendor == "thermo":
            (folder / "ProjectData.dat").write_text(thermo_project(truth), encoding="utf-8")
        truth.save(folder / "ground_truth")
    except OSError as error:
        raise OutputError(f"{folder} cannot be written ({error.strerror or error})") from error
    return paths


def _names(truth: Truth, vendor: str, z_in_names: bool) -> list[str]:
    numbers = truth.sequences.slice_numbers + 1
    digits = max(3, len(str(numbers[-1])))
    if z_in_names:
        return [f"slice_{n:0{digits}d}_z={z / 1000:.4f}um.tif" for n, z in zip(numbers, truth.slice_z_nm, strict=True)]
    stem = "SEM Image - SliceImage - " if vendor == "thermo" else "slice_"
    return [f"{stem}{n:0{digits}d}.tif" for n in numbers]


def _bar_rows(truth: Truth, info_bar: bool) -> int:
    return max(16, truth.shape[1] // 16) if info_bar else 0


def _write_slice(path: Path, image: NDArray[Any], frame: Frame, vendor: str) -> None:
    import tifffile

    if frame.bar_rows:
        image = np.vstack([image, _bar(frame, image.dtype)])
    tags: list[tuple[int, int, int, bytes, bool]] = []
    if vendor == "thermo":
        tags = [(TAG_THERMO, 2, 0, thermo_text(frame).encode("ascii") + b"\0", True)]
    elif vendor == "zeiss":
        tags = [(TAG_ZEISS, 2, 0, zeiss_text(frame).encode("cp1252") + b"\0", True)]
    tifffile.imwrite(path, image, photometric="minisblack", metadata=None, software=False, extratags=tags)
    if vendor == "tescan":
        path.with_name(f"{path.stem}-tif.hdr").write_text(tescan_text(frame), encoding="utf-8", newline="")


def _bar(frame: Frame, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Black strip (bar_rows, cols) with a white rule and the caption."""
    from PIL import Image, ImageDraw, ImageFont

    bar = Image.new("L", (frame.cols, frame.bar_rows), 0)
    draw = ImageDraw.Draw(bar)
    draw.fontmode = "1"
    draw.line([(0, 0), (frame.cols, 0)], fill=255)
    draw.text((4, 2), frame.caption, fill=255, font=ImageFont.load_default())
    return (np.asarray(bar, dtype=np.float64) / 255 * value_range_of(dtype)[1]).astype(dtype)
