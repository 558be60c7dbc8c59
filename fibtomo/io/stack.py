"""`Stack`: the lazy, calibrated slices of one acquisition."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.evidence import Evidence
from fibtomo.core.volume import ORIENTATIONS, Calibration, Channel, Shape, Sourced, VolumeSpec, VoxelNm, value_range_of
from fibtomo.errors import InputError
from fibtomo.io.findings import Finding, listed
from fibtomo.io.logs import SliceLog, read_logs
from fibtomo.io.readers.base import Reader

_DASK_CHUNK_BYTES = 32 * 2**20
_READ_AS = {"b1": "uint8", "i1": "int16", "f2": "float32", "f8": "float32"}
_WIDE = ("u4", "i4", "u8", "i8")


@dataclass(frozen=True, eq=False, repr=False)
class Stack:
    """Slices of one detector with everything that is known about them; a `SliceSource`.

    Made by `open_stack`. Nothing is read before `read` or `data` asks for it, and a `Stack` can be pickled.

    Attributes
    ----------
    path
        What was opened.
    readers
        By detector name.
    channel_name
        The detector whose slices `read` returns.
    chosen
        Indices of the stored slices that make up the stack.
    rows
        Image rows [start, stop) that are kept (an info bar is not).
    calibration
        Scale and angles, each with its origin.
    value_range
        Smallest and largest grey value that can occur.
    details
        Per detector, what vendor, project and container say besides the calibration.
    images
        Per detector, the files of the stored slices (empty for volume files).
    problems
        Everything noticed about the input, as `Finding` objects.
    numbers
        Slice number of each slice, where file names have one.
    missing
        Slice numbers missing in between.
    evidence
        What the slices themselves say of their acquisition; ``None`` until somebody looked.
    told
        The calibration before this evidence was weighed against it.
    companions
        Further detectors that a run carries through the same geometry; see `carrying`.
    """

    path: Path
    readers: dict[str, Reader]
    channel_name: str
    chosen: range
    rows: tuple[int, int]
    calibration: Calibration
    value_range: tuple[float, float]
    details: dict[str, dict[str, Sourced]] = field(default_factory=dict)
    images: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    problems: tuple[Finding, ...] = ()
    numbers: tuple[int, ...] | None = None
    missing: tuple[int, ...] = ()
    evidence: tuple[Evidence, ...] | None = None
    told: Calibration | None = None
    companions: tuple[str, ...] = ()

    @property
    def spec(self) -> VolumeSpec:
        """Shape, dtype and scale of what `read` returns."""
        others = tuple(Channel(n, s.dtype.name, s.value_range) for n, s in self.carried.items())
        return VolumeSpec(self.shape, self.dtype.name, self.voxel_nm, self.value_range, channels=others)

    @property
    def shape(self) -> Shape:
        """Slices, rows, columns."""
        return len(self.chosen), self.rows[1] - self.rows[0], self._reader.shape[2]

    @property
    def dtype(self) -> "np.dtype[Any]":
        """Type of what `read` returns: as stored, but masks as uint8, wide numbers as float32."""
        return read_type(self._reader.dtype)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the detectors; the default first."""
        return tuple(self.readers)

    @property
    def voxel_nm(self) -> VoxelNm | None:
        """(dz, dy, dx) of the stored grid as scanned, in nm; None unless all three are known."""
        step, pixel = self.calibration.slice_nm.value, self.calibration.pixel_nm.value
        return (float(step), float(pixel[0]), float(pixel[1])) if step and pixel else None

    @property
    def pixel_nm(self) -> tuple[float, float] | None:
        """(dy, dx) of a stored pixel as scanned, in nm."""
        value: tuple[float, float] | None = self.calibration.pixel_nm.value
        return value

    @property
    def column_angle_deg(self) -> float | None:
        """Angle between electron and ion column."""
        value: float | None = self.calibration.column_angle_deg.value
        return value

    @property
    def tilt_corrected(self) -> bool | None:
        """Whether stored rows already have true scale."""
        value: bool | None = self.calibration.tilt_corrected.value
        return value

    @property
    def tracked(self) -> bool | None:
        """Whether the field of view followed the face."""
        value: bool | None = self.calibration.tracked.value
        return value

    @property
    def slice_z_nm(self) -> NDArray[np.float64] | None:
        """(n,) positions of the slices along the milling direction, when measured or when slices are missing."""
        value = self.calibration.slice_z_nm.value
        return None if value is None else np.asarray(value, dtype=np.float64)

    @property
    def metadata(self) -> dict[str, Sourced]:
        """Everything the instrument says about this detector, by name."""
        return self.details.get(self.channel_name, {})

    @property
    def warnings(self) -> list[str]:
        """Sentences the user should read."""
        return [finding.message for finding in self.problems if finding.severity == "warning"]

    @property
    def files(self) -> tuple[Path, ...]:
        """File of each slice, or the one volume file."""
        images = self.images.get(self.channel_name, ())
        if len(images) == self._reader.shape[0]:
            return tuple(images[k] for k in self.chosen)
        return images or (self.path,)

    @cached_property
    def logs(self) -> dict[str, SliceLog]:
        """Focus, beam shift and stage over the slices, where each slice is a file whose header tells them.

        Read when first asked for; see `read_logs` for the names.
        """
        files = self.files
        return read_logs(files) if len(files) == len(self) > 1 else {}

    @property
    def bad_slices(self) -> list[int]:
        """Slices that could not be read and come as zeros; to be bridged by their neighbours."""
        return [i for i, k in enumerate(self.chosen) if k in self._reader.bad]

    @property
    def data(self) -> Any:
        """All slices as a lazy dask array (z, y, x)."""
        import dask.array as da

        per_slice = max(1, self.spec.slice_bytes)
        thick = max(1, min(len(self), _DASK_CHUNK_BYTES // per_slice))
        stored = max(1, self._reader.chunk_slices // self.chosen.step)
        thick = max(stored, thick // stored * stored)
        chunks = (thick, *self.shape[1:])
        return da.from_array(_Sliced(self), chunks=chunks, name=f"stack-{self.fingerprint()}", asarray=False)

    def channel(self, name: str) -> "Stack":
        """Return the same slices as another detector saw them.

        Raises
        ------
        InputError
            There is no such detector.
        """
        if name not in self.readers:
            raise InputError(f"{self.path} has no channel '{name}'; there are: {', '.join(self.readers)}")
        reader = self.readers[name]
        value_range = measured_range(reader, self.chosen, self.rows)
        return replace(self, channel_name=name, value_range=value_range, companions=())

    def spelled(self, name: str) -> str:
        """Name of a detector as the stack spells it.

        Raises
        ------
        InputError
            There is no such detector.
        """
        for known in self.channels:
            if known.casefold() == name.casefold():
                return known
        raise InputError(f"{self.path} has no channel '{name}'; there are: {listed(self.channels)}")

    @cached_property
    def carried(self) -> "dict[str, Stack]":
        """The further detectors by name."""
        return {name: self.channel(name) for name in self.companions}

    def carrying(self, names: Sequence[str]) -> "Stack":
        """Return the same slices with further detectors that a run takes along.

        Raises
        ------
        InputError
            There is no such detector, or it is there already.

        Examples
        --------
        >>> from fibtomo.io.open import open_stack
        >>> both = open_stack(np.zeros((2, 4, 8, 8), np.uint8), voxel_nm="unknown")
        >>> both.carrying(["c1"]).companions
        ('c1',)
        """
        found: list[str] = []
        for name in names:
            known = self.spelled(name)
            if known in (self.channel_name, *found):
                raise InputError(f"the channel '{known}' is used twice: name each of {listed(self.channels)} once")
            found.append(known)
        return replace(self, companions=tuple(found))

    def read(self, z0: int, z1: int) -> NDArray[Any]:
        """Return slices [z0, z1) as a new (z, y, x) array; only their files are touched.

        Flips and half turns of the stored images (`Calibration.orientation`) are undone: x is right on the face seen
        from the electron column, y down along the ion beam.
        NaN, which no later step can weigh, becomes the lowest grey; infinities the ends of `value_range`.

        Raises
        ------
        StackError
            A file cannot be read any more.
        """
        part = self.chosen[max(0, z0) : max(0, z1)]
        block = self._reader.read(slice(part.start, part.stop, part.step), slice(*self.rows))
        backwards = [axis for axis, flipped in enumerate(self._flipped, 1) if flipped]
        block = np.flip(block, backwards) if backwards else block
        if block.dtype.kind == "b":
            return block.astype(np.uint8) * np.uint8(255)
        out = np.array(block, dtype=self.dtype, order="C", copy=None if block.flags.owndata else True)
        if out.dtype.kind == "f":
            low, high = self.value_range
            np.nan_to_num(out, copy=False, nan=low, posinf=high, neginf=low)
        return out

    def fingerprint(self) -> str:
        """Short text that changes when files, detector, crop or choice of slices change."""
        digest = hashlib.sha256(self._reader.stamp().encode())
        digest.update(f"{self.channel_name}{self.chosen}{self.rows}{sorted(self._reader.bad)}".encode())
        digest.update(f"{self._flipped}".encode())
        for stack in self.carried.values():
            digest.update(stack.fingerprint().encode())
        return digest.hexdigest()[:16]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """All slices in memory, for NumPy functions."""
        return np.asarray(self.read(0, len(self)), dtype=dtype)

    def __len__(self) -> int:
        """Number of slices."""
        return len(self.chosen)

    def __repr__(self) -> str:
        n, rows, columns = self.shape
        voxel = " × ".join(f"{v:.4g}" for v in self.voxel_nm) + " nm" if self.voxel_nm else "unknown"
        detectors = f", channels {listed(self.channels)}" if len(self.channels) > 1 else ""
        return f"<Stack {self.path.name}: {n} × {rows} × {columns} {self.dtype.name}, voxel {voxel}{detectors}>"

    def _repr_html_(self) -> str:
        from html import escape

        from fibtomo.io.describe import describe

        rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in describe(self))
        warnings = "".join(f"<li>{escape(text)}</li>" for text in self.warnings)
        head = "<tr><th>what</th><th>value</th><th>from</th><th>confidence</th></tr>"
        return f"<b>{escape(repr(self)[1:-1])}</b><table>{head}{rows}</table><ul>{warnings}</ul>"

    @property
    def _reader(self) -> Reader:
        return self.readers[self.channel_name]

    @property
    def _flipped(self) -> tuple[bool, bool]:
        """Whether stored rows, and columns, run backwards."""
        return ORIENTATIONS[self.calibration.orientation.value or "upright"]


class _Sliced:
    """What dask needs of an array: shape, dtype, and reading along z."""

    def __init__(self, stack: Stack) -> None:
        self.stack, self.shape, self.dtype, self.ndim = stack, stack.shape, stack.dtype, 3

    def __getitem__(self, key: "tuple[slice | int, ...]") -> NDArray[Any]:
        first, *rest = key
        if isinstance(first, int):
            return self.stack.read(first, first + 1)[(0, *rest)]
        z = range(self.shape[0])[first]
        block = self.stack.read(z.start, max(z.stop, z.start))
        return block[(slice(None, None, z.step), *rest)]


def read_type(stored: str) -> "np.dtype[Any]":
    """Type in which stored voxels are read.

    8 and 16 bit integers and float32 stay; masks become 0 and 255; wider numbers become float32.

    Examples
    --------
    >>> [read_type(t).name for t in (">u2", "?", "i4", "f8")]
    ['uint16', 'uint8', 'float32', 'float32']
    """
    dtype = np.dtype(stored)
    short = f"{dtype.kind}{dtype.itemsize}"
    return np.dtype(_READ_AS.get(short) or ("float32" if short in _WIDE else dtype.newbyteorder("=")))


def measured_range(reader: Reader, chosen: range, rows: tuple[int, int]) -> tuple[float, float]:
    """Range of grey values: of the integer type, or measured on some slices of floats and widened by a tenth."""
    dtype = read_type(reader.dtype)
    if dtype.kind in "iu":
        return value_range_of(dtype)
    lows, highs = [], []
    for k in sorted({chosen[0], chosen[len(chosen) // 4], chosen[len(chosen) // 2], chosen[-1]}):
        values = reader.read(slice(k, k + 1), slice(*rows))
        finite = values[np.isfinite(values)]
        if finite.size:
            lows.append(float(finite.min()))
            highs.append(float(finite.max()))
    if not lows:
        return value_range_of(dtype)
    low, high = min(lows), max(highs)
    if low >= 0 and 0.1 < high <= 1:
        return 0.0, 1.0
    margin = 0.1 * (high - low) or 0.5
    return low - margin, high + margin


def evenly(items: Sequence[int]) -> list[int]:
    """First, middle and last of some indices, without repeats."""
    return sorted({items[0], items[len(items) // 2], items[-1]})
