"""Decode one image file to its pixels."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.errors import StackError
from fibtomo.io.readers.heads import TIFF


def decode(path: Path) -> NDArray[Any]:
    """Pixels (rows, columns) or (rows, columns, samples) of the first image in a file.

    Raises
    ------
    StackError
        The pixels cannot be decoded.
    """
    suffix = path.suffix.casefold()
    try:
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
    except (RuntimeError, ValueError, OSError, IndexError, struct.error) as error:
        reason = str(error).rstrip(".") or type(error).__name__
        raise StackError(f"{path} cannot be decoded ({reason}); copy it again or pass --skip-bad") from None


def _tiff(path: Path) -> NDArray[Any]:
    from tifffile import TiffFile

    with TiffFile(path) as tif:
        pixels: NDArray[Any] = tif.pages.first.asarray()
    return pixels


def _bmp(path: Path) -> NDArray[Any]:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image if image.mode in ("L", "RGB") else image.convert("L"))
