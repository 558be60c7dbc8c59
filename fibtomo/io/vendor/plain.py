"""Plain TIFF: ImageJ and OME descriptions, resolution tags. The last resort: such values are often wrong."""

import re
from dataclasses import replace

from fibtomo.core.volume import UNKNOWN, Calibration, Sourced
from fibtomo.io.vendor.info import VendorInfo
from fibtomo.io.vendor.keys import Keys, pixel_pair
from fibtomo.io.vendor.markup import local_name, parse_xml
from fibtomo.io.vendor.tifftags import TiffTags
from fibtomo.io.vendor.units import convert, parse_quantity

VENDOR = "TIFF"
OWN_SOFTWARE = "fibtomo"
SPECIMEN_FRAME = "specimen frame"
_RESOLUTION_UNITS = {2: "inch", 3: "cm"}
_LARGEST_PIXEL_NM = 10_000.0
"""Coarser resolution tags are dots per inch of a screen or printer (72 to 2540 dpi), not a calibration."""


def read_plain(tags: TiffTags) -> VendorInfo | None:
    """What the description and the resolution tags say; ``None`` when that is nothing usable."""
    if tags.description.lstrip().startswith("<?xml") or "<OME" in tags.description[:400]:
        calibration = _from_ome(tags.description)
    elif tags.description.startswith("ImageJ="):
        calibration = _from_imagej(tags)
    else:
        calibration = Calibration(pixel_nm=_from_resolution(tags, _RESOLUTION_UNITS.get(tags.resolution_unit)))
    if not (calibration.pixel_nm or calibration.slice_nm):
        return None
    if tags.software.startswith(OWN_SOFTWARE):
        return VendorInfo(VENDOR, _own_export(calibration, tags.software))
    warnings = []
    if calibration.pixel_nm.confidence == "guess":
        dy, dx = calibration.pixel_nm.value
        warnings.append(
            f"the pixel size {dy:g} x {dx:g} nm comes from {calibration.pixel_nm.origin}, which is often wrong: "
            "check it or give --voxel-nm (voxel_nm)"
        )
    return VendorInfo(VENDOR, calibration, warnings=warnings)


def _own_export(calibration: Calibration, software: str) -> Calibration:
    """Take the scale of our own exports as given; in the specimen frame nothing is left to stretch or shear."""
    origin = f"export of {software}"
    known = {
        name: replace(value, origin=origin, confidence="given")
        for name in ("pixel_nm", "slice_nm")
        if (value := getattr(calibration, name))
    }
    if SPECIMEN_FRAME in software:
        known |= {
            "tilt_corrected": Sourced(True, origin, "given"),
            "column_angle_deg": Sourced(90.0, origin, "given"),
        }
    return replace(calibration, **known)


def _from_resolution(tags: TiffTags, unit: str | None, origin: str = "TIFF resolution tags") -> Sourced:
    if unit is None or min(tags.resolution) <= 0:
        return UNKNOWN
    dy, dx = (convert(1 / per_unit, unit, "nm") for per_unit in tags.resolution)
    if dy is None or dx is None or max(dy, dx) > _LARGEST_PIXEL_NM:
        return UNKNOWN
    return Sourced((dy, dx), origin, "guess")


def _from_imagej(tags: TiffTags) -> Calibration:
    lines = dict(line.split("=", 1) for line in tags.description.splitlines() if "=" in line)
    unit = lines.get("unit", "").replace("\\u00B5", "µ").replace("micron", "µm").strip()
    known = bool(unit) and parse_quantity(f"1 {unit}", "?") == (1.0, unit) and convert(1.0, unit, "nm") is not None
    if not known:
        return Calibration()
    spacing = Keys(lines, "ImageJ description").length_nm("spacing", unit=unit)
    if spacing:
        spacing = Sourced(spacing.value, spacing.origin, "guess")
    return Calibration(
        pixel_nm=_from_resolution(tags, unit, "ImageJ description and TIFF resolution tags"), slice_nm=spacing
    )


def _from_ome(description: str) -> Calibration:
    root = parse_xml(description.encode())
    pixels = next((item for item in root.iter() if local_name(item) == "Pixels"), None) if root is not None else None
    if pixels is None:
        return Calibration()
    said = {
        name: f"{pixels.get(name)} {pixels.get(name + 'Unit', 'µm')}"
        for name in ("PhysicalSizeX", "PhysicalSizeY", "PhysicalSizeZ")
        if re.match(r"\s*\d", pixels.get(name, ""))
    }
    keys = Keys(said, "OME-XML")
    return Calibration(
        pixel_nm=pixel_pair(keys.length_nm("PhysicalSizeY", unit="µm"), keys.length_nm("PhysicalSizeX", unit="µm")),
        slice_nm=keys.length_nm("PhysicalSizeZ", unit="µm"),
    )
