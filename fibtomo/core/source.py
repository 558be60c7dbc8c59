"""What a stage-by-stage reader must offer, whatever stands behind it (slice files, Zarr, an array in memory)."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.volume import Calibration, VolumeSpec


@runtime_checkable
class SliceSource(Protocol):
    """A stack of slices that is read a range at a time.

    Implementations can be pickled (paths and numbers only), so that any Dask worker may reopen them.
    """

    @property
    def spec(self) -> VolumeSpec:
        """Shape, dtype and scale of what `read` returns."""
        ...

    @property
    def calibration(self) -> Calibration:
        """Scale and angles, each with its origin."""
        ...

    def read(self, z0: int, z1: int) -> NDArray[Any]:
        """Return slices [z0, z1) as a new (z, y, x) array in the stored dtype."""
        ...

    def fingerprint(self) -> str:
        """Short text that changes when the input changes (names, sizes, times)."""
        ...


class ArraySource:
    """A `SliceSource` over a (z, y, x) array in memory."""

    def __init__(self, array: Any, spec: VolumeSpec, calibration: Calibration | None = None) -> None:
        self.array = array
        self._spec = spec
        self._calibration = calibration or Calibration()

    @property
    def spec(self) -> VolumeSpec:
        """Shape, dtype and scale of the array."""
        return self._spec

    @property
    def calibration(self) -> Calibration:
        """Scale and angles, each with its origin."""
        return self._calibration

    def read(self, z0: int, z1: int) -> NDArray[Any]:
        """Return slices [z0, z1) as a new array."""
        return np.array(self.array[z0:z1])

    def fingerprint(self) -> str:
        """Hash of the voxels."""
        import hashlib

        digest = hashlib.sha256(repr(self._spec.shape).encode())
        for k in range(self._spec.shape[0]):
            digest.update(np.ascontiguousarray(self.array[k]).tobytes())
        return digest.hexdigest()[:16]
