"""What a report is made of."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass
class ReportData:
    """Everything a report can show; all but `title` and `command` may be missing.

    Attributes
    ----------
    title, command, created, version
        Heading, exact command to repeat the run, date and time, version of fibtomo.
    summary
        Headline facts as (name, value): size, voxel, device, wall time, …
    metadata
        (name, value, origin, confidence) of everything that was read or believed.
    warnings, assumptions, notes
        Sentences for the reader; warnings and assumptions stand at the top.
    evidence
        What the slices say: dictionaries with ``fact``, ``value``, ``text``, ``decisive`` and ``numbers``.
    drift
        Object with ``shifts_px`` (n, 2), ``sigma_px``, ``confidence``, ``bad_slices``, ``identifiable``, ``notes``,
        ``quality``.
    refinement
        What `drift.refine` added, or ``None``: ``notes``, ``flags`` per slice, ``largest_px``.
    thickness
        Table of the stage ``thickness.estimate``: ``slice_z_nm``, ``sigma_nm``, ``doubled``, ``missing_before``, …
    curtains
        What each ``curtain.remove`` noted: per slice ``index``, ``angle_deg``, ``second_angle_deg``, ``removed_rms``,
        ``damage_rms``, ``structure_loss``, ``structure_r``; ``frame``, "slice" or "specimen"; ``stages`` that change
        the slices before they are resampled.
    face
        Table of the stage ``face.find``: ``box_px``, ``crop``, ``surface_row_px``, ``surface_slope``, ``notes``.
    charging
        Table of the stage ``intensity.charging``: ``notes``, ``pixels`` faulty per slice, ``plane_pixels``, ``mode``.
    slice_files
        File name of each slice.
    slice_nm
        Nominal slice thickness.
    pixel_nm
        (dy, dx) of the stored slices.
    expected_shifts_px
        (n, 2) apparent motion that the geometry alone predicts.
    raw, corrected
        Slices as stored, and after intensity and curtain correction; `SliceSource` or (z, y, x) array.
    volume, labels
        Reconstructed grey volume and phase labels; `SliceSource` or (z, y, x) array.
    histogram
        (counts, edges) of the volume.
    thresholds, threshold_sigma
        Grey values that part the phases, and their standard errors.
    evened
        Whether the histogram is that of greys with slow changes of brightness taken out.
    measurements
        Rows with keys quantity, phase, value, unit, uncertainty, definition.
    objects
        Columns of the object table.
    mesh
        Object with ``vertices`` (n, 3) in nm as x, y, z and ``faces`` (m, 3); drawn if there are no labels.
    timings
        (stage, seconds, Mvoxel per second).
    pipeline_yaml
        The pipeline as run.
    versions
        Library to version.
    """

    title: str
    command: str
    created: str = ""
    version: str = ""
    summary: list[tuple[str, str]] = field(default_factory=list)
    metadata: list[tuple[str, Any, str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    assumptions: list[str] = field(default_factory=list)
    evidence: list[dict[str, Any]] = field(default_factory=list)
    drift: Any = None
    refinement: dict[str, Any] | None = None
    thickness: dict[str, Any] | None = None
    face: dict[str, Any] | None = None
    charging: dict[str, Any] | None = None
    curtains: list[dict[str, Any]] = field(default_factory=list)
    slice_files: list[str] | None = None
    slice_nm: float | None = None
    pixel_nm: tuple[float, float] | None = None
    expected_shifts_px: NDArray[np.float64] | None = None
    raw: Any = None
    corrected: Any = None
    volume: Any = None
    labels: Any = None
    histogram: tuple[ArrayLike, ArrayLike] | None = None
    thresholds: list[float] | None = None
    threshold_sigma: list[float] | float | None = None
    evened: bool = False
    measurements: list[dict[str, Any]] = field(default_factory=list)
    objects: dict[str, NDArray[Any]] | None = None
    mesh: Any = None
    timings: list[tuple[str, float, float | None]] = field(default_factory=list)
    pipeline_yaml: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
