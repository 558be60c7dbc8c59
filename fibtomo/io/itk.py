"""NRRD, MetaImage and NIfTI through SimpleITK, voxel size in nm."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.volume import VoxelNm
from fibtomo.errors import OutputError, StackError

_NIFTI = (".nii", ".nii.gz", ".hdr", ".img")
_MM = 1e6


def is_nifti(path: Path) -> bool:
    """Whether the name says NIfTI, whose unit is always millimetres in ITK."""
    return path.name.casefold().endswith(_NIFTI)


def read_image(path: Path) -> NDArray[Any]:
    """Voxels (z, y, x) of a whole image file.

    Raises
    ------
    StackError
        ITK cannot read the file.
    """
    import SimpleITK

    try:
        return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    except RuntimeError as error:
        raise StackError(f"{path} cannot be read ({_reason(error)}); it may be truncated: copy it again") from None


def read_header(path: Path) -> tuple[tuple[int, ...], str, tuple[float, ...]]:
    """Shape (z, y, x order), NumPy type and spacing (same order, in the file's own unit) without the voxels.

    Raises
    ------
    StackError
        ITK cannot read the header.
    """
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise StackError(f"{path} cannot be read ({_reason(error)}); check that it is what its name says") from None
    if reader.GetNumberOfComponents() > 1:
        raise StackError(f"{path} holds {reader.GetNumberOfComponents()} values per voxel; save one channel per file")
    dtype = SimpleITK.GetArrayViewFromImage(SimpleITK.Image([1] * reader.GetDimension(), reader.GetPixelID())).dtype
    return tuple(reader.GetSize()[::-1]), dtype.name, tuple(reader.GetSpacing()[::-1])


def write_image(path: Path, array: NDArray[Any], voxel_nm: VoxelNm | None, *, compress: bool = True) -> None:
    """Write a whole (z, y, x) array; spacing in nm (in mm for NIfTI, which knows no nm).

    Raises
    ------
    OutputError
        ITK cannot write the file.
    """
    import SimpleITK

    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(array))
    if voxel_nm:
        scale = 1 / _MM if is_nifti(path) else 1.0
        image.SetSpacing([v * scale for v in reversed(voxel_nm)])
        if not is_nifti(path):
            image.SetMetaData("voxel_unit", "nm")
    try:
        SimpleITK.WriteImage(image, str(path), useCompression=compress)
    except RuntimeError as error:
        raise OutputError(f"{path} cannot be written ({_reason(error)})") from None


def _reason(error: RuntimeError) -> str:
    """Last line of ITK's report, which holds the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else "unknown cause"
