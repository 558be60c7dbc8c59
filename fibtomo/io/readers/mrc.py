"""MRC volumes (IMOD, cryo-EM tools)."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fibtomo.core.volume import Calibration, Sourced
from fibtomo.errors import StackError
from fibtomo.io.findings import Finding
from fibtomo.io.readers.base import Opened, VolumeReader, layouts

_UNSET_NM = 0.1
"""1 Å: what headers hold that nobody has set."""
SUFFIXES = (".mrc", ".rec", ".st", ".map", ".mrcs", ".preali", ".ali")


@dataclass(frozen=True)
class MrcReader(VolumeReader):
    """Slices of a memory-mapped MRC file."""

    offset: int = 1024

    @contextmanager
    def array(self) -> Iterator[Any]:
        """Map the voxels."""
        yield np.memmap(self.path, np.dtype(self.dtype), "r", self.offset, self.layout.shape)


def open_mrc(path: Path) -> Opened:
    """Open an uncompressed MRC file.

    Raises
    ------
    StackError
        The header is no MRC header, or the file is cut short.
    """
    import mrcfile

    with path.open("rb") as start:
        if start.read(212)[-4:-1] != b"MAP":
            raise StackError(f"{path} is no MRC file (its header lacks the word MAP)")
    with warnings.catch_warnings(action="ignore"), mrcfile.open(path, "r", permissive=True, header_only=True) as file:
        header: Any = file.header
        dtype = mrcfile.utils.data_dtype_from_header(header)
        shape = mrcfile.utils.data_shape_from_header(header)
        voxel = tuple(float(file.voxel_size[axis]) / 10 for axis in "zyx")
        offset = 1024 + int(header.nsymbt)
    needed = offset + int(np.prod(shape)) * dtype.itemsize
    if path.stat().st_size < needed:
        raise StackError(f"{path} is cut short ({path.stat().st_size} of {needed} bytes); copy it again")
    channels = layouts(shape, what=str(path))
    readers = {n: MrcReader(path, layout, dtype.str, offset=offset) for n, layout in channels.items()}
    if all(v > 0 and v != _UNSET_NM for v in voxel):
        dz, dy, dx = voxel
        calibration = Calibration(Sourced((dy, dx), "MRC header", "given"), Sourced(dz, "MRC header", "given"))
        return Opened(readers, calibration=calibration)
    text = f"{path.name}: the MRC header holds no voxel size (0 or 1 Å); give --voxel-nm DZ DY DX (voxel_nm)"
    return Opened(readers, findings=[Finding("no-scale", text, files=(path.name,), asks="pixel_nm")])
