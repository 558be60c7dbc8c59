"""What a vendor reader hands back: the facts of one image file or of one acquisition project."""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from fibtomo.core.volume import Calibration, Sourced


@dataclass(frozen=True)
class VendorInfo:
    """Facts a microscope wrote into, or beside, one image file.

    Attributes
    ----------
    vendor
        "Thermo/FEI", "Zeiss SmartSEM", "Zeiss Atlas", "Zeiss Orion", "TESCAN", "JEOL", "Hitachi", "Janelia",
        or "TIFF" for what plain resolution tags, ImageJ or OME descriptions say.
    calibration
        Scale and angles.
    metadata
        Normalised names with units (``high_voltage_kv``, ``working_distance_mm``, ...).
    image_rows
        Rows that hold image; the file may be taller (info bar).
    detector
        Name of the detector.
    slice_z_nm
        Position of this slice along the milling direction, when the file tells.
    raw
        Every key of the vendor with its text, as "section.key".
    warnings
        Sentences the user should read.
    """

    vendor: str
    calibration: Calibration = field(default_factory=Calibration)
    metadata: dict[str, Sourced] = field(default_factory=dict)
    image_rows: int | None = None
    detector: str | None = None
    slice_z_nm: float | None = None
    warnings: list[str] = field(default_factory=list)
    raw: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ProjectInfo:
    """Facts an acquisition project (Auto Slice & View, Atlas 3D) holds for the whole stack.

    Attributes
    ----------
    vendor
        "Thermo/FEI" or "Zeiss Atlas".
    path
        The project file that was read.
    calibration
        Scale and angles of the run.
    slice_z_nm_by_name
        File name of a slice to its position along the milling direction.
    thickness_nm_by_number
        Slice number (as in the file names, from 1) to the thickness removed before it.
    metadata
        Normalised names with units.
    warnings
        Sentences the user should read.
    """

    vendor: str
    path: Path
    calibration: Calibration = field(default_factory=Calibration)
    slice_z_nm_by_name: dict[str, float] = field(default_factory=dict)
    thickness_nm_by_number: dict[int, float] = field(default_factory=dict)
    metadata: dict[str, Sourced] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def merge(first: VendorInfo, second: VendorInfo) -> VendorInfo:
    """`first` with its gaps filled from `second`."""
    gaps = {
        item.name: getattr(second.calibration, item.name)
        for item in fields(Calibration)
        if not getattr(first.calibration, item.name)
    }
    return replace(
        first,
        calibration=replace(first.calibration, **gaps),
        metadata=second.metadata | first.metadata,
        image_rows=first.image_rows or second.image_rows,
        detector=first.detector or second.detector,
        slice_z_nm=second.slice_z_nm if first.slice_z_nm is None else first.slice_z_nm,
        warnings=first.warnings + second.warnings,
        raw=second.raw | first.raw,
    )


def sized(info: VendorInfo, rows: int, cols: int, cols_said: int | None) -> VendorInfo:
    """`info` checked against the size of the file: a cropped or resized file makes its pixel size a guess."""
    if cols_said and cols_said != cols:
        pixel = info.calibration.pixel_nm
        warning = (
            f"{info.vendor} metadata tell of {cols_said} columns, the file has {cols}: it was cropped or resized, "
            "so its pixel size may be another; check it or give --voxel-nm (voxel_nm)"
        )
        return replace(
            info,
            calibration=replace(info.calibration, pixel_nm=replace(pixel, confidence="guess") if pixel else pixel),
            image_rows=None,
            warnings=[*info.warnings, warning],
        )
    return replace(info, image_rows=info.image_rows if info.image_rows and info.image_rows <= rows else None)
