"""Drift of a stack that still grows: every slice is measured once, as it arrives from the microscope."""

from typing import Any

import numpy as np

from fibtomo.backend.array import namespace
from fibtomo.core.drift import Drift
from fibtomo.core.volume import Calibration, Table
from fibtomo.errors import InputError
from fibtomo.ops.drift import motions_allowed
from fibtomo.ops.drift_anchor import anchor_to_face
from fibtomo.ops.drift_combine import combine_slabs
from fibtomo.ops.drift_measure import DriftOptions, measure_slab
from fibtomo.ops.face import find_face
from fibtomo.ops.face_measure import measure_faces


class DriftTracker:
    """Measure slices as they arrive; the motion so far can be asked for at any time.

    It is the motion that `estimate_drift` finds on the same slices, static regions apart that it would look for. Four
    slices are kept, and some numbers of all others.

    Parameters
    ----------
    options
        How drift is measured and solved.
    calibration
        Of the stack, for the motion that geometry expects.

    Examples
    --------
    >>> from scipy.ndimage import gaussian_filter
    >>> scene = gaussian_filter(np.random.default_rng(0).normal(size=(140, 140)), 2)
    >>> tracker = DriftTracker()
    >>> for k in range(5):
    ...     tracker.add(scene[6 - k : 134 - k, 2 * k : 128 + 2 * k])
    >>> len(tracker), tracker.drift().shifts_px[-1].round().tolist()
    (5, [4.0, -8.0])
    """

    def __init__(self, options: DriftOptions | None = None, calibration: Calibration | None = None) -> None:
        self._options = options or DriftOptions()
        self._calibration = calibration
        self._latest: Any = None
        self._tables: list[Table] = []
        self._faces: list[Table] = []
        self._length = 0

    def __len__(self) -> int:
        """Number of slices that have arrived."""
        return self._length

    def add(self, slices: Any) -> None:
        """Measure one slice (y, x) or several (z, y, x) that follow those before.

        Raises
        ------
        InputError
            They have another size than those before.
        """
        fresh = slices[None] if slices.ndim == 2 else slices
        if self._latest is not None and fresh.shape[1:] != self._latest.shape[1:]:
            size, was = (" x ".join(map(str, s.shape[1:])) for s in (fresh, self._latest))
            raise InputError(f"slice {self._length} has {size} pixels, those before {was}")
        block = fresh if self._latest is None else namespace(fresh).concatenate([self._latest, fresh])
        before = len(block) - len(fresh)
        self._tables.append(measure_slab(block, self._length - before, (before, len(block)), self._options))
        self._faces.append(measure_faces(fresh))
        self._latest = block[-self._options.halo :].copy()
        self._length += len(fresh)

    def drift(self) -> Drift:
        """Motion of all slices so far.

        Raises
        ------
        InputError
            There are fewer than two.
        """
        n = self._length
        if n < 2:
            raise InputError(f"{n} slice(s) have no drift; add 2 or more")
        drift = combine_slabs(self._tables, self._options, motions_allowed(self._calibration, n))
        if self._options.slow not in ("auto", "reference"):
            return drift
        faces = {name: np.concatenate([table[name] for table in self._faces]) for name in self._faces[0]}
        shape = self._latest.shape[1:]
        return anchor_to_face(drift, find_face(faces, shape, drift.shifts_px, bad_slices=drift.bad_slices))
