"""Files as the vendors write them, made of bytes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

ASCII, BYTE = 2, 1


@pytest.fixture
def write_tiff(tmp_path: Path) -> Callable[..., Path]:
    """Write a TIFF of `shape` with private tags {number: bytes}."""

    def write(
        tags: dict[int, bytes], shape: tuple[int, int] = (48, 64), name: str = "slice.tif", **options: Any
    ) -> Path:
        path = tmp_path / name
        extra = [(code, BYTE if code == 50431 else ASCII, len(data), data, True) for code, data in tags.items()]
        tifffile.imwrite(path, np.zeros(shape, np.uint8), extratags=extra, metadata=None, **options)
        return path

    return write
