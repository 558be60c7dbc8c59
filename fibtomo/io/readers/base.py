"""What every reader offers, and how z, y, x and the detector are found among the axes of a stored array."""

import struct
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.volume import Calibration, Shape, Sourced
from fibtomo.errors import FibtomoError, StackError
from fibtomo.io.findings import Finding

PARSE_ERRORS = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, OSError, RuntimeError, SyntaxError, TypeError),
    *(ValueError, struct.error),
)
MOST_PIXELS = 2**32
"""Pixels of one slice beyond which a header is taken for damaged."""
COLOURS = ("red", "green", "blue", "alpha")
_MOST_CHANNELS = 4
_PAGE_AXES = "iqtr"
"""Axes that count images and stand for z where there is no z: pages, unnamed, time, region."""


class Reader(Protocol):
    """Slices of one detector; pickled as paths and numbers, opened anew by whoever reads."""

    @property
    def shape(self) -> Shape:
        """Slices, rows, columns as stored."""
        ...

    @property
    def dtype(self) -> str:
        """NumPy type as stored."""
        ...

    @property
    def chunk_slices(self) -> int:
        """Slices that are stored (and hence best read) together."""
        ...

    @property
    def bad(self) -> frozenset[int]:
        """Indices of slices that cannot be read and come as zeros."""
        ...

    def read(self, z: slice, rows: slice) -> NDArray[Any]:
        """Return slices `z` and image rows `rows` as stored, (z, y, x)."""
        ...

    def stamp(self) -> str:
        """Text that changes when the files change."""
        ...


@dataclass
class Opened:
    """What a format family found at a path: one reader per detector and what the container itself says.

    Attributes
    ----------
    readers
        By detector name, the default first.
    images
        Per detector, the image file of each slice (empty for volume files).
    numbers
        Slice numbers from the file names.
    z_nm
        Slice positions from the file names.
    calibration, metadata
        What the container's header says.
    volume
        True when the format defines its spacing as the true spacing of a 3-D grid.
    folder
        Where a project file may lie.
    """

    readers: dict[str, Reader]
    images: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    numbers: tuple[int, ...] | None = None
    z_nm: tuple[float, ...] | None = None
    calibration: Calibration = field(default_factory=Calibration)
    metadata: dict[str, Sourced] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    volume: bool = True
    folder: Path | None = None


@dataclass(frozen=True)
class Layout:
    """Where z, y, x lie among the axes of a stored array; every other axis is held at one index.

    Parameters
    ----------
    shape
        Shape of the stored array.
    order
        Axis numbers of (z, y, x); z is None for a single image.
    fixed
        Index on each remaining axis, as (axis, index) pairs.
    """

    shape: tuple[int, ...]
    order: tuple[int | None, int, int]
    fixed: tuple[tuple[int, int], ...] = ()

    @property
    def volume_shape(self) -> Shape:
        """Slices, rows, columns."""
        z, y, x = self.order
        return (1 if z is None else self.shape[z], self.shape[y], self.shape[x])

    def take(self, array: Any, z: slice, rows: slice) -> NDArray[Any]:
        """Read slices `z` and image rows `rows` of an array-like as (z, y, x)."""
        z_axis, y_axis, x_axis = self.order
        index: list[Any] = [slice(None)] * len(self.shape)
        for axis, i in self.fixed:
            index[axis] = i
        index[y_axis] = rows
        if z_axis is not None:
            index[z_axis] = z
        block = np.asarray(array[tuple(index)])
        if z_axis is None:
            return (block if y_axis < x_axis else block.T)[None][z]
        if z_axis < y_axis < x_axis:
            return block
        return block.transpose(np.argsort(np.argsort((z_axis, y_axis, x_axis))))


def layouts(
    shape: Sequence[int], axes: str | None = None, names: Sequence[str] = (), what: str = "array"
) -> dict[str, Layout]:
    """Return the layout of every detector in an array.

    Parameters
    ----------
    shape
        Shape of the stored array.
    axes
        One letter per axis ("tczyx", "yxs"); guessed when None: (…, z, y, x), a short first or last axis of a 4-D
        array holds the detectors.
    names
        Names of the detectors along the channel axis.
    what
        Opens the message of the error.

    Raises
    ------
    StackError
        The array has no two or three axes that can be z, y, x.

    Examples
    --------
    >>> layouts((2, 30, 40, 50), names=["SE", "BSE"])["BSE"].fixed
    ((0, 1),)
    """
    letters = (axes or _guess_axes(shape)).casefold()
    if len(letters) != len(shape) or "y" not in letters or "x" not in letters:
        raise StackError(f"{what} of shape {tuple(shape)} (axes '{letters}') is no stack: expected z, y, x axes")
    rows, columns = shape[letters.index("y")], shape[letters.index("x")]
    if not (0 < rows * columns <= MOST_PIXELS and all(shape)):
        raise StackError(f"{what} claims a shape of {tuple(shape)}, which no image has; it is damaged or empty")
    if "z" not in letters or shape[letters.index("z")] == 1:
        page_axis = next((a for a in _PAGE_AXES if a in letters and shape[letters.index(a)] > 1), None)
        if page_axis:
            letters = letters.replace("z", "_").replace(page_axis, "z", 1)
    order = (letters.index("z") if "z" in letters else None, letters.index("y"), letters.index("x"))
    others = [i for i in range(len(shape)) if i not in order]
    result = {}
    for combination in product(*(range(shape[i]) for i in others)):
        fixed = tuple(zip(others, combination, strict=True))
        label = " ".join(_name(letters[i], k, shape[i], names) for i, k in fixed if shape[i] > 1)
        result[label] = Layout(tuple(int(n) for n in shape), order, fixed)
    return result


def _guess_axes(shape: Sequence[int]) -> str:
    if len(shape) == 4 and shape[-1] <= _MOST_CHANNELS < shape[0]:
        return "zyxs"
    return "tczyx"[-len(shape) :] if 2 <= len(shape) <= 5 else "?" * len(shape)


def _name(letter: str, index: int, count: int, names: Sequence[str]) -> str:
    if letter in "cs" and len(names) == count:
        return names[index]
    if letter == "s" and count in (3, 4):
        return COLOURS[index]
    return f"{letter}{index}"


def file_stamp(path: Path) -> str:
    """Name, size and time of a file."""
    stat = path.stat()
    return f"{path.name}:{stat.st_size}:{stat.st_mtime_ns}"


@contextmanager
def readable(path: Path, way_out: str = "copy it again or check its name") -> Iterator[None]:
    """Turn whatever a format library says about damaged bytes into one `StackError` naming the file.

    Parsers of foreign bytes fail in any of these ways; our own errors and missing permissions pass unchanged.

    Raises
    ------
    StackError
        The file could not be understood.
    """
    try:
        yield
    except (FibtomoError, PermissionError):
        raise
    except PARSE_ERRORS as error:
        reason = str(error).strip("'\" .") or type(error).__name__
        raise StackError(
            f"{path} cannot be read ({reason}); it is damaged or not what its name says: {way_out}"
        ) from error


@dataclass(frozen=True)
class VolumeReader:
    """Base of readers over one array-like in one file: subclasses say how to open it."""

    path: Path
    layout: Layout
    dtype: str
    chunk_slices: int = 1
    bad: frozenset[int] = frozenset()

    @property
    def shape(self) -> Shape:
        """Slices, rows, columns as stored."""
        return self.layout.volume_shape

    def array(self) -> AbstractContextManager[Any]:
        """Open the stored array."""
        raise NotImplementedError

    def read(self, z: slice, rows: slice) -> NDArray[Any]:
        """Return slices `z` and image rows `rows` as stored."""
        with readable(self.path), self.array() as array:
            return self.layout.take(array, z, rows)

    def stamp(self) -> str:
        """Name, size and time of the file."""
        return file_stamp(self.path)
