"""Write slices for other programs: TIFF, NRRD, MetaImage, NIfTI, raw with a JSON header; the voxel size goes along."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fibtomo
from fibtomo.core.source import ArraySource, SliceSource
from fibtomo.core.volume import VolumeSpec, VoxelNm
from fibtomo.errors import InputError, OutputError
from fibtomo.io.itk import write_image
from fibtomo.io.vendor.plain import OWN_SOFTWARE, SPECIMEN_FRAME

FORMATS = (".tif", ".tiff", ".nrrd", ".mha", ".nii", ".nii.gz", ".raw", "folder of .tif")
_BLOCK_BYTES = 64 * 2**20
_NM_PER_CM = 1e7
_CLASSIC_TIFF_BYTES = 4 * 10**9
_IMAGEJ_TYPES = ("uint8", "uint16", "float32")
_NRRD_TYPES = {"bool": "uint8", "float32": "float", "float64": "double"}
_META_TYPES = {
    "uint8": "MET_UCHAR",
    "int8": "MET_CHAR",
    "uint16": "MET_USHORT",
    "int16": "MET_SHORT",
    "uint32": "MET_UINT",
    "int32": "MET_INT",
    "float32": "MET_FLOAT",
    "float64": "MET_DOUBLE",
}

Progress = Callable[[int, int], None]


def export(
    source: Any,
    path: str | Path,
    *,
    voxel_nm: VoxelNm | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write a stack or a (z, y, x) array; the name says the format.

    Memory is bounded by some slices, except for NIfTI, which is written whole.

    Parameters
    ----------
    source
        A `SliceSource` (such as `Stack`) or an array.
    path
        ``x.tif`` (one file: ImageJ where it fits, else OME-BigTIFF), ``x.nrrd``, ``x.mha``, ``x.nii``, ``x.nii.gz``,
        ``x.raw`` (with ``x.json``), or a folder (one TIFF per slice).
    voxel_nm
        (dz, dy, dx); by default that of the source.
    overwrite
        Replace what stands there.
    progress
        Called with (slices written, slices in all).

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    OutputError
        Something stands there already, or the place cannot be written.
    InputError
        The format is not known.
    """
    target = Path(path).expanduser()
    stack = source if isinstance(source, SliceSource) else _as_source(source)
    scale = voxel_nm or stack.spec.voxel_nm
    write = _writer(target)
    if target.exists() and not overwrite:
        raise OutputError(f"{target} exists already; choose another name or pass --overwrite")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _finished_whole(target) as part:
            write(part, stack, scale, progress or _silent)
    except OSError as error:
        raise OutputError(f"{target} cannot be written ({error.strerror or error})") from None
    return target


def _silent(done: int, of: int) -> None:
    del done, of


_Write = Callable[[Path, SliceSource, VoxelNm | None, Progress], None]


def _writer(target: Path) -> _Write:
    name = target.name.casefold()
    writers: dict[str, _Write] = {
        ".tif": _tiff,
        ".tiff": _tiff,
        ".nrrd": _nrrd,
        ".mha": _metaimage,
        ".nii": _nifti,
        ".nii.gz": _nifti,
        ".raw": _raw,
    }
    for suffix, writer in writers.items():
        if name.endswith(suffix):
            return writer
    if target.suffix and not target.is_dir():
        raise InputError(f"{target.name}: format '{target.suffix}' is not written; choose one of {', '.join(FORMATS)}")
    return _folder


@contextmanager
def _finished_whole(target: Path) -> Iterator[Path]:
    """Give a temporary name beside `target`, and move it there only when everything is written."""
    part = target.with_name(f".part-{os.getpid()}-{target.name}")
    try:
        yield part
        if target.is_dir():
            shutil.rmtree(target)
        part.replace(target)
        extra = part.with_suffix(".json")
        if extra.exists():
            extra.replace(target.with_suffix(".json"))
    finally:
        for left in (part, part.with_suffix(".json")):
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink(missing_ok=True)


def _as_source(array: Any) -> ArraySource:
    if getattr(array, "ndim", None) != 3:
        raise InputError(f"an array of axes (z, y, x) is needed, not of shape {getattr(array, 'shape', None)}")
    return ArraySource(array, VolumeSpec(tuple(array.shape), np.dtype(array.dtype).name))


def _blocks(stack: SliceSource, progress: Progress) -> Iterator[NDArray[Any]]:
    n = stack.spec.shape[0]
    thick = max(1, _BLOCK_BYTES // max(1, stack.spec.slice_bytes))
    for z0 in range(0, n, thick):
        z1 = min(n, z0 + thick)
        block = stack.read(z0, z1)
        yield block.astype(np.uint8) if block.dtype.kind == "b" else block
        progress(z1, n)


def _slices(stack: SliceSource, progress: Progress) -> Iterator[NDArray[Any]]:
    for block in _blocks(stack, progress):
        yield from block


def _tiff(path: Path, stack: SliceSource, scale: VoxelNm | None, progress: Progress) -> None:
    from tifffile import TiffWriter

    spec = stack.spec
    dtype = "uint8" if spec.dtype == "bool" else spec.dtype
    size = spec.slice_bytes * spec.shape[0]
    imagej = dtype in _IMAGEJ_TYPES and size < _CLASSIC_TIFF_BYTES
    metadata: dict[str, Any] = {"axes": "ZYX"}
    if imagej:
        metadata |= {"spacing": scale[0], "unit": "nm"} if scale else {}
    elif scale:
        for axis, step in zip("ZYX", scale, strict=True):
            metadata |= {f"PhysicalSize{axis}": step, f"PhysicalSize{axis}Unit": "nm"}
    with TiffWriter(path, bigtiff=size >= _CLASSIC_TIFF_BYTES, imagej=imagej, ome=not imagej) as tif:
        tif.write(
            _slices(stack, progress),
            shape=spec.shape,
            dtype=dtype,
            photometric="minisblack",
            resolution=(1 / scale[2], 1 / scale[1]) if scale and imagej else None,
            resolutionunit="NONE" if imagej else None,
            metadata=metadata,
            software=_software(stack),
        )


def _folder(path: Path, stack: SliceSource, scale: VoxelNm | None, progress: Progress) -> None:
    import tifffile

    path.mkdir()
    digits = max(4, len(str(stack.spec.shape[0] - 1)))
    for k, image in enumerate(_slices(stack, progress)):
        described: dict[str, Any] = {"metadata": None}
        if scale and image.dtype.name in _IMAGEJ_TYPES:
            described = {"imagej": True, "metadata": {"spacing": scale[0], "unit": "nm"}}
            described |= {"resolution": (1 / scale[2], 1 / scale[1]), "resolutionunit": "NONE"}
        elif scale:
            described |= {"resolution": (_NM_PER_CM / scale[2], _NM_PER_CM / scale[1]), "resolutionunit": "CENTIMETER"}
        tifffile.imwrite(
            path / f"slice_{k:0{digits}d}.tif", image, photometric="minisblack", software=_software(stack), **described
        )


def _software(stack: SliceSource) -> str:
    """Tag by which `open_stack` knows our own files and their frame again."""
    frame = f" ({SPECIMEN_FRAME})" if stack.spec.frame == "specimen" else ""
    return f"{OWN_SOFTWARE} {fibtomo.__version__}{frame}"


def _nrrd(path: Path, stack: SliceSource, scale: VoxelNm | None, progress: Progress) -> None:
    spec = stack.spec
    dz, dy, dx = scale or (1.0, 1.0, 1.0)
    lines = [
        "NRRD0004",
        f"type: {_NRRD_TYPES.get(spec.dtype, spec.dtype)}",
        "dimension: 3",
        "space dimension: 3",
        f"sizes: {spec.shape[2]} {spec.shape[1]} {spec.shape[0]}",
        f"space directions: ({dx!r},0,0) (0,{dy!r},0) (0,0,{dz!r})",
        "kinds: domain domain domain",
        "endian: little",
        "encoding: raw",
        "space origin: (0,0,0)",
    ]
    if scale:
        lines.insert(6, 'space units: "nm" "nm" "nm"')
    _header_and_voxels(path, "\n".join(lines) + "\n\n", stack, progress)


def _metaimage(path: Path, stack: SliceSource, scale: VoxelNm | None, progress: Progress) -> None:
    spec = stack.spec
    dtype = "uint8" if spec.dtype == "bool" else spec.dtype
    if dtype not in _META_TYPES:
        raise InputError(f"MetaImage has no type for {dtype}; export as .nrrd or .raw")
    lines = ["ObjectType = Image", "NDims = 3", "BinaryData = True", "BinaryDataByteOrderMSB = False"]
    lines += ["CompressedData = False", "TransformMatrix = 1 0 0 0 1 0 0 0 1", "Offset = 0 0 0"]
    if scale:
        lines += ["ElementSpacing = " + " ".join(repr(float(v)) for v in reversed(scale)), "voxel_unit = nm"]
    lines += ["DimSize = " + " ".join(str(n) for n in reversed(spec.shape)), f"ElementType = {_META_TYPES[dtype]}"]
    _header_and_voxels(path, "\n".join([*lines, "ElementDataFile = LOCAL"]) + "\n", stack, progress)


def _raw(path: Path, stack: SliceSource, scale: VoxelNm | None, progress: Progress) -> None:
    spec = stack.spec
    dtype = "uint8" if spec.dtype == "bool" else spec.dtype
    header = {
        "shape": list(spec.shape),
        "axes": "zyx",
        "dtype": np.dtype(dtype).newbyteorder("<").str,
        "voxel_nm": list(scale) if scale else None,
    }
    path.with_suffix(".json").write_text(json.dumps(header, indent=1) + "\n", encoding="utf-8")
    _header_and_voxels(path, "", stack, progress)


def _nifti(path: Path, stack: SliceSource, scale: VoxelNm | None, progress: Progress) -> None:
    array = np.concatenate(list(_blocks(stack, progress)))
    write_image(path, array, scale, compress=path.name.endswith(".gz"))


def _header_and_voxels(path: Path, header: str, stack: SliceSource, progress: Progress) -> None:
    with path.open("wb") as file:
        file.write(header.encode())
        for block in _blocks(stack, progress):
            np.ascontiguousarray(block, dtype=block.dtype.newbyteorder("<")).tofile(file)
