"""Stacks in one TIFF: multi-page, BigTIFF, ImageJ and OME-TIFF, single images."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.errors import StackError
from fibtomo.io.findings import Finding
from fibtomo.io.readers.base import Opened, VolumeReader, layouts
from fibtomo.io.readers.heads import is_inverted
from fibtomo.io.readers.image_files import colour_samples


@dataclass(frozen=True)
class TiffReader(VolumeReader):
    """Slices of one series of a TIFF: memory-mapped where the pixels lie in one run, else decoded page by page."""

    series: int = 0
    offset: int | None = None
    inverted: bool = False

    @contextmanager
    def array(self) -> Iterator[Any]:
        """Map the series, or offer its pages."""
        if self.offset is not None:
            yield np.memmap(self.path, np.dtype(self.dtype), "r", self.offset, self.layout.shape)
            return
        from tifffile import TiffFile

        with TiffFile(self.path) as tif:
            yield _Pages(tif, self.series, self.layout.shape)

    def read(self, z: slice, rows: slice) -> NDArray[Any]:
        """Return slices `z` and image rows `rows`, bright for large values."""
        block = super().read(z, rows)
        return np.bitwise_not(block) if self.inverted else block


class _Pages:
    """Array-like over the pages of a series: leading axes count pages, trailing axes lie within one."""

    def __init__(self, tif: Any, series: int, shape: tuple[int, ...]) -> None:
        self.tif, self.series, self.shape = tif, series, shape
        count = len(tif.series[series].pages)
        lead = 0
        while int(np.prod(shape[:lead])) < count:
            lead += 1
        self.lead = lead

    def __getitem__(self, index: tuple[Any, ...]) -> NDArray[Any]:
        numbers = np.arange(int(np.prod(self.shape[: self.lead]))).reshape(self.shape[: self.lead])
        wanted = numbers[index[: self.lead]]
        pages = self.tif.asarray(key=[int(k) for k in wanted.ravel()], series=self.series, maxworkers=4)
        block = np.asarray(pages).reshape(wanted.size, *self.shape[self.lead :])
        block = block[(slice(None), *index[self.lead :])]
        return block.reshape(*wanted.shape, *block.shape[1:])


def open_tiff(path: Path) -> Opened:
    """Open the largest series of a TIFF file.

    Raises
    ------
    StackError
        The file is cut short or holds no stack.
    """
    from tifffile import TiffFile

    with TiffFile(path) as tif:
        number, series = max(enumerate(tif.series), key=lambda item: item[1].size)
        _check_complete(path, tif, series)
        page = series.keyframe
        inverted = is_inverted(page)
        shape, axes = series.get_shape(squeeze=False), series.get_axes(squeeze=False)
        offset = series.dataoffset if page.is_memmappable else None
        dtype = np.dtype(series.dtype).newbyteorder(tif.byteorder if offset is not None else "=").str
        names, is_ome = _channel_names(tif), bool(tif.is_ome)
    channels = layouts(shape, axes, names, str(path))
    readers: dict[str, Any] = {
        name: TiffReader(path, layout, dtype, series=number, offset=offset, inverted=inverted)
        for name, layout in channels.items()
    }
    findings = []
    first = next(iter(readers.values()))
    if first.shape[0] == 1:
        text = f"{path.name} is a single image; give its folder to read the whole series"
        findings.append(Finding("single-image", text, files=(path.name,)))
    if axes.endswith("S") and shape[-1] > 1:
        readers, finding = colour_samples(readers, path.name)
        findings.append(finding)
    images = dict.fromkeys(readers, (path,))
    several = first.shape[0] > 1
    return Opened(
        readers, images, findings=findings, volume=is_ome and several, folder=path.parent if several else None
    )


def _check_complete(path: Path, tif: Any, series: Any) -> None:
    size = path.stat().st_size
    n_pages = len(tif.pages)
    tif.filehandle.seek(tif.pages.next_page_offset)
    link = tif.filehandle.read(tif.tiff.offsetsize)
    if any(link):
        raise StackError(f"{path} is cut short: only {n_pages} of its pages are there; copy it again")
    if series.dataoffset is not None:
        end = series.dataoffset + series.nbytes
    else:
        last = series.pages[-1]
        end = 0 if last is None else max(o + n for o, n in zip(last.dataoffsets, last.databytecounts, strict=True))
    if end > size:
        raise StackError(f"{path} is cut short ({size} of at least {end} bytes); copy it again")


def _channel_names(tif: Any) -> list[str]:
    """Channel names of an OME or ImageJ description."""
    if tif.is_ome and tif.ome_metadata:
        from defusedxml.ElementTree import fromstring

        return [c.get("Name", "") for c in fromstring(tif.ome_metadata).iter() if c.tag.endswith("}Channel")]
    labels = (tif.imagej_metadata or {}).get("Labels")
    return list(dict.fromkeys(labels)) if isinstance(labels, list) else []
