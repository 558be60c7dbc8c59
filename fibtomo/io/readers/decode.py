"""Decode one image file to its pixels."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.io.readers.base import readable
from fibtomo.io.readers.heads import TIFF


def decode(path: Path) -> NDArray[Any]:
    """Pixels (rows, columns) or (rows, columns, samples) of the first image in a file.

    Raises
    ------
    StackError
        The pixels cannot be decoded.
    """
    suffix = path.suffix.casefold()
    with readable(path, "copy it again or pass --skip-bad"):
        if suffix in TIFF:
            return _tiff(path)
        if suffix == ".bmp":
            return _bmp(path)
        if suffix == ".dat":
            from fibtomo.io.vendor.janelia import read_dat

            return np.moveaxis(read_dat(path)[0], 0, -1)
        import imagecodecs

        data = path.read_bytes()
        return imagecodecs.png_decode(data) if suffix == ".png" else imagecodecs.jpeg8_decode(data)


def _tiff(path: Path) -> NDArray[Any]:
    from tifffile import TiffFile

    with TiffFile(path) as tif:
        pixels: NDArray[Any] = tif.pages.first.asarray()
    return pixels


def _bmp(path: Path) -> NDArray[Any]:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image if image.mode in ("L", "RGB") else image.convert("L"))
