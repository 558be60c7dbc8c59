"""`Truth`: everything that made an acquisition, from which its ideal slices and any true volume follow exactly."""

import json
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fibtomo
from fibtomo.core.geometry import Geometry
from fibtomo.core.grid import ResampleGrid
from fibtomo.core.volume import Shape
from fibtomo.errors import StackError
from fibtomo.phantom._threads import per_slice
from fibtomo.phantom.artefacts import Artefacts
from fibtomo.phantom.catalogue import describe, make_specimen
from fibtomo.phantom.effects import CurtainField
from fibtomo.phantom.motion import Float, Sequences
from fibtomo.phantom.specimens import Phase, Specimen

FORMAT = "fibtomo-phantom 1"


@dataclass(frozen=True)
class Truth:
    """The ground truth of a virtual acquisition.

    The specimen point (0, 0, 0) lies at row 0, column 0 of slice 0; the point (z, y, x) lies on slice k, whose
    `slice_z_nm` is z, at row ``y / dy + shifts_px[k, 0]`` and column ``x / dx + shifts_px[k, 1]`` with
    ``(dz, dy, dx) = geometry.true_voxel_nm``.

    Attributes
    ----------
    specimen
        The analytic specimen.
    geometry
        The projection with nominal slice spacing.
    shape
        (slices, rows, columns).
    artefacts, seed
        What was switched on, and the seed of all of it.
    oversample
        Samples along each side of a pixel.
    sequences
        What the microscope did at each slice.
    """

    specimen: Specimen
    geometry: Geometry
    shape: Shape
    artefacts: Artefacts
    seed: int
    oversample: int
    dtype: str
    sequences: Sequences

    @property
    def slice_z_nm(self) -> Float:
        """(n,) true positions along the milling direction, first at 0."""
        return self.sequences.slice_z_nm

    @property
    def bad_slices(self) -> dict[int, str]:
        """Index of every bad slice with the reason."""
        return self.sequences.bad_slices

    @property
    def missing_before(self) -> list[int]:
        """Indices of slices before which at least one milled slice was not stored."""
        return [int(k) + 1 for k in np.flatnonzero(np.diff(self.sequences.slice_numbers) > 1)]

    @property
    def drift_px(self) -> Float:
        """(n, 2) motion (dy, dx) of the sample alone, slice 0 at rest."""
        s = self.sequences
        return s.slow_px + s.jitter_px + s.jumps_px

    @cached_property
    def shifts_px(self) -> Float:
        """(n, 2) where the content of each slice appears (dy, dx): drift and geometric shear together."""
        return self.drift_px + self.measured_geometry.expected_shifts_px(self.shape[0])

    @cached_property
    def measured_geometry(self) -> Geometry:
        """The projection with the true slice positions."""
        if np.array_equal(self.slice_z_nm, np.arange(self.shape[0]) * self.geometry.voxel_nm[0]):
            return self.geometry
        return replace(self.geometry, slice_z_nm=tuple(self.slice_z_nm.tolist()))

    @cached_property
    def curtain_field(self) -> CurtainField | None:
        """The streaks of this acquisition, ``None`` when switched off."""
        if self.artefacts.curtains is None:
            return None
        n, rows, cols = self.shape
        low, high = -self.shifts_px.max(axis=0), -self.shifts_px.min(axis=0)
        return CurtainField(self.artefacts.curtains, n, (low[1], high[1] + cols), (low[0], high[0] + rows), self.seed)

    def coordinates_nm(self, k: int, samples: int = 1) -> tuple[float, Float, Float]:
        """Specimen coordinates (z, y, x) of the pixels of slice `k`, `samples` along each side of a pixel.

        y has shape (rows·samples, 1); x broadcasts against it.
        """
        _, rows, cols = self.shape
        _, dy, dx = self.geometry.true_voxel_nm
        shift, line = self.shifts_px[k], self.sequences.line_px[k]
        row = ((np.arange(rows * samples) + 0.5) / samples - 0.5)[:, None]
        col = ((np.arange(cols * samples) + 0.5) / samples - 0.5)[None]
        within_frame = row / max(1, rows - 1) - 0.5
        y = (row - shift[0] - line[0] * within_frame) * dy
        x = (col - shift[1] - (line[1] * within_frame if line[1] else 0.0)) * dx
        return float(self.slice_z_nm[k]), y, x

    def slice_phase(self, k: int) -> Phase:
        """Phase (rows, columns) at the pixel centres of slice `k`."""
        return self.specimen.phase(*self.coordinates_nm(k))

    def slice_samples(self, k: int) -> Phase:
        """Phase (rows, m, columns, m) at the m × m samples of every pixel of slice `k`."""
        _, rows, cols = self.shape
        m = self.oversample
        return self.specimen.phase(*self.coordinates_nm(k, m)).reshape(rows, m, cols, m)

    def slice_ideal(self, k: int) -> Float:
        """Noise-free signal (rows, columns), 0 to 1, of slice `k`."""
        return per_pixel(np.asarray(self.specimen.greys)[self.slice_samples(k)])

    def slice_curtain(self, k: int) -> Float:
        """Curtain (rows, columns) of slice `k`, relative to the brightest phase."""
        if self.curtain_field is None:
            return np.zeros(self.shape[1:])
        surface_row = self.specimen.surface_nm / self.geometry.true_voxel_nm[1] + self.shifts_px[k, 0]
        return self.curtain_field(k, self.slice_phase(k), self.shifts_px[k], surface_row)

    @cached_property
    def phase(self) -> Phase:
        """True phase (n, rows, columns) of every slice in the slice frame."""
        return per_slice(self.slice_phase, self.shape, np.uint8)

    @cached_property
    def ideal(self) -> NDArray[np.float32]:
        """Noise-free slices (n, rows, columns), signal 0 to 1, in the slice frame."""
        return per_slice(self.slice_ideal, self.shape, np.float32)

    @cached_property
    def curtain(self) -> NDArray[np.float32]:
        """Relative curtains (n, rows, columns) in the slice frame."""
        return per_slice(self.slice_curtain, self.shape, np.float32)

    def phase_at(self, grid: ResampleGrid, z0: int = 0, z1: int | None = None) -> Phase:
        """True phase at the voxel centres of slices [z0, z1) of a reconstruction grid.

        The grid is tied to the specimen by the row and column of slice 0 that its first voxel reads.
        """
        z1 = grid.shape[0] if z1 is None else z1
        _, dy, dx = self.geometry.true_voxel_nm
        dz_out, dy_out, dx_out = grid.voxel_nm
        y = (grid.row_start[0] - self.shifts_px[0, 0]) * dy + np.arange(grid.shape[1])[:, None] * dy_out
        x = (grid.col_start[0] - self.shifts_px[0, 1]) * dx + np.arange(grid.shape[2])[None] * dx_out
        return per_slice(lambda i: self.specimen.phase((z0 + i) * dz_out, y, x), (z1 - z0, *grid.shape[1:]), np.uint8)

    def save(self, folder: Path) -> None:
        """Write ``truth.json`` and ``truth.npz`` into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {f.name: getattr(self.sequences, f.name) for f in fields(Sequences) if f.name != "bad_slices"}
        record = {
            "format": FORMAT,
            "specimen": describe(self.specimen),
            "expected": self.specimen.expected(),
            "geometry": {k: v for k, v in asdict(self.geometry).items() if k != "slice_z_nm"},
            "shape": self.shape,
            "dtype": self.dtype,
            "oversample": self.oversample,
            "seed": self.seed,
            "artefacts": self.artefacts.model_dump(),
            "bad_slices": {str(k): reason for k, reason in self.bad_slices.items()},
            "missing_before": self.missing_before,
            "made_with": {"fibtomo": fibtomo.__version__, "numpy": np.__version__},
        }
        (folder / "truth.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        np.savez_compressed(folder / "truth.npz", shifts_px=self.shifts_px, drift_px=self.drift_px, **arrays)


def per_pixel(samples: NDArray[Any]) -> Float:
    """Mean (rows, columns) over the samples (rows, m, columns, m) of every pixel.

    Examples
    --------
    >>> per_pixel(np.array([[0.0, 1.0], [1.0, 1.0]]).reshape(1, 2, 1, 2))
    array([[0.75]])
    """
    return np.asarray(samples.sum(axis=1, dtype=np.float64).sum(axis=2)) / samples.shape[1] ** 2


def load_truth(folder: str | Path) -> Truth:
    """Read the ground truth that `write_slices` left in (or beside) a folder of slices.

    Parameters
    ----------
    folder
        The folder of slices or its ``ground_truth`` subfolder.

    Raises
    ------
    StackError
        There is no ground truth, or it is not one of fibtomo's.
    """
    folder = Path(folder)
    place = folder if (folder / "truth.json").is_file() else folder / "ground_truth"
    try:
        record = json.loads((place / "truth.json").read_text(encoding="utf-8"))
        with np.load(place / "truth.npz", allow_pickle=False) as stored:
            return _from_record(record, dict(stored))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise StackError(f"{place} holds no readable ground truth of a virtual acquisition ({error})") from error


def _from_record(record: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Truth:
    if record["format"] != FORMAT:
        raise StackError(f"the ground truth is of format {record['format']!r}; this version reads {FORMAT!r}")
    bad = {int(k): reason for k, reason in record["bad_slices"].items()}
    stored = {f.name: arrays[f.name] for f in fields(Sequences) if f.name != "bad_slices"}
    geometry = {k: tuple(v) if isinstance(v, list) else v for k, v in record["geometry"].items()}
    n, rows, cols = record["shape"]
    return Truth(
        specimen=make_specimen(**record["specimen"]),
        geometry=Geometry(**geometry),
        shape=(n, rows, cols),
        artefacts=Artefacts.of(record["artefacts"]),
        seed=record["seed"],
        oversample=record["oversample"],
        dtype=record["dtype"],
        sequences=Sequences(**stored, bad_slices=bad),
    )
